"""Max pooling: of 3x3 and 2x2 windows, and of 2x2 windows with indices for unpooling.

Pooling with indices and unpooling share one one-hot selection of a pixel in each window. A tie,
frequent after a ReLU, therefore selects the first pixel in values and in gradients, as in PyTorch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.models.layers.forms import is_cpu_form

Array = jax.Array


def max_pool_3x3(x: Array, form: str = "auto") -> Array:
    """Max-pools 3x3 windows with stride 2 and padding 1: [B, H, W, C] -> [B, H/2, W/2, C].

    Odd sides are rounded up; padding is never the maximum. The CPU form pools rows, then columns:
    its gradient is several times faster.
    """
    if not is_cpu_form(form):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for axis in (2, 1):
        length = x.shape[axis]
        padding = [(0, 0)] * x.ndim
        padding[axis] = (1, length % 2)
        padded = jnp.pad(x, padding, constant_values=-jnp.inf)
        span = 2 * ((length - 1) // 2) + 1
        before, centre, after = (lax.slice_in_dim(padded, i, i + span, 2, axis) for i in range(3))
        x = jnp.where(before >= centre, before, centre)
        x = jnp.where(x >= after, x, after)
    return x


def max_pool_2x2(x: Array) -> Array:
    """Max-pools 2x2 windows of x: [B, H, W, C] -> [B, H/2, W/2, C]."""
    return nn.max_pool(x, (2, 2), (2, 2))


def max_pool_with_indices(x: Array) -> tuple[Array, Array]:
    """Max-pools 2x2 windows of x [B, H, W, C] and returns the index of each maximum too.

    Both are [B, H/2, W/2, C]. Indices are int8, 0 to 3, row by row in the window; of equal maxima
    the first is selected, and only it has a gradient.
    """
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    indices = argmax(lax.stop_gradient(windows))
    return jnp.sum(jnp.where(one_hot(indices), windows, 0), (2, 4)), indices


def max_unpool(x: Array, indices: Array) -> Array:
    """Puts x [B, H, W, C] at `indices` of 2x2 windows of zeros: [B, 2H, 2W, C]."""
    batch, height, width, channels = x.shape
    windows = jnp.where(one_hot(indices), x[:, :, None, :, None], 0)
    return windows.reshape(batch, 2 * height, 2 * width, channels)


def argmax(windows: Array) -> Array:
    """Returns the int8 index of the first maximum of each window of [B, H, 2, W, 2, C]."""
    (a, b), (c, d) = [[windows[:, :, i, :, j] for j in (0, 1)] for i in (0, 1)]
    in_top, in_bottom = (b > a).astype(jnp.int8), 2 + (d > c).astype(jnp.int8)
    return jnp.where(jnp.maximum(c, d) > jnp.maximum(a, b), in_bottom, in_top)


def one_hot(indices: Array) -> Array:
    """Marks the pixel of each window at `indices` [B, H, W, C]: bool [B, H, 2, W, 2, C]."""
    rows, columns = jnp.arange(2, dtype=jnp.int8)[:, None], jnp.arange(2, dtype=jnp.int8)
    return indices[:, :, None, :, None] == (2 * rows + columns).reshape(1, 1, 2, 1, 2, 1)
