import hashlib
import struct
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.config import load_config
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.models import NETWORKS
from matting_jax.models.network import TrimapRule
from matting_jax.prediction import predict as program
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import ROOT, use_folders, write_png16, write_tiff16
from tests.limits import file_limit
from tests.tiny import tiny_config

COLOUR = (200, 40, 90)
SIZES = {  # width, height
    "grey": (37, 50),
    "sub/rgba": (20, 90),
    "sub/deep/palette": (50, 37),
    "dot": (1, 1),
    "photo": (40, 33),
}


@pytest.fixture(scope="module")
def weights(folders, compiled_once, tmp_path_factory):
    """(a checkpoint of the tiny network, a workdir with its config)."""
    config = use_folders(tiny_config(), folders, compiled_once)
    folder = tmp_path_factory.mktemp("weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "tiny.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)
    return folder / "tiny.safetensors", folder / "run"


@pytest.fixture
def matter(weights):
    """The Matter of the checkpoint, with the config of the workdir."""
    variables = mj.load_checkpoint("tiny", weights[0])
    return mj.Matter("tiny", variables, test_time={"reference_size": 32})


@pytest.fixture
def predict(weights, tmp_path):
    """A function that predicts into tmp_path/out, as the command line; returns the exit code."""

    def run(photos, *more):
        checkpoint, workdir = weights
        flags = [f"--workdir={workdir}", f"--checkpoint={checkpoint}", f"--input={photos}"]
        return main(
            ["launch.py", "--mode=predict", *flags, f"--output={tmp_path / 'out'}", *more], ""
        )

    return run


@pytest.fixture
def photos(tmp_path):
    """A tree of photos of all kinds, a broken one, and a text file."""
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
    """Returns the names of all files of a folder but its record."""
    found = (x for x in folder.rglob("*") if x.is_file() and x.name != "predictions.jsonl")
    return sorted(str(x.relative_to(folder)) for x in found)


def pairs(names):
    """Returns the names of the results of photos."""
    return sorted(f"{name}_{kind}.png" for name in names for kind in ("alpha", "cutout"))


def contents(folder):
    return {x: hashlib.sha256((folder / x).read_bytes()).hexdigest() for x in files(folder)}


def test_folder_gives_an_alpha_and_a_cut_out_of_each_photo(predict, photos, tmp_path, capsys):
    assert predict(photos) == 1
    out = tmp_path / "out"
    assert files(out) == pairs(SIZES)
    for name, size in SIZES.items():
        with Image.open(out / f"{name}_alpha.png") as alpha:
            assert (alpha.mode, alpha.size) == ("L", size)
            alpha = np.asarray(alpha)
        with Image.open(out / f"{name}_cutout.png") as cutout:
            assert (cutout.mode, cutout.size) == ("RGBA", size)
            cutout = np.asarray(cutout).astype(int)
        np.testing.assert_array_equal(cutout[..., 3], alpha)
        # A photo of one colour has that foreground colour, whatever alpha is.
        if name != "grey":
            assert 0 < alpha.min() and alpha.max() < 255
            assert np.abs(cutout[..., :3] - COLOUR).max() <= 10
    text = capsys.readouterr()
    assert "5 of 6 photos" in text.out
    named = [line for line in text.err.splitlines() if "broken.jpg" in line]
    assert len(named) == 1 and "Traceback" not in text.err


def test_single_photo_gives_the_alpha_of_the_network(predict, photos, matter, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (45, 60, 3), np.uint8)
    Image.fromarray(image).save(photos / "noise.png")
    assert predict(photos / "noise.png", "--foreground=none") == 0
    assert files(tmp_path / "out") == ["noise_alpha.png"]
    saved = np.asarray(Image.open(tmp_path / "out" / "noise_alpha.png"))
    np.testing.assert_array_equal(saved, np.rint(255 * matter(image)).astype(np.uint8))


