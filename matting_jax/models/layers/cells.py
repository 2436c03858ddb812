"""3x3 convolution of pixels in cells of 2x2, for large images with few channels.

The pixels of a cell become channels. XLA for CPU multiplies four times as many channels at a
quarter of the positions several times faster, although 7 of 16 products are with zeros. Channels
that are equal for all pixels of a cell are multiplied once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from matting_jax.models.layers.convolutions import convolve
from matting_jax.models.layers.initialisers import Init, he_uniform, zeros

Array = jax.Array


class CellConv(nn.Module):
    """3x3 convolution without padding of pixels in cells of 2x2.

    shared [B, h, w, E] or None holds channels that are equal for all pixels of a cell; own
    [B, h, w, 4 C] those of each pixel, as `to_cells` returns them. Returns
    [B, h - 1, w - 1, 4, features], the pixels of each cell. Parameters `kernel`
    [3, 3, E + C, features] and `bias` [features], as `Conv` of the pixels has them.
    """

    features: int
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Init = he_uniform
    bias_init: Init = zeros

    @nn.compact
    def __call__(self, shared: Array | None, own: Array) -> Array:
        common = 0 if shared is None else shared.shape[-1]
        shape = (3, 3, common + own.shape[-1] // 4, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", self.bias_init, (self.features,)) if self.use_bias else None
        shared, own, kernel, bias = promote_dtype(shared, own, kernel, bias, dtype=self.dtype)
        taps = cell_kernel(kernel[:, :, common:]).reshape(2, 2, own.shape[-1], -1)
        if shared is not None:
            own = jnp.concatenate([shared, own], axis=-1)
            summed = jnp.sum(cell_kernel(kernel[:, :, :common]), 2)
            taps = jnp.concatenate([summed, taps], axis=2)
        y = convolve(own, taps, padding=0)
        y = y.reshape(*y.shape[:3], 4, self.features)
        return y if bias is None else y + bias


def cell_kernel(kernel: Array) -> Array:
    """Returns the kernel that does to cells what kernel [3, 3, C, D] does to pixels.

    Returns [2, 2, 4, C, 4 D]: the cells that are read along each axis, the pixels of such a cell,
    and the features of the pixels of the cell that is written.
    """
    shifted = [
        jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0))) for i in (0, 1) for j in (0, 1)
    ]
    taps = jnp.concatenate(shifted, axis=-1)
    channels, features = taps.shape[2:]
    taps = taps.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return taps.reshape(2, 2, 4, channels, features)


def to_cells(x: Array) -> Array:
    """Groups the pixels of x [B, 2 h, 2 w, C] in cells: [B, h, w, 4 C]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // 2, width // 2, 4 * channels)


def from_cells(x: Array) -> Array:
    """Returns the pixels of cells [B, h, w, 4, C]: [B, 2 h, 2 w, C]."""
    batch, height, width, _, channels = x.shape
    x = x.reshape(batch, height, width, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, 2 * height, 2 * width, channels)
