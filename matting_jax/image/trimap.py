"""Trimaps from alpha: 0 background, 0.5 unknown, 1 foreground."""
from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.image.morphology import dilate, dilate_set, ellipse, erode

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


def elliptic(
    alpha: Array, size: Array | int, times: Array | int, sizes: tuple[int, int] = (2, 4)
) -> Array:
    """Trimap of alpha [H, W, 1]: known what an ellipse, dilating `times` times, does not bring into
    touch with anything of another kind (alpha that in bytes is not 0, or not 255).

    `size` is the ellipse's side, from the first to the last of `sizes`. Source:
    PaddlePaddle/PaddleSeg, Matting/ppmatting/datasets/matting_dataset.py, gen_trimap.
    """
    other = jnp.concatenate([alpha > 0.5 / 255, alpha < 254.5 / 255], axis=-1)
    smallest, largest = sizes
    branches = [partial(dilate_set, element=ellipse(k)) for k in range(smallest, largest + 1)]
    subject, hole = jnp.split(lax.switch(size - smallest, branches, other, times), 2, axis=-1)
    return jnp.where(subject, jnp.where(hole, 0.5, 1), 0).astype(alpha.dtype)