def odd_photos(folder):
    """Writes a photo of each kind; returns {stem: what it shows, uint8 [33, 40, 3] or with 4.

    The fourth channel is the photo's own transparency.
    """
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (33, 40, 4), np.uint8)
    colours, grey = noise[..., :3], np.repeat(noise[..., :1], 3, axis=-1)
    bits = np.where(grey < 128, 0, 255).astype(np.uint8)
    palette = Image.fromarray(colours).quantize(60)
    flat = np.full((33, 40, 3), (255, 0, 0), np.uint8)
    turned, plain = Image.Exif(), Image.fromarray(colours)
    turned[0x0112] = 6
    reds = [Image.new("RGB", (40, 33), colour) for colour in ("red", "blue", "lime")]

    plain.save(folder / "plain.png")
    Image.fromarray(noise[..., 0]).save(folder / "two words.png")
    Image.fromarray(noise[..., :2], "LA").save(folder / "with.dots.PNG")
    Image.fromarray(noise).save(folder / "größe 写真.TIFF")
    palette.save(folder / "palette.gif")
    palette.save(folder / "palette with holes.png", transparency=bytes(range(60)))
    Image.fromarray(bits[..., 0]).convert("1").save(folder / "bits.bmp")
    for name in ("inks.jpg", "inks of a.tif"):
        Image.new("CMYK", (40, 33), (0, 255, 255, 0)).save(folder / name, quality=100)
    wide = noise.astype(np.uint16) * 257
    Image.fromarray(wide[..., 0]).save(folder / "wide grey.tif")
    write_png16(folder / "wide.grey.png", wide[..., :1])
    write_png16(folder / "wide.png", wide[..., :3])
    write_tiff16(folder / "wide.alpha.tif", wide)
    Image.fromarray(np.rot90(colours)).save(folder / "turned.webp", exif=turned, lossless=True)
    Image.fromarray(np.rot90(noise[..., 0])).save(folder / "turned.tif.tif", exif=turned)
    plain.save(folder / "named wrongly.jpg", "PNG")
    Image.fromarray(flat).save(folder / "slow.jpeg", quality=100, progressive=True, subsampling=0)
    for suffix in ("gif", "apng", "webp"):
        film = folder / f"{suffix} film.{suffix}"
        reds[0].save(film, save_all=True, append_images=reds[1:], lossless=True)
    quantised = np.asarray(palette.convert("RGB"))
    holes = np.dstack([quantised, np.asarray(palette)])
    return {
        "plain": colours,
        "two words": grey,
        "with.dots": np.dstack([grey, noise[..., 1]]),
        "größe 写真": noise,
        "palette": quantised,
        "palette with holes": holes,
        "bits": bits,
        "inks": flat,
        "inks of a": flat,
        "wide grey": grey,
        "wide.grey": grey,
        "wide": colours,
        "wide.alpha": noise,
        "turned": colours,
        "turned.tif": grey,
        "named wrongly": colours,
        "slow": flat,
        "gif film": flat,
        "apng film": flat,
        "webp film": flat,
    }


def test_photos_of_all_kinds_are_read_correctly(predict, matter, tmp_path, caplog):
    shown = odd_photos(tmp_path / "photos")
    assert predict(tmp_path / "photos", "--foreground=none") == 0
    saved = {}
    for name, image in shown.items():
        saved[name] = np.asarray(Image.open(tmp_path / "out" / f"{name}_alpha.png"))
        visible, opacity = image[..., :3], image[..., 3:]
        if opacity.size:
            visible = np.where(opacity > 0, visible, np.uint8(128))
        alpha = matter(visible) * (opacity[..., 0] / 255 if opacity.size else 1)
        expected = np.rint(255 * alpha).astype(int)
        # A JPEG of one colour may be off by one.
        assert np.abs(saved[name] - expected).max() <= (name in ("slow", "inks")), name
    assert len(files(tmp_path / "out")) == len(shown)
    assert not np.array_equal(saved["plain"], saved["two words"])  # alphas tell photos apart
    told = [x.getMessage() for x in caplog.records if "frames" in x.getMessage()]
    assert sorted(told) == [
        f"{tmp_path / 'photos' / f'{x} film.{x}'}: only the first of 3 frames is used"
        for x in ("apng", "gif", "webp")
    ]


