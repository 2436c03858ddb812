"""Estimation of foreground colours on the host. Importing this module imports no JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

MOST_SIZES = 32  # of photos whose programs are kept


def multilevel(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimates foreground colours by multi-level estimation (Germer et al., 2020).

    image uint8 [H, W, 3], alpha uint8 [H, W]; returns uint8 [H, W, 3] without the background at
    soft edges, equal to the image where alpha is 255.
    """
    if min(alpha.shape) < 2:
        return image  # too small to separate the layers
    # Imported here, because numba is not needed without it.
    from matting_jax.image.multilevel import estimate_layers

    colours, _ = estimate_layers(image, alpha)
    return keep_opaque(alpha, image, colours)


def blur(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Estimates as `multilevel`, by blur fusion (Forte, 2021) on the device; compiles per size."""
    image_and_alpha = (x.astype(np.float32)[None] / 255 for x in (image, alpha[..., None]))
    colours = jit_blur_fusion(alpha.shape)(*image_and_alpha)
    return keep_opaque(alpha, image, np.asarray(colours[0]))


@lru_cache(MOST_SIZES)
def jit_blur_fusion(size: tuple[int, int]) -> Callable:
    """Returns jitted blur fusion for photos of one size, whose program is freed with it.

    JAX is imported here, because `multilevel` does not need it.
    """
    import jax

    from matting_jax.image.blur_fusion import blur_fusion

    return jax.jit(lambda image, alpha: blur_fusion(image, alpha)[0])


METHODS = {"multilevel": multilevel, "blur": blur}


def keep_opaque(alpha: np.ndarray, image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Converts `colours` in [0, 1] to bytes, and takes those of the image where alpha is 255."""
    colours = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return np.where(alpha[..., None] == 255, image, colours)
