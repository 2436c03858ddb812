"""Whatever bytes a file holds, it is an image or one error message with its name."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from matting_jax.data.files.images import read_alpha, read_photo

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM")


def whole(name):
    """Returns a small photo as a file of a format."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(pixels).save(stream, name)
    return stream.getvalue()


FILES = {name: whole(name) for name in FORMATS}


def check(content, folder):
    """Asserts that both readers give an image, or one error message."""
    path = folder / "photo.png"
    path.write_bytes(content)
    for read in (lambda: read_photo(path).image, lambda: read_alpha(path)):
        try:
            image = read()
        except ValueError as error:
            message = str(error)
            assert str(path) in message
            assert "\n" not in message and len(message) < len(str(path)) + 400
        else:
            assert image.dtype == np.uint8 and image.size


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFF files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


@settings(deadline=None, max_examples=40, derandomize=True)
@given(content=st.binary(max_size=64))
def test_any_bytes_give_an_image_or_one_error(folder, content):
    check(content, folder)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(name=st.sampled_from(FORMATS), place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_any_changed_byte_gives_an_image_or_one_error(folder, name, place, value):
    content = bytearray(FILES[name])
    content[place % len(content)] = value
    check(content, folder)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(name=st.sampled_from(FORMATS), length=st.integers(0, 10_000))
def test_any_beginning_gives_an_image_or_one_error(folder, name, length):
    check(FILES[name][: length % len(FILES[name])], folder)
