"""Formats of phones, read by extras or reported."""

import builtins

import numpy as np
import pytest
from PIL import Image, features

from matting_jax.data.files import formats
from matting_jax.data.files.images import read_header, read_image
from matting_jax.data.files.walk import is_image
from tests.helpers import ROOT

HEIC = ROOT / "tests" / "cases" / "heic" / "photos" / "IMG_1.HEIC"


@pytest.fixture
def without_extras(monkeypatch):
    """Makes the packages of the extras unavailable, also where they are installed."""
    known = builtins.__import__

    def load(name, *more):
        if name in ("pillow_heif", "pillow_jxl"):
            raise ImportError(name)
        return known(name, *more)

    monkeypatch.setattr(formats.importlib, "import_module", load)
    yield
    formats.register_extras.cache_clear()


@pytest.mark.parametrize(
    "start, extra",
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heif"),
        (b"\xff\x0a\0\0\0\0\0\0", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "jxl"),
    ],
)
@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg"])
def test_error_names_the_extra_of_a_format(tmp_path, start, extra, name, without_extras):
    assert f"'matting_jax[{extra}]'" in formats.unreadable_reason(start.ljust(32, b"\0"))
    if extra == "jxl" and ".jxl" in Image.registered_extensions():
        pytest.skip("Pillow reads JPEG XL here")
    (tmp_path / name).write_bytes(start + bytes(50))
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match=rf"{name}.*pip install 'matting_jax\[{extra}\]'"):
            read(tmp_path / name)


def test_photo_of_a_phone_is_found_and_read_with_the_extra():
    assert is_image(HEIC)
    pytest.importorskip("pillow_heif")
    assert read_image(HEIC).shape == (64, 64, 3)


@pytest.mark.parametrize("suffix", ["avif", "heic", "jxl"])
def test_format_keeps_size_and_colours(tmp_path, suffix):
    if suffix == "avif":
        assert features.check("avif")  # of Pillow since 11.3
    else:
        pytest.importorskip({"heic": "pillow_heif", "jxl": "pillow_jxl"}[suffix])
    formats.register_extras()
    pixels = np.zeros((40, 24, 3), np.uint8)
    pixels[:16, :, 0] = pixels[:, :8, 1] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif.tobytes(), quality=95)
    expected = np.rot90(pixels, -1)
    assert is_image(path) and read_header(path)[:2] == (40, 24)
    inside = np.abs(read_image(path).astype(int) - expected).max(-1) < 20
    assert inside.mean() > 0.8


@pytest.mark.parametrize(
    "start, words",
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG file, but damaged"),
        (b"\xff\xd8\xff\xe0", "a JPEG file, but damaged"),
        (b"GIF89", "a GIF file, but damaged"),
        (b"II*\0\x08\0\0\0", "a TIFF file that is damaged, or whose pixels"),
        (b"MM\0*\0\0\0\x08", "a TIFF file that is damaged, or whose pixels"),
        (b"hello", "not an image of a format that is read"),
    ],
)
def test_error_for_a_damaged_file_names_its_format(tmp_path, start, words):
    (tmp_path / "a.png").write_bytes(start + bytes(8))
    with pytest.raises(ValueError, match=words):
        read_image(tmp_path / "a.png")
