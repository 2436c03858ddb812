"""Trimaps from alpha: 0 background, 0.5 unknown, 1 foreground."""
from __future__ import annotations

import jax
import jax.numpy as jnp

from matting_jax.image.morphology import dilate, erode

Array = jax.Array


def modnet(alpha: Array, dilation: Array | int, erosion: Array | int, largest: int) -> Array:
    """Trimap of alpha [H, W, 1]: unknown where a square of side `dilation` touches any subject or
    one of side `erosion` touches what is not surely subject (alpha below 0.9).

    Sides are integers from 1 to `largest`. Source: the author's recipe, ZHKKKe/MODNet issue 108.
    """
    foreground = (alpha >= 0.9).astype(alpha.dtype)
    subject = (alpha > 0).astype(alpha.dtype)
    unknown = dilate(subject, dilation, largest) != erode(foreground, erosion, largest)
    return jnp.where(unknown, 0.5, foreground)
