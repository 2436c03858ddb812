"""Max pooling that remembers where each maximum was, and the unpooling that puts values back there.

Both go through the same one-hot choice of a place in each 2x2 window, so that a tie, frequent after
a ReLU, counts for its first place in values and gradients alike, as in PyTorch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.models.layers.forms import is_cpu_form

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


def max_pool3(x: Array, form: str = "auto") -> Array:
    """The largest of 3x3 places around every second one: [B, H, W, C] -> [B, H/2, W/2, C].

    Odd sides are halved upwards; what lies outside never wins. On CPU row by row and column by
    column, whose gradient is several times faster.
    """
    if not is_cpu_form(form):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for axis in (2, 1):
        length = x.shape[axis]
        sides = [(0, 0)] * x.ndim
        sides[axis] = (1, length % 2)
        padded = jnp.pad(x, sides, constant_values=-jnp.inf)
        span = 2 * ((length - 1) // 2) + 1
        before, centre, after = (lax.slice_in_dim(padded, i, i + span, 2, axis) for i in range(3))
        x = jnp.where(before >= centre, before, centre)
        x = jnp.where(x >= after, x, after)
    return x
