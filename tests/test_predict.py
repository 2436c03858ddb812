import hashlib

import jax
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.train import initial_variables, training_model
from matting_jax.workdir import claim
from tests.conftest import on_folders, tiny_config

COLOUR = (200, 40, 90)
SIZES = {  # width, height
    "grey": (37, 50), "sub/rgba": (20, 90), "sub/deep/palette": (50, 37), "dot": (1, 1),
    "photo": (40, 33),
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(folders, compiled_once, tmp_path_factory):
    """(a checkpoint of the tiny network, a workdir with its config)."""
    config = on_folders(tiny_config(), folders, compiled_once)
    folder = tmp_path_factory.mktemp("weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "tiny.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)
    return folder / "tiny.safetensors", folder / "run"


@pytest.fixture
def predict(weights, tmp_path):
    """A function that predicts as the command line does, into tmp_path/out; the exit code."""

    def run(photos, *more):
        checkpoint, workdir = weights
        flags = [f"--workdir={workdir}", f"--checkpoint={checkpoint}", f"--input={photos}"]
        return main(
            ["launch.py", "--mode=predict", *flags, f"--output={tmp_path / 'out'}", *more], ""
        )

    return run


@pytest.fixture
def photos(tmp_path):
    """A tree of photos of all kinds, one broken, and a file that is none."""
    folder = tmp_path / "photos"
    images = {
        "grey.png": Image.new("L", SIZES["grey"], 77),
        "sub/rgba.png": Image.new("RGBA", SIZES["sub/rgba"], (*COLOUR, 40)),
        "sub/deep/palette.gif": Image.new("RGB", SIZES["sub/deep/palette"], COLOUR).quantize(2),
        "dot.PNG": Image.new("RGB", SIZES["dot"], COLOUR),
        "photo.jpg": Image.new("RGB", SIZES["photo"], COLOUR),
    }
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:200])
    (folder / "letter.txt").write_text("dear")
    return folder


def files(folder):
    return sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file())


def contents(folder):
    return {x: hashlib.sha256((folder / x).read_bytes()).hexdigest() for x in files(folder)}


def test_folder_gives_an_alpha_and_a_cut_out_of_each_photo(predict, photos, tmp_path, capsys):
    assert predict(photos) == 1
    out = tmp_path / "out"
    assert files(out) == sorted(f"{x}_{y}.png" for x in SIZES for y in ("alpha", "cutout"))
    for name, size in SIZES.items():
        with Image.open(out / f"{name}_alpha.png") as alpha:
            assert (alpha.mode, alpha.size) == ("L", size)
            alpha = np.asarray(alpha)
        with Image.open(out / f"{name}_cutout.png") as cutout:
            assert (cutout.mode, cutout.size) == ("RGBA", size)
            cutout = np.asarray(cutout).astype(int)
        np.testing.assert_array_equal(cutout[..., 3], alpha)
        # Of a photo of one colour the foreground has that colour, whatever alpha is.
        if name != "grey":
            assert 0 < alpha.min() and alpha.max() < 255
            assert np.abs(cutout[..., :3] - COLOUR).max() <= 10
    text = capsys.readouterr()
    assert "5 of 6 photos" in text.out
    named = [line for line in text.err.splitlines() if "broken.jpg" in line]
    assert len(named) == 1 and "Traceback" not in text.err


def test_single_photo_gives_its_alpha_as_the_network_says(predict, photos, weights, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (45, 60, 3), np.uint8)
    Image.fromarray(image).save(photos / "noise.png")
    assert predict(photos / "noise.png", "--foreground=none") == 0
    assert files(tmp_path / "out") == ["noise_alpha.png"]
    variables = mj.load_checkpoint("tiny", weights[0])
    alpha = mj.Matter("tiny", variables, test_time={"reference_size": 32})(image)
    saved = np.asarray(Image.open(tmp_path / "out" / "noise_alpha.png"))
    np.testing.assert_array_equal(saved, np.rint(255 * alpha).astype(np.uint8))


