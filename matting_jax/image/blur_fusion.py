"""Foreground colours on the device, in batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from matting_jax.image.composite import composite
from matting_jax.image.filters import box_mean

Array = jax.Array


def blur_fusion(
    image: Array, alpha: Array, sizes: tuple[int, ...] = (90, 6)
) -> tuple[Array, Array]:
    """The colours of foreground and background, each [B, H, W, 3], by one blur for each of `sizes`.

    image [B, H, W, 3] and alpha [B, H, W, 1] in [0, 1]. `sizes` are the sides of the means in
    pixels, whatever the image's size; (90,) is the published method's fast form. Source: Forte,
    Approximate Fast Foreground Colour Estimation, ICIP 2021.
    """
    foreground = background = image
    for size in sizes:
        foreground, background = fuse_once(image, alpha, foreground, background, size)
    return foreground, background


def fuse_once(
    image: Array, alpha: Array, foreground: Array, background: Array, size: int
) -> tuple[Array, Array]:
    """Means of both colours, weighted by their share; what the foreground then lacks to compose the
    image is added to it by its share, and not to the background."""
    shares = jnp.concatenate([alpha, alpha * foreground, (1 - alpha) * background], axis=-1)
    share, foreground, background = jnp.split(box_mean(shares, size), (1, 4), axis=-1)
    foreground = foreground / (share + 1e-5)
    background = background / (1 - share + 1e-5)
    missing = image - composite(foreground, alpha, background)
    return jnp.clip(foreground + alpha * missing, 0, 1), background
