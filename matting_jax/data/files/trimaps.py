"""The trimaps of test images, read from files or made from alpha."""

from __future__ import annotations

import numpy as np
from PIL import Image

from matting_jax.data.files.images import File, grey_of, open_with, to_eight_bits, turn_upright
from matting_jax.image.trimap import from_masks, quantise, to_bytes


def read_trimap(file: File) -> np.ndarray:
    """Reads a trimap: uint8 [H, W], 0 where grey is below 85, 255 from 170 on, else 128.

    Transparent pixels are background. Raises ValueError, with the file's name, if it cannot be read
    or has colours.
    """
    values = open_with(file, lambda image: grey_of_trimap(turn_upright(image)))
    return to_bytes(quantise(values))


def grey_of_trimap(image: Image.Image) -> np.ndarray:
    """Returns the grey value of a trimap, uint8 [H, W], and 0 where it is transparent."""
    image = to_eight_bits(image)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        image = Image.fromarray(np.where(rgba[..., 3:] < 128, np.uint8(0), rgba[..., :3]))
    return grey_of(image, "a trimap")


def from_alpha(alpha: np.ndarray, distance: float) -> np.ndarray:
    """Builds a trimap uint8 [H, W] (0, 128, 255) from alpha uint8 [H, W].

    A pixel is foreground if alpha is 255 everywhere within `distance` pixels (Euclidean), and
    background if it is 0 there.
    """
    return to_bytes(from_masks(alpha == 255, alpha == 0, distance))