@pytest.mark.parametrize(
    "method, size",
    [
        ("multilevel", (1, 1)),
        ("multilevel", (1, 3000)),
        ("multilevel", (900, 20)),
        ("multilevel", (2, 3)),
        ("multilevel", (700, 500)),
        ("blur", (1, 30)),
        ("blur", (70, 50)),
    ],
)
def test_photos_of_any_size_give_their_alpha_and_cut_out(predict, matter, tmp_path, method, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    assert predict(tmp_path / "photo.png", f"--foreground={method}") == 0
    alpha = np.rint(255 * matter(image)).astype(np.uint8)
    out = tmp_path / "out"
    np.testing.assert_array_equal(Image.open(out / "photo_alpha.png"), alpha)
    cutout = np.asarray(Image.open(out / "photo_cutout.png"))
    np.testing.assert_array_equal(cutout[..., 3], alpha)
    np.testing.assert_array_equal(cutout[..., :3], program.METHODS[method](image, alpha))


def test_broken_files_are_reported_in_a_line_each_and_skipped(
    predict, photos, tmp_path, capsys, recwarn
):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for suffix in ("png", "tif", "gif", "webp"):
        file = photos / f"cut {suffix}.{suffix}"
        Image.fromarray(noise).save(file, compression="tiff_lzw")
        file.write_bytes(file.read_bytes()[:-500])
    (photos / "empty.png").touch()
    (photos / "letter.jpg").write_text("dear")
    (photos / "nowhere.png").symlink_to(photos / "gone.png")
    assert predict(photos, "--foreground=none") == 1
    assert files(tmp_path / "out") == sorted(f"{name}_alpha.png" for name in SIZES)
    text = capsys.readouterr()
    assert "5 of 13 photos" in text.out
    assert sorted(line.partition(": ")[0] for line in text.err.splitlines()) == [
        f"cannot read the image {photos / name}"
        for name in (
            "broken.jpg",
            "cut gif.gif",
            "cut png.png",
            "cut tif.tif",
            "cut webp.webp",
            "empty.png",
            "letter.jpg",
            "nowhere.png",
        )
    ]
    assert not [warning for warning in recwarn if "PIL" in warning.filename]


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), "not enough memory"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nand much more"),
            "RESOURCE_EXHAUSTED: Out of memory",
        ),
    ],
)
def test_photo_that_does_not_fit_in_memory_is_skipped(
    predict, photos, tmp_path, capsys, monkeypatch, error, words
):
    (photos / "broken.jpg").unlink()
    estimate = program.METHODS["multilevel"]

    def scarce(image, alpha):
        if alpha.shape[::-1] == SIZES["grey"]:
            raise error
        return estimate(image, alpha)

    monkeypatch.setitem(program.METHODS, "multilevel", scarce)
    assert predict(photos) == 1
    rest = [name for name in SIZES if name != "grey"]
    assert files(tmp_path / "out") == pairs(rest)
    text = capsys.readouterr()
    assert "4 of 5 photos" in text.out
    assert text.err == f"cannot process {photos / 'grey.png'}: {words}\n"


def test_full_disk_stops_with_one_line_and_keeps_complete_results(
    predict, photos, tmp_path, capsys
):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(photos / "noise.png")
    assert predict(photos / "noise.png", "--overwrite") == 0  # so that nothing is compiled below
    for file in files(tmp_path / "out"):
        (tmp_path / "out" / file).unlink()
    capsys.readouterr()
    with file_limit(9000):
        assert predict(photos) == 2
    # The order is broken, dot, grey, noise; the alpha of noise would fit, its cut-out does not.
    assert files(tmp_path / "out") == pairs(["dot", "grey"])
    text = capsys.readouterr()
    assert "2 of 7 photos" in text.out
    broken, error = text.err.splitlines()
    assert "broken.jpg" in broken
    assert error.startswith("launch.py: cannot write ") and "noise_cutout.png" in error
    assert "the file would be larger than its file system, or ulimit -f, allows" in error


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_output_that_is_a_file_is_rejected_before_the_first_photo(
    predict, photos, tmp_path, capsys, inside
):
    (tmp_path / "out").write_text("mine")
    assert predict(photos, f"--output={tmp_path / 'out' / inside}") == 2
    assert (tmp_path / "out").read_text() == "mine"
    error = capsys.readouterr().err
    assert "--output" in error and "cannot be a folder" in error and error.count("\n") == 1


