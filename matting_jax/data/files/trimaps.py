"""Trimaps to be tested on: read from files, or made from alpha where there are none."""

import numpy as np

from matting_jax.data.files.images import File, read_alpha
from matting_jax.image.trimap import from_masks, quantise, to_bytes


def read_trimap(file: File) -> np.ndarray:
    """Reads a trimap: uint8 [H, W], 0 below 85, 255 from 170 on, else 128.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return to_bytes(quantise(read_alpha(file)))


def from_alpha(alpha: np.ndarray, distance: float) -> np.ndarray:
    """A trimap uint8 [H, W] (0, 128, 255) of alpha uint8 [H, W].

    Foreground is what has nothing but alpha 255 within `distance` pixels, background what has
    nothing but 0; distances are Euclidean.
    """
    return to_bytes(from_masks(alpha == 255, alpha == 0, distance))


def check_distance(distance: float) -> None:
    """Raises ValueError when config.data.test.trimap_distance is no distance."""
    if distance < 0:
        raise ValueError(
            f"config.data.test.trimap_distance is {distance}, but must not be negative."
        )
