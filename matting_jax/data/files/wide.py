"""Reads colours and alphas of 16 bits a channel, of which Pillow keeps 8 or the wrong ones."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from PIL import Image

from matting_jax.data.files.images import (
    File,
    alpha_of,
    is_wide_grey,
    open_with,
    to_eight_bits,
    turn_upright,
    wide_values,
)


def read_exact_alpha(file: File) -> np.ndarray:
    """Reads an alpha as read_alpha, but keeps values of 16 bits: float32 [H, W] in [0, 1].

    Raises ValueError, with the file's name, if it cannot be read.
    """
    wide = wide_colours(file)
    if wide is not None and wide.shape[-1] in (2, 4):
        return np.divide(wide[..., -1], 65535, dtype=np.float32)
    return open_with(file, lambda image: exact_alpha_of(turn_upright(image)))


def exact_alpha_of(image: Image.Image) -> np.ndarray:
    """Returns alpha float32 [H, W] in [0, 1] of a file without colours of 16 bits."""
    if is_wide_grey(image):
        return np.divide(wide_values(image), 65535, dtype=np.float32)
    return np.divide(alpha_of(to_eight_bits(image)), 255, dtype=np.float32)


def wide_colours(file: File) -> np.ndarray | None:
    """Returns colours of 16 bits, upright, as uint16 [H, W, C], None for a file of others.

    C is 3, 4, or 2 for grey with alpha. Pillow reads the upper or the lower 8 bits.
    """
    found = open_with(file, wide_format)
    if not found:
        return None
    if found == "LA;16B":  # with four bytes a pixel, as RGBA has them
        stored = open_with(file, partial(read_as, "RGBA"))
        return np.ascontiguousarray(stored).view(">u2").astype(np.uint16)
    order = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[found[-1]]
    upper = open_with(file, lambda image: np.asarray(turn_upright(image)))
    lower = open_with(file, partial(read_as, found[:-1] + order))
    return upper.astype(np.uint16) << 8 | lower


def wide_format(image: Image.Image) -> str:
    """Returns Pillow's name of the stored pixels of an image that was just opened.

    It is "LA;16", "RGB;16" or "RGBA;16" and the order of the bytes, "" for other pixels.
    """
    for *_, parameters in image.tile:
        name = parameters[0] if isinstance(parameters, tuple) else parameters
        if str(name).startswith(("RGB;16", "RGBA;16")) or name == "LA;16B":
            return name
    return ""


def read_as(name: str, image: Image.Image) -> np.ndarray:
    """Returns the pixels of an image that was just opened, as if they were stored as `name`."""
    image.tile = [
        (*tile[:3], (name, *tile[3][1:]) if isinstance(tile[3], tuple) else name)
        for tile in image.tile
    ]
    return np.asarray(turn_upright(image))
