import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from matting_jax.data.files import formats
from matting_jax.data.files.images import (
    count_frames,
    read_alpha,
    read_header,
    read_image,
    read_photo,
    read_rgba,
)
from matting_jax.data.files.wide import read_exact_alpha
from tests.helpers import STORED, orientation, png, png_chunk, write_png16, write_tiff16


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp"])
def test_rgb_values_are_read_unchanged(tmp_path, noise, suffix):
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


def test_alpha_is_the_grey_value_in_any_mode(tmp_path, noise):
    grey = Image.fromarray(noise[..., 0])
    for name in ("L", "RGB"):
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


@pytest.mark.parametrize("write", [write_png16, write_tiff16])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colours_are_scaled(tmp_path, noise, write, channels):
    file = tmp_path / "wide"
    write(file, noise[..., :channels].astype(np.uint16) * 256 + 200)
    assert read_header(file) == (7, 9, channels == 4)
    np.testing.assert_array_equal(read_rgba(file)[..., :channels], noise[..., :channels])
    np.testing.assert_array_equal(read_image(file), noise[..., :3])


def test_grey_with_alpha_is_grey_at_any_bit_depth(tmp_path, noise):
    write_png16(tmp_path / "wide.png", noise[..., :2].astype(np.uint16) * 257)
    Image.fromarray(noise[..., :2], "LA").save(tmp_path / "narrow.png")
    for name in ("wide.png", "narrow.png"):
        grey = np.repeat(noise[..., :1], 3, axis=-1)
        np.testing.assert_array_equal(read_image(tmp_path / name), grey)
        np.testing.assert_array_equal(read_alpha(tmp_path / name), noise[..., 1])


@pytest.mark.parametrize(
    "channels, options, words",
    [
        (1, {"white_is_zero": True}, "white as 0"),
        (3, {"planes": True}, "in planes"),
    ],
)
def test_tiff_files_that_pillow_decodes_wrongly_raise(tmp_path, noise, channels, options, words):
    write_tiff16(tmp_path / "odd.tif", noise[..., :channels].astype(np.uint16), **options)
    for read in (read_image, read_alpha, read_header):
        with pytest.raises(ValueError, match=f"{words}, save it as PNG"):
            read(tmp_path / "odd.tif")


def test_inks_of_an_adobe_jpeg_are_inverted(tmp_path):
    file = tmp_path / "print.jpg"
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 8:, 0] = inks[:, 16:, 1] = inks[:, 24:, 3] = 255
    Image.fromarray(inks, "CMYK").save(file, quality=100, subsampling=0)
    assert b"Adobe" in file.read_bytes()  # by which 255 means no ink in the file
    expected = np.repeat([[255] * 3, [0, 255, 255], [0, 0, 255], [0, 0, 0]], 8, axis=0)
    np.testing.assert_array_equal(read_image(file), np.broadcast_to(expected, (16, 32, 3)))


def test_progressive_jpeg_has_the_pixels_of_a_baseline_one(tmp_path, noise):
    for name in ("plain.jpg", "slow.JPG"):
        Image.fromarray(noise[..., :3]).save(tmp_path / name, progressive=name == "slow.JPG")
    with Image.open(tmp_path / "slow.JPG") as image:
        assert image.info["progressive"]
    np.testing.assert_array_equal(
        read_image(tmp_path / "slow.JPG"), read_image(tmp_path / "plain.jpg")
    )


def test_cmyk_becomes_rgb(tmp_path):
    file = tmp_path / "print.tif"
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    Image.fromarray(inks, "CMYK").save(file)
    expected = [[[255] * 3, [0, 255, 255], [255, 0, 0], [0, 0, 0]]]
    assert read_image(file).tolist() == expected
    assert read_rgba(file)[..., :3].tolist() == expected


