"""Runs every command of the documentation with few and small samples."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from matting_jax.commandline import config_of_checkpoint, main
from matting_jax.config import flatten, load_config, override, split_variant
from matting_jax.convert.files import write_state_dict
from matting_jax.models import create_model
from matting_jax.training.step import train_step
from tests.clips import BACKGROUND, composites, moving_alpha, write_clip
from tests.datasets.layouts.by_name import draw
from tests.goldens import bgmv2 as bgmv2_checkpoints
from tests.goldens import synth
from tests.helpers import (
    CONFIGS,
    ROOT,
    bgmv2_backbone_file,
    resnet34_file,
    soft_disc,
    vgg16_file,
)

PAGES = sorted((ROOT / "docs").glob("*.md"))
GOLDENS = ROOT / "tests" / "goldens"
SECOND_COPY = "module.lr_branch.backbone.model."

# Makes a command quick; the last value of a field counts.
SMALL = (
    "--config.steps=1 --config.batch_size=1 --config.data.workers=1 --config.data.crop.size=32 "
    "--config.data.crop.rescale=(32,40) --config.data.crop.windows=(32,32,32) "
    "--config.data.crop.corners=(32,32,32) "
    "--config.test_time.short_side=32 "
    "--config.preview_images=1 --config.allocator=False --config.data.cache=cache "
    "--config.test_time.reference_size=32 --config.test_time.max_short=32 "
    "--config.optimizer.schedule.warmup_steps=0 --config.synthesis.views=()"
).split()
FOLDERS = (  # instead of the sample, which takes half a minute to draw
    "--config.data.train.foregrounds=portraits --config.data.train.backgrounds=backgrounds "
    "--config.data.test.images=holdout"
).split()
# Words of commands whose networks normalise one value per photo.
TWO_PHOTOS = (
    "configs/bgmv2.py",
    "configs/bisenet_v2.py",
    "configs/pp_matting.py",
    "--config.model.context=aspp",
)
SMALL_PREDICTION = (
    "--config.allocator=False --config.test_time.reference_size=32 --config.test_time.max_short=32"
).split()

SMALL_EXPORT = ["--size=40x44"]  # the size of the photo that the programs of a page get


def traced_step(*arguments: object) -> Callable:
    """Returns a step that is traced as the one of `train_step`, and leaves the weights as they are.

    XLA compiles a real one for a minute, for each of many trainings.
    """
    step = train_step(*arguments)

    def run(state, batch):
        new_state, terms = jax.eval_shape(step, state, batch)
        assert jax.tree.structure(new_state) == jax.tree.structure(state)
        zeros = jax.tree.map(lambda term: jnp.zeros(term.shape, term.dtype), terms)
        return {**state, "step": state["step"] + 1}, zeros

    return run


def commands(page: Path) -> list[list[str]]:
    """Returns the commands of a page's `sh` blocks, each as a list of words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def applicable(words: list[str], flags: list[str]) -> list[str]:
    """Returns those of `flags` whose field the config of the command has."""
    if "--config" in words:
        config = load_config(*split_variant(words[words.index("--config") + 1]))
    else:
        source = "--workdir" if "--workdir" in words else "--checkpoint"
        config = config_of_checkpoint(words[words.index(source) + 1])
    fields = flatten(config)
    if "data.crop.scales" in fields:  # the only crops that need not be square
        flags = [*flags, "--config.data.crop.width=64"]
    return [x for x in flags if x.partition("=")[0].removeprefix("--config.") in fields]


def save_pair(folder, name, image, alpha):
    for part, array in (("image", image), ("alpha", alpha)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / part / f"{name}.png")


def trimap(height, width):
    """Returns the trimap uint8 [H, W] of a disc, 128 where it is soft."""
    alpha = soft_disc(height, width)
    return np.where((alpha > 0) & (alpha < 255), 128, alpha).astype(np.uint8)


