"""Checks of what users pass to a Matter: photos, backgrounds and trimaps."""

from __future__ import annotations

import numpy as np

from matting_jax.data.files.values import code_fault
from matting_jax.image.trimap import quantise


def as_float_image(photo: np.ndarray) -> np.ndarray:
    """Returns a photo [H, W, 3], uint8 or float in [0, 1], as float32 in [0, 1].

    Raises ValueError for another shape, dtype or range.
    """
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ValueError(
            f"a photo must be an array [H, W, 3], got shape {photo.shape}: repeat grey values by "
            "np.dstack([photo] * 3), drop the alpha of RGBA by photo[..., :3]"
        )
    if photo.dtype == np.uint8:
        return np.divide(photo, 255, dtype=np.float32)
    if not np.issubdtype(photo.dtype, np.floating):
        raise ValueError(
            f"a photo must be uint8 or float in [0, 1], got {photo.dtype}: divide it by the "
            "largest value of its range, 65535 for 16 bits"
        )
    low, high = photo.min(), photo.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"a float photo must be in [0, 1], got {low:.9g} to {high:.9g}: divide 0 to 255 by "
            "255, clip other values"
        )
    return photo.astype(np.float32, copy=False)


def as_float_trimap(trimap: np.ndarray) -> np.ndarray:
    """Returns a trimap [H, W], uint8 or float in [0, 1], as float32 [H, W, 1] of 0, 0.5 and 1.

    Below a third (85 of 255) is background, from two thirds (170) foreground. Raises ValueError for
    another shape, dtype or range, and for class numbers.
    """
    trimap = np.asarray(trimap)
    if trimap.ndim != 2 or 0 in trimap.shape:
        raise ValueError(f"a trimap must be an array [H, W], got shape {trimap.shape}")
    if np.issubdtype(trimap.dtype, np.floating):
        if not (trimap.min() >= 0 and trimap.max() <= 1):
            raise ValueError(
                f"a float trimap must be in [0, 1], got {trimap.min():.9g} to {trimap.max():.9g}: "
                "0 is background, 0.5 unknown, 1 foreground"
            )
    elif trimap.dtype != np.uint8:
        raise ValueError(f"a trimap must be uint8 or float in [0, 1], got {trimap.dtype}")
    elif trimap.max() > 0 and (fault := code_fault(trimap, 255, "{}", "trimap")):
        raise ValueError(f"a trimap cannot be these numbers: {fault}")
    return quantise(trimap)[..., None]


def multiply_opacity(alpha: np.ndarray, opacity: np.ndarray | None) -> np.ndarray:
    """Multiplies a predicted alpha [H, W] by the photo's own transparency, uint8 [H, W] or None.

    Pixels that were erased from a photo thus stay erased.
    """
    if opacity is None:
        return alpha
    return alpha * np.divide(opacity, 255, dtype=np.float32)


def size_of(image: np.ndarray) -> str:
    """Returns "WIDTH x HEIGHT" of an image [H, W, ...]."""
    return f"{image.shape[1]} x {image.shape[0]}"
