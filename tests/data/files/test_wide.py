"""Alphas and colours of 16 bits a channel, which Pillow reads with 8."""

import zlib

import numpy as np
import pytest

from matting_jax.data.files.wide import read_exact_alpha, wide_colours
from tests.helpers import orientation, png, write_png16, write_tiff16


@pytest.fixture
def wide():
    """Colours and alpha uint16 [5, 7, 4] that use all bits."""
    return np.random.default_rng(0).integers(0, 65536, (5, 7, 4), np.uint16)


@pytest.mark.parametrize(
    ("write", "channels"), [(write_png16, 2), (write_png16, 4), (write_tiff16, 4)]
)
def test_alpha_of_16_bits_is_exact(tmp_path, wide, write, channels):
    values = wide[..., :channels]
    write(tmp_path / "a", values)
    np.testing.assert_array_equal(wide_colours(tmp_path / "a"), values)
    expected = values[..., -1] / np.float32(65535)
    np.testing.assert_array_equal(read_exact_alpha(tmp_path / "a"), expected)


@pytest.mark.parametrize(("channels", "kind"), [(2, 4), (4, 6)])
def test_alpha_of_16_bits_is_upright(tmp_path, wide, channels, kind):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide[..., :channels])
    exif = (b"eXIf", orientation(6).tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(png((7, 5, 16, kind), exif, (b"IDAT", zlib.compress(rows))))
    expected = np.rot90(wide[..., channels - 1], -1) / np.float32(65535)
    np.testing.assert_array_equal(read_exact_alpha(tmp_path / "a.png"), expected)