def test_glob_names_photos_and_keeps_folders_below_the_common_one(predict, photos, tmp_path):
    assert predict(photos / "**" / "*a*.[pg][ni][gf]", "--foreground=none") == 0
    assert files(tmp_path / "out") == ["deep/palette_alpha.png", "rgba_alpha.png"]


@pytest.mark.parametrize("flags, existing", [([], "photo_cutout.png"), ([], "photo_alpha.png"),
                         (["--foreground=none"], "photo_alpha.png")])  # fmt: skip
def test_results_are_replaced_only_on_request(predict, photos, tmp_path, capsys, flags, existing):
    out = tmp_path / "out"
    out.mkdir()
    (out / existing).write_bytes(b"mine")
    assert predict(photos, *flags) == 2
    assert files(out) == [existing] and (out / existing).read_bytes() == b"mine"
    error = capsys.readouterr().err
    assert "--overwrite" in error and existing in error and error.count("\n") == 1
    assert predict(photos / "photo.jpg", *flags, "--overwrite") == 0
    with Image.open(out / existing) as image:
        assert image.size == SIZES["photo"]


def test_kept_results_are_bit_equal_after_a_refusal(predict, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    assert predict(photos, "--foreground=none") == 0
    before = contents(tmp_path / "out")
    assert predict(photos, "--foreground=none") == 2
    assert contents(tmp_path / "out") == before


def test_photos_of_one_name_are_refused(predict, photos, tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(photos / "photo.png")
    assert predict(photos) == 2
    error = capsys.readouterr().err
    assert "photo.jpg" in error and "photo.png" in error and "rename" in error
    assert not (tmp_path / "out").exists()


def test_existing_cut_out_does_not_matter_where_none_is_made(predict, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo_cutout.png").write_bytes(b"mine")
    assert predict(photos / "photo.jpg", "--foreground=none") == 0
    assert (tmp_path / "out" / "photo_cutout.png").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["missing.png", "nothing/*.png", "sub/deep/*.jpg"])
def test_input_without_a_photo_is_refused_in_a_sentence(predict, photos, tmp_path, capsys, name):
    assert predict(photos / name) == 2
    error = capsys.readouterr().err
    assert "names no photo" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_without_a_photo_is_refused_in_a_sentence(predict, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty") == 2
    assert "names no photo" in capsys.readouterr().err


def test_hidden_files_and_documents_are_not_photos(predict, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    (photos / "._photo.jpg").write_bytes(b"left by another system")
    (photos / "manual.pdf").write_bytes(b"%PDF-1.4")
    assert predict(photos, "--foreground=none") == 0


def test_results_inside_the_input_folder_are_not_taken_for_photos(weights, photos):
    (photos / "broken.jpg").unlink()
    checkpoint, workdir = weights
    arguments = ["launch.py", "--mode=predict", f"--workdir={workdir}", "--foreground=none",
                 f"--checkpoint={checkpoint}", f"--input={photos}"]  # fmt: skip
    arguments.append(f"--output={photos / 'out'}")
    assert main(arguments, "") == 0
    first = files(photos / "out")
    assert main([*arguments, "--overwrite"], "") == 0
    assert files(photos / "out") == first


@pytest.mark.parametrize("missing", ["--input", "--output"])
def test_missing_flags_are_named(weights, tmp_path, capsys, missing):
    given = [f for f in (f"--input={tmp_path}", f"--output={tmp_path}") if missing not in f]
    assert main(["launch.py", "--mode=predict", f"--workdir={weights[1]}", *given], "") == 2
    assert missing in capsys.readouterr().err


def test_unknown_colours_are_answered_with_the_nearest(predict, photos, capsys):
    assert predict(photos, "--foreground=multi") == 2
    assert "did you mean 'multilevel'" in capsys.readouterr().err


def test_trained_workdir_predicts(finished, photos, tmp_path):
    arguments = ["launch.py", "--mode=predict", f"--workdir={finished[0]}", "--foreground=none"]
    arguments += [f"--input={photos / 'photo.jpg'}", f"--output={tmp_path / 'out'}"]
    assert main(arguments, "") == 0
    assert files(tmp_path / "out") == ["photo_alpha.png"]