def test_compute_dtype_of_the_config_counts(predict, photos, weights, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(image).save(photos / "noise.png")
    flags = ["--bits=16", "--foreground=none", "--config.compute_dtype=bfloat16"]
    assert predict(photos / "noise.png", *flags) == 0
    saved = np.asarray(Image.open(tmp_path / "out" / "noise_alpha.png")) / 65535
    variables, options = mj.load_checkpoint("tiny", weights[0]), {"reference_size": 32}
    whole = mj.Matter("tiny", variables, test_time=options)(image)
    half = mj.Matter("tiny", variables, test_time=options, dtype=jax.numpy.bfloat16)(image)
    np.testing.assert_allclose(saved, half, atol=1e-5)
    assert 1e-4 < np.abs(saved - whole).max() < 0.05
    assert predict(photos / "noise.png", "--overwrite", "--config.compute_dtype=bfloat61") == 2
    assert "bfloat16" in capsys.readouterr().err


def test_sixteen_bits_hold_a_finer_alpha(predict, photos, matter, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (45, 60, 3), np.uint8)
    Image.fromarray(image).save(photos / "noise.png")
    assert predict(photos / "noise.png", "--bits=16") == 0
    alpha = matter(image)
    file = tmp_path / "out" / "noise_alpha.png"
    width, height, bits, colour_type = struct.unpack(">IIBB", file.read_bytes()[16:26])
    assert (width, height, bits, colour_type) == (60, 45, 16, 0)
    saved = np.asarray(Image.open(file))
    np.testing.assert_array_equal(saved, np.rint(65535 * alpha).astype(np.uint16))
    with Image.open(tmp_path / "out" / "noise_cutout.png") as cutout:
        assert cutout.mode == "RGBA"
        np.testing.assert_array_equal(cutout.getchannel("A"), np.rint(255 * alpha))


def test_photos_below_the_output_folder_are_predicted(predict, photos, tmp_path):
    photos.rename(tmp_path / "photos of today")
    (tmp_path / "out").mkdir()
    (tmp_path / "photos of today").rename(tmp_path / "out" / "today")
    assert predict(tmp_path / "out" / "today" / "photo.jpg", "--foreground=none") == 0
    assert (tmp_path / "out" / "photo_alpha.png").is_file()


def test_results_among_the_photos_are_recognised_by_any_spelling_of_the_folder(
    predict, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (photos / "broken.jpg").unlink()
    more = ["--foreground=none", f"--output={photos}", "--overwrite"]
    assert predict("photos", *more) == 0
    first = files(photos)
    assert predict("photos", *more) == 0
    assert files(photos) == first


def test_glob_keeps_folders_below_the_common_one(predict, photos, tmp_path):
    assert predict(photos / "**" / "*a*.[pg][ni][gf]", "--foreground=none") == 0
    assert files(tmp_path / "out") == ["deep/palette_alpha.png", "rgba_alpha.png"]


@pytest.mark.parametrize(
    "flags, existing",
    [([], "photo_cutout.png"), ([], "photo_alpha.png"), (["--foreground=none"], "photo_alpha.png")],
)
def test_results_are_replaced_only_with_overwrite(
    predict, photos, tmp_path, capsys, flags, existing
):
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


def test_existing_results_are_unchanged_after_an_error(predict, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    assert predict(photos, "--foreground=none") == 0
    before = contents(tmp_path / "out")
    assert predict(photos, "--foreground=none") == 2
    assert contents(tmp_path / "out") == before


def test_photos_with_the_same_name_are_rejected(predict, photos, tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(photos / "photo.png")
    assert predict(photos) == 2
    error = capsys.readouterr().err
    assert "photo.jpg" in error and "photo.png" in error and "rename" in error
    assert not (tmp_path / "out").exists()


def test_existing_cut_out_is_ignored_if_none_is_made(predict, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo_cutout.png").write_bytes(b"mine")
    assert predict(photos / "photo.jpg", "--foreground=none") == 0
    assert (tmp_path / "out" / "photo_cutout.png").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["missing.png", "nothing/*.png", "sub/deep/*.jpg"])
def test_input_without_a_photo_is_rejected_in_one_line(predict, photos, tmp_path, capsys, name):
    assert predict(photos / name) == 2
    error = capsys.readouterr().err
    assert "no photo found" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_without_a_photo_is_rejected(predict, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty") == 2
    assert "no photo found" in capsys.readouterr().err
    (tmp_path / "empty" / "a.mp4").touch()
    assert predict(tmp_path / "empty") == 2
    assert "only clips: give one of them, such as" in capsys.readouterr().err


def test_hidden_files_and_documents_are_not_photos(predict, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    (photos / "._photo.jpg").write_bytes(b"left by another system")
    (photos / "manual.pdf").write_bytes(b"%PDF-1.4")
    assert predict(photos, "--foreground=none") == 0


def test_results_inside_the_input_folder_are_not_photos(weights, photos):
    (photos / "broken.jpg").unlink()
    checkpoint, workdir = weights
    arguments = [
        "launch.py",
        "--mode=predict",
        f"--workdir={workdir}",
        "--foreground=none",
        f"--checkpoint={checkpoint}",
        f"--input={photos}",
    ]
    arguments.append(f"--output={photos / 'out'}")
    assert main(arguments, "") == 0
    first = files(photos / "out")
    assert main([*arguments, "--overwrite"], "") == 0
    assert files(photos / "out") == first


@pytest.mark.parametrize("missing", ["--input", "--output"])
def test_missing_flags_are_reported(weights, tmp_path, capsys, missing):
    given = [f for f in (f"--input={tmp_path}", f"--output={tmp_path}") if missing not in f]
    assert main(["launch.py", "--mode=predict", f"--workdir={weights[1]}", *given], "") == 2
    assert missing in capsys.readouterr().err


def test_unknown_foreground_suggests_the_closest(predict, photos, capsys):
    assert predict(photos, "--foreground=multi") == 2
    assert "did you mean 'multilevel'" in capsys.readouterr().err


def test_unknown_bits_suggest_the_closest(predict, photos, tmp_path, capsys):
    assert predict(photos, "--bits=12") == 2
    assert "did you mean '16'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_trained_workdir_predicts(finished, photos, tmp_path):
    arguments = ["launch.py", "--mode=predict", f"--workdir={finished[0]}", "--foreground=none"]
    arguments += [f"--input={photos / 'photo.jpg'}", f"--output={tmp_path / 'out'}"]
    assert main(arguments, "") == 0
    assert files(tmp_path / "out") == ["photo_alpha.png"]


@pytest.fixture(scope="module")
def trimap_run(folders, compiled_once, tmp_path_factory):
    """The flags of a checkpoint of the tiny network that takes a trimap."""
    config = use_folders(tiny_config(), folders, compiled_once)
    config.name, config.test_time = "tiny_trimap", {}
    folder = tmp_path_factory.mktemp("trimap_weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "t.safetensors", to_state_dict("tiny_trimap", variables))
    claim(folder / "run", config)
    return [f"--workdir={folder / 'run'}", f"--checkpoint={folder / 't.safetensors'}"]


@pytest.fixture
def with_trimaps(trimap_run, tmp_path):
    """(a function that predicts as the command line, a folder of photos, one of trimaps)."""
    names = {"a.jpg": "a.png", "sub/b.png": "sub/b_trimap.png"}
    rng = np.random.default_rng(0)
    for photo, trimap in names.items():
        for place in (tmp_path / "in" / photo, tmp_path / "trimaps" / trimap):
            place.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (40, 34, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / photo)
        codes = rng.choice(np.uint8([0, 128, 255]), (40, 34))
        Image.fromarray(codes).save(tmp_path / "trimaps" / trimap)

    def run(*more):
        flags = [*trimap_run, f"--output={tmp_path / 'out'}", "--foreground=none", *more]
        return main(["launch.py", "--mode=predict", *flags], "")

    return run, tmp_path / "in", tmp_path / "trimaps"


def test_each_photo_takes_the_trimap_with_its_name(with_trimaps, tmp_path):
    run, photos, trimaps = with_trimaps
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 0
    assert files(tmp_path / "out") == ["a_alpha.png", "sub/b_alpha.png"]
    for name, trimap in {"a": "a.png", "sub/b": "sub/b_trimap.png"}.items():
        alpha = np.asarray(Image.open(tmp_path / "out" / f"{name}_alpha.png"))
        codes = np.asarray(Image.open(trimaps / trimap))
        for known in (0, 255):
            np.testing.assert_array_equal(alpha[codes == known], known)
        assert np.ptp(alpha[codes == 128]) > 0


def test_trimaps_may_be_among_the_photos(with_trimaps, tmp_path):
    run, photos, trimaps = with_trimaps
    (trimaps / "a.png").rename(photos / "a_trimap.png")
    (trimaps / "sub" / "b_trimap.png").rename(photos / "sub" / "b_trimap.png")
    assert run(f"--input={photos}", f"--trimap={photos}") == 0
    assert files(tmp_path / "out") == ["a_alpha.png", "sub/b_alpha.png"]


def test_one_photo_takes_one_trimap(with_trimaps, tmp_path):
    run, photos, trimaps = with_trimaps
    trimap = trimaps / "sub" / "b_trimap.png"
    assert run(f"--input={photos / 'a.jpg'}", f"--trimap={trimap}") == 0
    alpha = np.asarray(Image.open(tmp_path / "out" / "a_alpha.png"))
    np.testing.assert_array_equal(alpha[np.asarray(Image.open(trimap)) == 255], 255)


def test_missing_trimaps_are_all_listed_with_how_to_get_one(with_trimaps, tmp_path, capsys):
    run, photos, trimaps = with_trimaps
    assert run(f"--input={photos}") == 2
    assert "pass --trimap FILE|DIR" in capsys.readouterr().err
    (trimaps / "a.png").unlink()
    (trimaps / "sub" / "b_trimap.png").unlink()
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 2
    message = capsys.readouterr().err
    assert all(words in message for words in ("a.jpg", "sub/b.png", "2 of 2", "grey (128)"))
    assert run(f"--input={photos}", f"--trimap={trimaps / 'c.png'}") == 2
    assert "c.png" in capsys.readouterr().err
    Image.new("L", (34, 40)).save(trimaps / "c.png")
    assert run(f"--input={photos}", f"--trimap={trimaps / 'c.png'}") == 2
    assert "one file for 2 photos" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_trimaps_with_the_same_name_are_rejected(with_trimaps, capsys):
    run, photos, trimaps = with_trimaps
    Image.new("L", (34, 40)).save(trimaps / "a.bmp")
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 2
    message = capsys.readouterr().err
    assert "a.bmp" in message and "a.png" in message and "remove one" in message


def test_trimap_of_another_size_is_reported_and_its_photo_skipped(with_trimaps, tmp_path, capsys):
    run, photos, trimaps = with_trimaps
    Image.new("L", (40, 34)).save(trimaps / "a.png")
    assert run(f"--input={photos}", f"--trimap={trimaps}") == 1
    message = capsys.readouterr().err
    assert "a.png: 40 x 34 pixels" in message and "a.jpg has 34 x 40" in message
    assert files(tmp_path / "out") == ["sub/b_alpha.png"]


def test_trimap_is_rejected_if_the_network_takes_none(predict, photos, capsys):
    assert predict(photos, f"--trimap={photos}") == 2
    assert "tiny takes no trimap: omit --trimap" in capsys.readouterr().err


@pytest.fixture
def with_background(tmp_path, tmp_path_factory, compiled_once):
    """(a function that predicts by subtraction, a folder of photos, one of backgrounds).

    A photo is its background with a square; its alpha is 0 elsewhere.
    """
    config = tiny_config()
    config.name, config.test_time = "tiny_background", {}
    config.compilation_cache = str(compiled_once)
    claim(tmp_path / "run", config)
    gain = {"params": {"gain": np.ones(1, np.float32)}}
    write_state_dict(tmp_path / "t.safetensors", to_state_dict("tiny_background", gain))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        coarse = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
        background = np.array(coarse.resize((240, 200), Image.Resampling.NEAREST))
        photo = background.copy()
        photo[60:120, 80:150] = 255 - photo[60:120, 80:150]
        for folder, image in (("in", photo), ("empty", background)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / folder / f"{name}.png")

    def run(*more, foreground="none"):
        flags = [f"--workdir={tmp_path / 'run'}", f"--checkpoint={tmp_path / 't.safetensors'}"]
        flags += [f"--foreground={foreground}"] if foreground else []
        flags += [f"--output={tmp_path / 'out'}", *more]
        return main(["launch.py", "--mode=predict", *flags], "")

    return run, tmp_path / "in", tmp_path / "empty"


def alpha_outside(path):
    """Returns the alpha of a photo of `with_background` where it shows its background."""
    alpha = np.array(Image.open(path)).astype(float)
    alpha[55:125, 75:155] = 0
    return alpha


def test_each_photo_takes_the_background_with_its_name(with_background, tmp_path):
    run, photos, backgrounds = with_background
    assert run(f"--input={photos}", f"--background={backgrounds}") == 0
    for name in "ab":
        assert not alpha_outside(tmp_path / "out" / f"{name}_alpha.png").any()
        assert np.array(Image.open(tmp_path / "out" / f"{name}_alpha.png"))[80, 100] > 0


def test_one_background_serves_all_photos_and_is_not_a_photo(with_background, tmp_path):
    run, photos, backgrounds = with_background
    Image.open(photos / "a.png").save(photos / "second.png")
    (backgrounds / "a.png").rename(photos / "empty.png")
    (photos / "b.png").unlink()
    assert run(f"--input={photos}", f"--background={photos / 'empty.png'}") == 0
    assert files(tmp_path / "out") == ["a_alpha.png", "second_alpha.png"]
    for name in ("a", "second"):
        assert not alpha_outside(tmp_path / "out" / f"{name}_alpha.png").any()


@pytest.mark.parametrize("more", [[], ["--foreground=network"]])
def test_cut_outs_have_the_foreground_that_the_network_predicts(with_background, tmp_path, more):
    run, photos, backgrounds = with_background
    assert run(f"--input={photos}", f"--background={backgrounds}", *more, foreground=None) == 0
    for name in "ab":
        photo = np.array(Image.open(photos / f"{name}.png"))
        alpha = np.array(Image.open(tmp_path / "out" / f"{name}_alpha.png"))
        cutout = np.array(Image.open(tmp_path / "out" / f"{name}_cutout.png"))
        np.testing.assert_array_equal(cutout[..., 3], alpha)
        assert 0 < np.mean(alpha > 0) < 1
        expected = np.where(alpha[..., None] > 0, photo * np.uint8([0, 1, 1]), 0)
        np.testing.assert_array_equal(cutout[..., :3], expected)


def test_foreground_may_be_estimated_although_the_network_predicts_it(with_background, tmp_path):
    run, photos, backgrounds = with_background
    inputs = [f"--input={photos / 'a.png'}", f"--background={backgrounds / 'a.png'}"]
    assert run(*inputs, foreground="multilevel") == 0
    photo = np.array(Image.open(photos / "a.png"))
    alpha = np.array(Image.open(tmp_path / "out" / "a_alpha.png"))
    cutout = np.array(Image.open(tmp_path / "out" / "a_cutout.png"))
    np.testing.assert_array_equal(cutout[..., :3], program.METHODS["multilevel"](photo, alpha))


def test_network_without_foreground_colours_says_what_to_take(predict, photos, matter, capsys):
    assert predict(photos, "--foreground=network") == 2
    message = capsys.readouterr().err
    assert "tiny predicts no foreground colours: pass --foreground multilevel or blur" in message
    with pytest.raises(ValueError, match="tiny predicts no foreground colours"):
        matter.cut_out(np.zeros((32, 32, 3), np.uint8))


def moved(path, angle, x, y, scale=1.0):
    """Returns an image turned about its centre by degrees, scaled and moved by pixels."""
    image = Image.open(path)
    cos, sin = np.cos(np.deg2rad(angle)) / scale, np.sin(np.deg2rad(angle)) / scale
    middle = np.array([image.width / 2, image.height / 2])
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = middle - turn @ (middle + [x, y])
    data = [cos, sin, shift[0], -sin, cos, shift[1]]
    return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)


def test_background_of_a_moved_camera_is_aligned(with_background, tmp_path):
    run, photos, backgrounds = with_background
    moved(backgrounds / "a.png", 2, 5, -4).save(backgrounds / "a.png")
    moved(backgrounds / "b.png", -1, -7, 3).crop((0, 0, 236, 200)).save(backgrounds / "b.png")
    (photos / "b.png").rename(tmp_path / "b.png")
    assert run(f"--input={photos}", f"--background={backgrounds}") == 0
    before = alpha_outside(tmp_path / "out" / "a_alpha.png").mean()
    (tmp_path / "b.png").rename(photos / "b.png")
    # An aligned background may have another size.
    assert run(f"--input={photos}", f"--background={backgrounds}", "--align", "--overwrite") == 0
    for name in "ab":
        assert alpha_outside(tmp_path / "out" / f"{name}_alpha.png").mean() < 0.15 * before


def test_background_that_cannot_be_aligned_is_reported_with_the_matches(with_background, capsys):
    run, photos, backgrounds = with_background
    (backgrounds / "b.png").replace(backgrounds / "a.png")
    Image.new("RGB", (240, 200), "grey").save(backgrounds / "b.png")
    assert run(f"--input={photos}", f"--background={backgrounds}", "--align") == 1
    other, grey = capsys.readouterr().err.strip().splitlines()[-2:]
    assert "empty/a.png cannot be aligned with" in other and "in/a.png: " in other
    assert "matching features agree on one homography, expected at least 30" in other
    assert "in/b.png: only 0 features match" in grey


def test_background_that_does_not_fit_is_reported(with_background, photos, predict, capsys):
    run, own, backgrounds = with_background
    assert run(f"--input={own}") == 2
    assert (
        "needs a background for each photo: pass --background FILE|DIR, a photo of"
        in capsys.readouterr().err
    )
    (backgrounds / "b.png").unlink()
    assert run(f"--input={own}", f"--background={backgrounds}") == 2
    assert "has none for 1 of 2 photos" in capsys.readouterr().err
    small = backgrounds / "small.png"
    Image.new("RGB", (24, 20)).save(small)
    assert run(f"--input={own}", f"--background={small}") == 1
    assert "small.png: 24 x 20 pixels, but" in capsys.readouterr().err
    assert predict(photos, f"--background={small}") == 2
    assert "tiny takes no background: omit --background" in capsys.readouterr().err
    assert predict(photos, "--align") == 2
    assert "tiny takes no background: omit --align" in capsys.readouterr().err


@pytest.fixture
def chained(with_trimaps, finished, monkeypatch):
    """(a function that predicts with trimaps of the finished run, its workdir, the photos)."""
    rule = TrimapRule("alpha", 0.52, 0.0, {"alpha": (0,)})
    monkeypatch.setitem(NETWORKS, "tiny", replace(NETWORKS["tiny"], trimap=rule))
    run, photos, _ = with_trimaps
    return (lambda *more: run(f"--input={photos}", *more)), finished[0], photos


def test_chain_predicts_the_same_as_in_the_library(chained, trimap_run, tmp_path):
    run, workdir, photos = chained
    rule = {"sure": 0.51, "margin": 0.02}
    flags = [f"--trimap_{field}={value}" for field, value in rule.items()]
    assert run(f"--trimap_from={workdir}", *flags) == 0
    first = mj.Matter("tiny", mj.load_checkpoint("tiny", workdir), test_time={"reference_size": 32})
    variables = mj.load_checkpoint("tiny_trimap", trimap_run[1].partition("=")[2])
    both = mj.Matter("tiny_trimap", variables, trimap_from=first, trimap_rule=rule)
    for name in ("a.jpg", "sub/b.png"):
        photo = np.asarray(Image.open(photos / name))
        alpha = np.asarray(
            Image.open((tmp_path / "out" / name).with_suffix("").with_name(f"{name[-5]}_alpha.png"))
        )
        np.testing.assert_array_equal(alpha, np.rint(255 * both(photo)))
    unlike = mj.Matter("tiny_trimap", variables, trimap_from=first)
    assert not np.array_equal(unlike(photo), both(photo))


def test_wrong_chain_is_rejected_in_one_line(
    chained, predict, photos, trimap_run, tmp_path, capsys
):
    run, workdir, _ = chained
    config = load_config(ROOT / "configs" / "gca.py", "")
    claim(tmp_path / "gca", config)
    config = load_config(ROOT / "configs" / "bisenet_v2.py", "cityscapes")
    claim(tmp_path / "streets", config)
    second = trimap_run[0].partition("=")[2]
    for flags, words in {
        (f"--trimap_from={workdir}", f"--trimap={photos}"): "one of --trimap and --trimap_from",
        (f"--trimap_from={tmp_path / 'gca'}",): "gca makes no trimap: take a network",
        (f"--trimap_from={second}",): "tiny_trimap makes no trimap",
        (f"--trimap_from={tmp_path / 'streets'}",): "predicts other classes than those of a trimap",
        (f"--trimap_from={tmp_path}",): "is not a workdir",
        (f"--trimap_from={workdir}", "--trimap_head=semantic"): "head of tiny that makes a trimap",
        (f"--trimap_from={workdir}", "--trimap_sure=0.2"): "sure must be from 0.5 to 1",
        ("--trimap_margin=0.1",): "--trimap_margin is for --trimap_from WORKDIR",
    }.items():
        assert run(*flags) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    assert predict(photos, f"--trimap_from={workdir}") == 2
    assert "tiny takes no trimap: omit --trimap_from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
