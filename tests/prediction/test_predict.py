import struct

import jax
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.commandline import main
from matting_jax.prediction import predict as program
from tests.helpers import write_png16, write_tiff16
from tests.limits import file_limit
from tests.prediction.results import COLOUR, SIZES, files, pairs


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
