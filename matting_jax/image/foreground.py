"""Foreground colours: what lies under alpha without the photo's background."""

from __future__ import annotations

from functools import cache

import numpy as np


def multilevel(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The foreground's colours by multi-level estimation (Germer et al., 2020), on the host.

    image uint8 [H, W, 3], alpha uint8 [H, W]; returns uint8 [H, W, 3], equal to the image where
    alpha is 255, so that no old background shows at soft edges.
    """
    if min(alpha.shape) < 2:
        return image  # nothing to tell the two layers apart by
    from pymatting import estimate_foreground_ml  # compiles for seconds when first imported

    colours = estimate_foreground_ml(image.astype(np.float32) / 255, alpha.astype(np.float32) / 255)
    return under(alpha, image, colours)


def blur(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """As `multilevel`, by blur fusion (Forte, 2021) on JAX's device; compiles once per size."""
    image_and_alpha = (x.astype(np.float32)[None] / 255 for x in (image, alpha[..., None]))
    colours, _ = compiled_fusion()(*image_and_alpha)
    return under(alpha, image, np.asarray(colours[0]))


@cache
def compiled_fusion():
    """Blur fusion, jitted; JAX is imported here, since processes that only read data need none."""
    import jax

    from matting_jax.image.blur_fusion import blur_fusion

    return jax.jit(blur_fusion)


METHODS = {"multilevel": multilevel, "blur": blur}


def under(alpha: np.ndarray, image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """`colours` in [0, 1] as bytes where alpha is not 255, there the image."""
    colours = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return np.where(alpha[..., None] == 255, image, colours)
