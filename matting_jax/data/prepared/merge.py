"""Foregrounds over backgrounds as Adobe's own script merges them: scores depend on each rule."""

import math

import numpy as np
from PIL import Image

from matting_jax.image.composite import composite


def lay_under(background: Image.Image, width: int, height: int) -> Image.Image:
    """The background of a foreground of width x height: enlarged until it covers it, by the bicubic
    rule, and cropped at its top left corner."""
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        enlarged = math.ceil(background.width * ratio), math.ceil(background.height * ratio)
        # Rows, then columns: which comes first is seen where colours are clipped between the two.
        for size in ((enlarged[0], background.height), enlarged):
            background = background.resize(size, Image.Resampling.BICUBIC)
    return background.crop((0, 0, width, height))


def merge(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Composite of uint8 [H, W, 3], [H, W] and [H, W, 3] as uint8 [H, W, 3], fractions cut off."""
    weight = alpha[..., None] / 255  # float64: fewer bits would cut off elsewhere
    return composite(foreground, weight, background).astype(np.uint8)
