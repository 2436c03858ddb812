"""Foregrounds over backgrounds on the host.

How a background is fitted and how a composite is rounded differ between the sources, and scores
depend on both: test sets are composited as their owners do.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from matting_jax.image.composite import composite
from matting_jax.image.geometry import resize_bilinear


def covering_size(
    background_height: int, background_width: int, height: int, width: int
) -> tuple[int, int]:
    """Returns the size of a background that covers a foreground of height x width.

    It is enlarged if it does not; in all sources it is then cropped at its top left corner.
    """
    ratio = max(width / background_width, height / background_height)
    if ratio <= 1:
        return background_height, background_width
    return math.ceil(background_height * ratio), math.ceil(background_width * ratio)


def lay_under(background: Image.Image, width: int, height: int) -> Image.Image:
    """Fits a background to a foreground of width x height, bicubically.

    As Adobe's script for Composition-1k does.
    """
    enlarged_height, enlarged_width = covering_size(
        background.height, background.width, height, width
    )
    # The width first: the order matters where colours are clipped in between.
    for size in ((enlarged_width, background.height), (enlarged_width, enlarged_height)):
        background = background.resize(size, Image.Resampling.BICUBIC)
    return background.crop((0, 0, width, height))


def lay_under_bilinear(background: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fits a background uint8 [h, w, 3] to a foreground: uint8 [height, width, 3].

    As PaddleSeg does for its lists: bilinearly, halves rounded up.
    """
    size = covering_size(*background.shape[:2], height, width)
    if size != background.shape[:2]:
        enlarged = resize_bilinear(background.astype(np.float32), *size)
        background = np.floor(enlarged + 0.5).astype(np.uint8)
    return background[:height, :width]


def merge(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Composites uint8 [H, W, 3], [H, W] and [H, W, 3]: uint8 [H, W, 3], fractions truncated.

    As Adobe's script for Composition-1k and PaddleSeg do.
    """
    weight = alpha[..., None] / 255  # float64: in float32 other pixels would be truncated
    return composite(foreground, weight, background).astype(np.uint8)


def merge_rounded(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Composites as `merge`, but rounds to the nearest integer.

    For data sets whose owners publish no composites.
    """
    weight = alpha[..., None].astype(np.float32) / 255
    return np.rint(composite(foreground, weight, background)).astype(np.uint8)
