import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.images import read_alpha, read_header, read_image, read_rgba


def write_png16(path, values, colour_type):
    """Writes uint16 [H, W, C] as a PNG, which Pillow cannot do for colours."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(
            ">I", zlib.crc32(name + body)
        )  # fmt: skip

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp"])
def test_plain_colours_are_read_as_they_are(tmp_path, noise, suffix):
    file = tmp_path / f"photo.{suffix}"
    Image.fromarray(noise[..., :3]).save(file, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_image(file), noise[..., :3])
    assert (read_rgba(file)[..., 3] == 255).all()
    assert read_header(file) == (7, 9, False)


def test_transparency_is_kept_by_rgba_and_alpha_and_dropped_by_image(tmp_path, noise):
    file = tmp_path / "cut.png"
    Image.fromarray(noise).save(file)
    np.testing.assert_array_equal(read_image(file), noise[..., :3])
    np.testing.assert_array_equal(read_rgba(file), noise)
    np.testing.assert_array_equal(read_alpha(file), noise[..., 3])
    assert read_header(str(file)) == (7, 9, True)


def test_matte_is_the_grey_value_whatever_holds_it(tmp_path, noise):
    grey = Image.fromarray(noise[..., 0])
    for name in ("L", "RGB", "RGBA", "LA"):
        grey.convert(name).save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_alpha(tmp_path / f"{name}.png"), noise[..., 0])
    palette = Image.fromarray(255 - noise[..., 0], "L").convert("P")
    palette.putpalette([value for i in range(255, -1, -1) for value in (i, i, i)])
    palette.save(tmp_path / "P.png")
    np.testing.assert_array_equal(read_alpha(tmp_path / "P.png"), noise[..., 0])


def test_one_bit_becomes_0_and_255(tmp_path):
    file = tmp_path / "mask.png"
    Image.fromarray(np.array([[True, False]])).save(file)
    assert read_alpha(file).tolist() == [[255, 0]]
    assert read_image(file).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled(tmp_path, suffix):
    file = tmp_path / f"matte.{suffix}"
    wide = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    Image.fromarray(wide).save(file)
    assert read_alpha(file).tolist() == [[0, 0, 1, 1, 128, 254, 255, 255]]
    assert read_image(file)[..., 2].tolist() == [[0, 0, 1, 1, 128, 254, 255, 255]]


@pytest.mark.parametrize("colour_type, channels", [(2, 3), (6, 4)])
def test_sixteen_bit_colours_are_scaled(tmp_path, noise, colour_type, channels):
    file = tmp_path / "wide.png"
    write_png16(file, noise[..., :channels].astype(np.uint16) * 257, colour_type)
    np.testing.assert_array_equal(read_rgba(file)[..., :channels], noise[..., :channels])
    np.testing.assert_array_equal(read_image(file), noise[..., :3])


def test_cmyk_becomes_rgb(tmp_path):
    file = tmp_path / "print.tif"
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    Image.fromarray(inks, "CMYK").save(file)
    expected = [[[255] * 3, [0, 255, 255], [255, 0, 0], [0, 0, 0]]]
    assert read_image(file).tolist() == expected
    assert read_rgba(file)[..., :3].tolist() == expected


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "some.png", transparency=bytes([0, 128, 255]))
    image.save(tmp_path / "one.gif", transparency=1)
    for name in ("opaque.png", "some.png", "one.gif"):
        expected = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
        assert read_image(tmp_path / name).tolist() == expected
    assert read_rgba(tmp_path / "opaque.png")[..., 3].tolist() == [[255, 255, 255]]
    assert read_rgba(tmp_path / "some.png")[..., 3].tolist() == [[0, 128, 255]]
    assert read_rgba(tmp_path / "one.gif")[..., 3].tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_rotation_is_applied(tmp_path, suffix):
    upright = np.zeros((40, 24, 3), np.uint8)
    upright[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees to the left
    file = tmp_path / f"phone.{suffix}"
    Image.fromarray(np.rot90(upright)).save(file, exif=exif)
    assert np.abs(read_image(file).astype(int) - upright).max() <= 12
    assert read_header(file)[:2] == (24, 40)


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "film.gif") == [255, 0, 0]).all()


def faulty_files(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in ("png", "jpg", "tif", "webp"):
        whole = folder / f"whole.{suffix}"
        Image.fromarray(pixels).save(whole)
        (folder / f"truncated.{suffix}").write_bytes(whole.read_bytes()[:-900])
        whole.unlink()
    Image.fromarray(pixels[..., 0].astype(np.float32)).save(folder / "float.tif")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    return [*sorted(folder.iterdir()), folder / "missing.png"]


def test_unreadable_files_raise_one_error_with_their_name(tmp_path):
    for file in faulty_files(tmp_path):
        for read in (read_image, read_rgba, read_alpha):
            with pytest.raises(ValueError, match="Cannot read the image") as error:
                read(file)
            assert str(file) in str(error.value)
            assert "\n" not in str(error.value)
        if file.name != "float.tif":
            with pytest.raises(ValueError, match=file.name):
                read_header(file)


def test_reason_is_told(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    for name, reason in [
        ("empty.png", "the file is empty"),
        ("text.jpg", "not an image"),
        ("missing.png", "no such file"),
    ]:
        with pytest.raises(ValueError, match=reason):
            read_image(tmp_path / name)
