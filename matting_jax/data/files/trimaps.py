"""The trimaps of test images, read from files or made from alpha."""

from __future__ import annotations

import numpy as np

from matting_jax.data.files.images import File, read_alpha
from matting_jax.image.trimap import from_masks, quantise, to_bytes


def read_trimap(file: File) -> np.ndarray:
    """Reads a trimap: uint8 [H, W], 0 below 85, 255 from 170 on, else 128.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return to_bytes(quantise(read_alpha(file)))


def from_alpha(alpha: np.ndarray, distance: float) -> np.ndarray:
    """Builds a trimap uint8 [H, W] (0, 128, 255) from alpha uint8 [H, W].

    A pixel is foreground if alpha is 255 everywhere within `distance` pixels (Euclidean), and
    background if it is 0 there.
    """
    return to_bytes(from_masks(alpha == 255, alpha == 0, distance))