def test_palette_keeps_its_colours_and_transparency(tmp_path):
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


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_orientation_is_applied_to_every_mode(tmp_path, noise, suffix, number):
    modes = {"L": noise[..., :1], "RGB": noise[..., :3], "RGBA": noise}
    for mode, upright in modes.items():
        stored = np.ascontiguousarray(STORED[number](upright))
        file = tmp_path / f"{mode}.{suffix}"
        lossless = {"lossless": True, "exact": True} if suffix == "webp" else {}
        Image.fromarray(stored.squeeze()).save(file, exif=orientation(number), **lossless)
        colours = np.broadcast_to(upright[..., :3], (9, 7, 3))
        np.testing.assert_array_equal(read_image(file), colours, err_msg=mode)
        assert read_header(file) == (7, 9, mode == "RGBA")


@pytest.mark.parametrize("number", range(1, 9))
def test_jpeg_is_turned_by_its_exif_orientation(tmp_path, number):
    upright = np.zeros((40, 24, 3), np.uint8)
    upright[:16, :, 0] = upright[:, :8, 1] = 255
    file = tmp_path / "phone.jpg"
    Image.fromarray(np.ascontiguousarray(STORED[number](upright))).save(
        file, quality=100, subsampling=0, exif=orientation(number)
    )
    assert np.abs(read_image(file).astype(int) - upright).max() <= 2
    assert read_header(file) == (24, 40, False)


@pytest.mark.parametrize(
    "exif, turned",
    [
        (b"garbage", False),
        (orientation(9).tobytes(), False),
        # BitsPerSample of 70000 in four bytes, which Pillow reads but cannot write
        (
            b"Exif\0\0II*\0\x08\0\0\0\2\0"
            + struct.pack("<HHII", 0x0112, 3, 1, 6)
            + struct.pack("<HHII", 258, 4, 1, 70000)
            + bytes(4),
            True,
        ),
    ],
)
def test_photo_with_damaged_exif_is_read(tmp_path, noise, exif, turned):
    stored = io.BytesIO()
    Image.fromarray(noise[..., :3]).save(stored, "PNG")
    chunk = png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    file = tmp_path / "odd.png"
    file.write_bytes(stored.getvalue()[:33] + chunk + stored.getvalue()[33:])
    expected = np.rot90(noise[..., :3], -1) if turned else noise[..., :3]
    np.testing.assert_array_equal(read_image(file), expected)
    assert read_header(file)[:2] == expected.shape[1::-1]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation_is_read_and_all_are_counted(tmp_path, suffix):
    film, still = tmp_path / f"film.{suffix}", tmp_path / f"still.{suffix}"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(still)
    frames[0].save(film, save_all=True, append_images=frames[1:])
    assert np.abs(read_image(film).astype(int) - [255, 0, 0]).max() <= 1
    assert (count_frames(film), count_frames(still)) == (3, 1)