def place_images(folder: Path) -> None:
    """Writes every image, clip and config that the commands of the pages read."""
    rng = np.random.default_rng(0)
    for name in ("portraits", "holdout", "PPM-100"):
        for i in range(2):
            image = rng.integers(0, 256, (48, 40, 3), np.uint8)
            save_pair(folder / name, str(i), image, soft_disc(48, 40))
    for name in ("backgrounds", "photos"):
        (folder / name).mkdir()
        for i in range(2):
            image = rng.integers(0, 256, (40, 44, 3), np.uint8)
            Image.fromarray(image).save(folder / name / f"{i}.jpg")
    for name, alpha in (("matted", soft_disc(48, 40) // 2), ("trimaps", trimap(48, 40))):
        (folder / name).mkdir()
        for i in range(2):
            Image.fromarray(alpha).save(folder / name / f"{i}.png")
    benchmark = folder / "Composition-1k"
    shutil.copytree(folder / "holdout" / "image", benchmark / "merged")
    shutil.copytree(folder / "holdout" / "alpha", benchmark / "alpha")
    shutil.copytree(folder / "trimaps", benchmark / "trimaps")
    for part in ("train", "val"):
        shutil.copytree(folder / "holdout" / "image", folder / "PPM-100" / part / "fg")
        shutil.copytree(folder / "holdout" / "alpha", folder / "PPM-100" / part / "alpha")
        lines = [f"{part}/fg/{i}.png\n" for i in range(2)]
        (folder / "PPM-100" / f"{part}.txt").write_text("".join(lines))
    (folder / "trimaps_of_photos").mkdir()
    for i in range(2):
        Image.fromarray(trimap(40, 44)).save(folder / "trimaps_of_photos" / f"{i}.png")
    coarse = Image.fromarray(rng.integers(0, 256, (16, 20, 3), np.uint8))
    room = coarse.resize((200, 160), Image.Resampling.NEAREST)  # with features to align by
    room.save(folder / "empty.png")
    for name in ("frames", "empty"):
        (folder / name).mkdir()
        for i in range(2):
            room.save(folder / name / f"{i}.png")
    write_clip(folder / "clip.mp4", composites(moving_alpha(3)), sound="aac")
    (folder / "clips").mkdir()
    shutil.copy(folder / "clip.mp4", folder / "clips" / "0.mp4")
    Image.new("RGB", (64, 48), BACKGROUND).save(folder / "empty_of_clip.png")
    shutil.copytree(folder / "holdout", folder / "holdout_empty")
    shutil.copytree(folder / "holdout" / "image", folder / "holdout_empty" / "background")
    for i in range(2):
        image = rng.integers(0, 256, (48, 40, 3), np.uint8)
        save_pair(folder / "streets", str(i), image, rng.integers(0, 5, (48, 40), np.uint8))
    (folder / "streets" / "alpha").rename(folder / "streets" / "label")
    (folder / "configs").symlink_to(ROOT / "configs")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder of the weights that the commands of the pages read, except for those of GFM."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("weights")
    official = synth.state_dict(str(GOLDENS / "modnet.json"), 1)
    write_state_dict(folder / "modnet_photographic_portrait_matting.ckpt", official)
    paddle = synth.state_dict(str(GOLDENS / "modnet_paddle.json"), 1)
    write_state_dict(folder / "modnet-mobilenetv2.pdparams", paddle)
    backbone = {
        name.removeprefix(SECOND_COPY): tensor
        for name, tensor in official.items()
        if name.startswith(SECOND_COPY)
    }
    write_state_dict(folder / "mobilenetv2_human_seg.ckpt", backbone)
    write_state_dict(folder / "mobilenet_v2-b0353104.pth", backbone)

    gca = synth.state_dict(str(GOLDENS / "gca.json"), 1)
    write_state_dict(folder / "gca-dist.pth", gca)
    write_state_dict(folder / "model_best_resnet34_En_nomixup.pth", resnet34_file(gca))
    dim = synth.state_dict(str(GOLDENS / "dim.json"), 1)
    write_state_dict(folder / "dim.pth", dim)
    write_state_dict(folder / "vgg16-397923af.pth", vgg16_file(dim))
    bgmv2 = synth.state_dict(bgmv2_checkpoints.manifest("mobilenet_v2"), 1)
    write_state_dict(folder / "pytorch_mobilenetv2.pth", bgmv2)
    deeplab, _ = bgmv2_backbone_file("DeepLabV3", "mobilenet_v2")
    write_state_dict(folder / "best_deeplabv3_mobilenet_voc_os16.pth", deeplab)
    city = synth.state_dict(str(GOLDENS / "bisenet_v2.json"), 1)
    write_state_dict(folder / "model_final_v2_city.pth", city)
    pp_matting = synth.state_dict(str(GOLDENS / "pp_matting_w18.json"), 1)
    write_state_dict(folder / "ppmatting-hrnet_w18-human_512.pdparams", pp_matting)
    hrnet = {
        name.removeprefix("backbone."): tensor
        for name, tensor in pp_matting.items()
        if name.startswith("backbone.")
    }
    write_state_dict(folder / "hrnet_w18.pdparams", hrnet)
    return folder


def place_gfm(folder: Path) -> None:
    """Writes the large files that only the page of GFM reads."""
    gfm = synth.state_dict(str(GOLDENS / "gfm_r34.json"), 1)
    write_state_dict(folder / "gfm_r34_tt.pth", gfm)
    own = {name.removeprefix("resnet."): x for name, x in gfm.items() if "resnet." in name}
    write_state_dict(folder / "resnet34-b627a593.pth", own)


# Pages whose Python needs none of the weights that their commands write.
PYTHON_ONLY = ("foreground", "gfm", "matting", "metrics", "training", "trimaps")
SLOW_PYTHON = ("gfm",)


def python_of(page: Path) -> list[str]:
    """Returns the `python` blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=[pytest.mark.slow] * (x in SLOW_PYTHON)) for x in PYTHON_ONLY],
)
def test_python_of_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pair(tmp_path / "holdout", "a", np.zeros((90, 90, 3), np.uint8), soft_disc(90, 90))
    rng = np.random.default_rng(0)
    prediction, truth = rng.random((2, 20, 24))
    names = {
        "prediction": prediction,
        "truth": truth,
        "trimap": np.where(truth < 0.4, 0.5, 1.0),
        "images": rng.random((2, 20, 24, 3), np.float32),
        "alphas": rng.random((2, 20, 24, 1), np.float32),
        "rough": soft_disc(90, 90) / 255,
    }
    for block in python_of(ROOT / "docs" / f"{name}.md"):
        exec(compile(block, name, "exec"), names)
    if "grey" in names:
        assert set(np.unique(names["grey"])) <= {0, 128, 255}
    if name == "training":
        assert set(np.unique(Image.open("trimaps/a.png"))) == {0, 128, 255}
    for made in {"trimaps", "foregrounds"} & names.keys():
        assert np.isfinite(names[made]).all() and len(names[made]) == 2


def runs_something(page: Path) -> bool:
    """Returns whether `test_commands_of_a_page_run_in_order` finds anything to run on a page."""
    return bool(commands(page) or (page.stem not in PYTHON_ONLY and python_of(page)))


@pytest.mark.slow
@pytest.mark.parametrize("page", list(filter(runs_something, PAGES)), ids=lambda page: page.stem)
def test_commands_of_a_page_run_in_order(page, compiled_once, weights, tmp_path, monkeypatch):
    place_images(tmp_path)
    for path in weights.iterdir():
        os.link(path, tmp_path / path.name)
    draw(tmp_path / "DATA" / "downloads" / "manual")
    if page.stem == "gfm":
        place_gfm(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matting_jax.training.train.train_step", traced_step)
    # Files that a name would fetch stand in the folder.
    monkeypatch.setattr("matting_jax.convert.known.fetch_known", lambda x: tmp_path / x.file.file)
    for words in commands(page):
        assert words[:2] == ["python", "launch.py"], words
        flags = dict(word.split("=", 1) if "=" in word else (word, "") for word in words[2:])
        small = SMALL if "--mode" not in words else SMALL_PREDICTION
        if "configs/modnet.py" in words:
            small = small + FOLDERS
        if any(word.startswith(TWO_PHOTOS) for word in words):
            small = [*small, "--config.batch_size=2"]
        small = [*small, f"--config.compilation_cache={compiled_once}"]
        # Without a network there is no config.
        small = [] if "--predictions" in words else applicable(words, small)
        small += SMALL_EXPORT if "--rule" in words else []
        with np.errstate(all="ignore"):
            assert main([*words[1:], *small], "") == 0, words
        written = [
            words[words.index(flag) + 1] for flag in ("--workdir", "--output") if flag in words
        ]
        for name in ",".join(written or [flags["--workdir"]]).split(","):
            path = tmp_path / name
            assert path.is_file() or any(path.iterdir()), (words, name)
    photo = np.random.default_rng(0).integers(0, 256, (40, 44, 3), np.uint8)
    names = {"photo": photo, "empty": photo[::-1]}
    for block in python_of(page) if page.stem not in PYTHON_ONLY else ():
        exec(compile(block, page.stem, "exec"), names)
        assert names["alpha"].shape == (40, 44) and np.isfinite(names["alpha"]).all()


def test_picture_has_photo_trimap_alpha_and_composite_of_each_photo(tmp_path):
    size = (240, 144)  # of a tile, so that nothing is resized
    for name in ("photos", "results", "backgrounds", "trimaps"):
        (tmp_path / name).mkdir()
    Image.new("RGB", size, (0, 50, 100)).save(tmp_path / "backgrounds" / "wall.png")
    for name, photo in (("a", (10, 20, 30)), ("b", (40, 50, 60))):
        Image.new("RGB", size, photo).save(tmp_path / "photos" / f"{name}.png")
        Image.new("L", size, 51).save(tmp_path / "results" / f"{name}_alpha.png")
        cutout = Image.new("RGBA", size, (200, 100, 0, 51))
        cutout.save(tmp_path / "results" / f"{name}_cutout.png")
        Image.new("L", size, 128).save(tmp_path / "trimaps" / f"{name}.png")
    folders = [tmp_path / name for name in ("photos", "results", "backgrounds")]
    write = run_path(str(ROOT / "docs" / "side_by_side.py"))["main"]
    others = [(51, 51, 51), (40, 60, 80)]  # alpha, F / 5 + 4 B / 5
    for trimaps, known in ([], []), ([tmp_path / "trimaps"], [(128, 128, 128)]):
        write(*folders, tmp_path / "new" / "x.png", *trimaps)
        sheet = np.asarray(Image.open(tmp_path / "new" / "x.png"))
        for row, photo in enumerate([(10, 20, 30), (40, 50, 60)]):
            colours = [photo, *known, *others]
            assert sheet.shape == (288, 240 * len(colours), 3)
            tiles = sheet[144 * row : 144 * (row + 1)].reshape(144, len(colours), 240, 3)
            for column, colour in enumerate(colours):
                assert (tiles[:, column] == colour).all(), (row, column)


def test_picture_of_clips_has_a_row_of_four_frames_for_each(tmp_path):
    pytest.importorskip("av")
    size, frames = (240, 156), [np.full((156, 240, 3), 20 * i, np.uint8) for i in range(7)]
    (tmp_path / "take").mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "take" / f"{i:06d}.png")
    write_clip(tmp_path / "clip.mp4", np.stack(frames[::-1]))
    write = run_path(str(ROOT / "docs" / "clips_side_by_side.py"))["main"]
    write([tmp_path / "take", tmp_path / "clip.mp4"], tmp_path / "new" / "x.png")
    sheet = np.asarray(Image.open(tmp_path / "new" / "x.png"), int)
    assert sheet.shape == (2 * size[1], 4 * size[0], 3)
    tiles = sheet.reshape(2, size[1], 4, size[0], 3).transpose(0, 2, 1, 3, 4)
    for column, i in enumerate((0, 2, 4, 6)):
        assert (tiles[0, column] == 20 * i).all()
        assert abs(tiles[1, column] - 20 * (6 - i)).max() < 4  # by the codec


def rows_of(page: Path) -> list[list[str]]:
    """Returns the fields of the config that each row of a page's tables sets, as flags."""
    rows = []
    for line in page.read_text().splitlines():
        codes = re.findall(r"`([^`]+)`", line) if line.startswith("|") else []
        words = [word for code in codes for word in shlex.split(code)]
        rows.append([word for word in words if re.match(r"--(no)?config\.[\w.]*\w(=|$)", word)])
    return [row for row in rows if row]


@pytest.mark.parametrize(
    "page", [x for x in PAGES if (CONFIGS / f"{x.stem}.py").exists()], ids=lambda page: page.stem
)
def test_rows_of_tables_set_fields_of_a_recipe_of_the_page(page):
    rows, recipes = rows_of(page), re.findall(r"configs/\w+\.py(?::\w+)?", page.read_text())
    assert rows and recipes
    for row in rows:
        names = {re.sub(r"--(no)?config\.", "", word).partition("=")[0] for word in row}
        configs = [load_config(*split_variant(str(ROOT / x))) for x in dict.fromkeys(recipes)]
        configs = [config for config in configs if names <= flatten(config).keys()]
        assert configs, row
        config = override(configs[0], [word for word in row if "=" in word])
        create_model(config.name, **config.model)


def test_page_of_the_data_sets_lists_all():
    named = re.findall(r"^\| `(\w+)", (ROOT / "docs" / "data.md").read_text(), re.MULTILINE)
    assert {
        path.stem for path in (ROOT / "datasets").glob("*/*.py") if path.stem == path.parent.name
    } <= set(named)


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.stem)
def test_links_between_pages_are_valid(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_git_ignores_what_the_documented_commands_write():
    lines = [line for page in PAGES for line in map(shlex.join, commands(page))]
    for path in (ROOT / "README.md", ROOT / "launch.py"):
        lines += re.findall(r"python launch.py [^`\n]+", path.read_text())
    written = {x for line in lines for x in re.findall(r"--(?:output|workdir)[ =]([\w./]+)", line)}
    assert {"cutouts/", "labels", "runs/modnet", "modnet.safetensors"} <= written
    paths = [x if Path(x).suffix else f"{x.rstrip('/')}/x" for x in sorted(written)]
    command = ["git", "check-ignore", "--no-index", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("this is no checkout of git")
    assert done.stdout.split() == paths


def test_each_extra_is_installed_by_the_same_command_everywhere():
    files = [ROOT / "README.md", *PAGES, *(ROOT / "matting_jax").rglob("*.py")]
    found = {}
    for path in files:
        for command, extra in re.findall(r"(pip install [^\n]*?\[(\w+)\]'?)", path.read_text()):
            found.setdefault(extra, set()).add(command)
    assert {"convert", "heif", "denoise", "tensorboard"} <= found.keys()
    assert {extra: x for extra, x in found.items() if len(x) > 1} == {}
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")
    declared = extras["options.extras_require"].keys()
    # Extras of the library, and the variable name of its own message.
    assert {x for x in found if x != "extra"} <= declared
