"""Max pooling that remembers where each maximum was, and the unpooling that puts values back there.

Both go through the same one-hot choice of a place in each 2x2 window, so that a tie, frequent after
a ReLU, counts for its first place in values and gradients alike, as in PyTorch.
"""
from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


def max_pool(x: Array) -> tuple[Array, Array]:
    """The maximum of each 2x2 window of x [B, H, W, C], and its place in the window, int8.

    Both [B, H/2, W/2, C]. Places are 0 to 3, row by row; of equal values the first is taken, and
    it alone has a gradient.
    """
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    place = first_maximum(lax.stop_gradient(windows))
    return jnp.sum(jnp.where(is_at(place), windows, 0), (2, 4)), place


def unpool(x: Array, place: Array) -> Array:
    """x [B, H, W, C] at `place` of 2x2 windows of zeros: [B, 2H, 2W, C]."""
    batch, height, width, channels = x.shape
    windows = jnp.where(is_at(place), x[:, :, None, :, None], 0)
    return windows.reshape(batch, 2 * height, 2 * width, channels)


def first_maximum(windows: Array) -> Array:
    """The place, 0 to 3 as int8, of the first maximum in windows [B, H, 2, W, 2, C]."""
    (a, b), (c, d) = [[windows[:, :, i, :, j] for j in (0, 1)] for i in (0, 1)]
    in_top, in_bottom = (b > a).astype(jnp.int8), 2 + (d > c).astype(jnp.int8)
    return jnp.where(jnp.maximum(c, d) > jnp.maximum(a, b), in_bottom, in_top)


def is_at(place: Array) -> Array:
    """Which of the four pixels of each window is `place` [B, H, W, C]: bool [B, H, 2, W, 2, C]."""
    rows, columns = jnp.arange(2, dtype=jnp.int8)[:, None], jnp.arange(2, dtype=jnp.int8)
    return place[:, :, None, :, None] == (2 * rows + columns).reshape(1, 1, 2, 1, 2, 1)