def test_preview_in_the_jpeg_of_a_phone_is_not_counted(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert count_frames(tmp_path / "phone.jpg") == 1


def test_damage_after_the_first_frame_is_ignored(tmp_path, noise):
    frames = [Image.fromarray(noise[..., i]) for i in range(2)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    whole = (tmp_path / "film.gif").read_bytes()
    second = whole.rindex(b"\x2c\0\0\0\0\7\0\x09\0")
    (tmp_path / "cut.gif").write_bytes(whole[: second + 5])
    np.testing.assert_array_equal(
        read_image(tmp_path / "cut.gif"), read_image(tmp_path / "film.gif")
    )
    assert count_frames(tmp_path / "cut.gif") == 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_large_photos_are_read_up_to_a_limit(tmp_path):
    Image.new("1", (12000, 9000), 1).save(tmp_path / "large.png")
    alpha = read_alpha(tmp_path / "large.png")
    assert alpha.shape == (9000, 12000) and alpha.min() == 255
    (tmp_path / "larger.png").write_bytes(png((20000, 10000, 8, 2), (b"IDAT", b"")))
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match="larger.png: it has more than 178956970 pixels"):
            read(tmp_path / "larger.png")


def faulty_files(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in ("png", "jpg", "tif", "webp", "gif", "bmp"):
        whole = folder / f"whole.{suffix}"
        Image.fromarray(pixels).save(whole, progressive=True)
        (folder / f"truncated.{suffix}").write_bytes(whole.read_bytes()[:-900])
        whole.unlink()
    Image.fromarray(pixels[..., 0].astype(np.float32)).save(folder / "float.tif")
    Image.fromarray(pixels[..., 0].astype(np.int32) * 65536).save(folder / "wide.tif")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    return [*sorted(folder.iterdir()), folder / "missing.png"]


def test_error_for_an_unreadable_file_contains_its_name(tmp_path):
    for file in faulty_files(tmp_path):
        for read in (read_image, read_rgba, read_alpha, read_header):
            with pytest.raises(ValueError, match="cannot read the image") as error:
                read(file)
            assert str(file) in str(error.value)
            assert "\n" not in str(error.value)


def test_error_contains_the_reason(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    for name, reason in [
        ("empty.png", "the file is empty"),
        ("text.jpg", "not an image"),
        ("missing.png", "no such file"),
    ]:
        with pytest.raises(ValueError, match=reason):
            read_image(tmp_path / name)


def short_png(kind):
    """Returns a PNG whose chunks are intact but whose pixels end too early, or are damaged."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = {
        "rows": zlib.compress(rows[:1000]),
        "stream": zlib.compress(rows)[:1000],
        "nothing": b"",
        "damaged": zlib.compress(rows)[:-500] + bytes(500),
    }[kind]
    return io.BytesIO(png((32, 32, 8, 2), (b"IDAT", data)))


@pytest.mark.parametrize("kind", ["rows", "stream", "nothing", "damaged"])
def test_png_with_too_few_or_damaged_pixels_is_an_error_for_all_readers(kind):
    for read in (read_image, read_rgba, read_alpha, read_header):
        with pytest.raises(ValueError, match="cannot read the image"):
            read(short_png(kind))


@pytest.mark.parametrize("name", ["photo.jpg", "photo.eps", "photo.png"])
@pytest.mark.parametrize(
    "start, words",
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "never run"),
        (b"%PDF-1.4\n", "never run"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "format that is read"),
        (b"8BPS\0\1" + bytes(60), "format that is read"),
    ],
)
def test_formats_that_are_not_listed_are_not_even_tried(tmp_path, monkeypatch, name, start, words):
    def refuse(*arguments):
        raise AssertionError("Pillow opens a file of another format")

    Image.init()
    for other in set(Image.OPEN) - set(formats.READ):
        monkeypatch.setitem(Image.OPEN, other, (refuse, None))
    (tmp_path / name).write_bytes(start)
    for read in (read_image, read_alpha, read_header):
        with pytest.raises(ValueError, match=words):
            read(tmp_path / name)


def test_pipes_devices_and_folders_are_errors_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name, words in [
        ("pipe.png", "not a regular file"),
        ("zero.png", "not a regular file"),
        ("folder.png", "it is a folder"),
    ]:
        for read in (read_image, read_alpha, read_header):
            with pytest.raises(ValueError, match=f"{name}: .*{words}"):
                read(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_colour_of_a_png_is_transparent(dtype, channels):
    pixels = np.array([[1, 7, 9], [7, 8, 0]], dtype)[..., None].repeat(channels, -1)
    pixels = pixels * dtype(1 if dtype is np.uint8 else 5000)
    rows = b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in pixels)
    key = pixels[0, 1].astype(">u2").tobytes()
    header = (3, 2, 8 * pixels.itemsize, {1: 0, 3: 2}[channels])
    stream = io.BytesIO(png(header, (b"tRNS", key), (b"IDAT", zlib.compress(rows))))
    wanted = [[255, 0, 255], [0, 255, 255]]
    assert read_header(stream).transparent
    assert read_rgba(stream)[..., 3].tolist() == wanted
    assert read_alpha(stream).tolist() == wanted
    assert (read_exact_alpha(stream) == np.float32(wanted) / 255).all()
    assert read_photo(stream).opacity.tolist() == wanted
