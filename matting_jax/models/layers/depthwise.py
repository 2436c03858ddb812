"""Depth-wise convolution, whose CPU form is a sum of shifted images.

XLA's grouped convolution is ten to twenty times slower on CPU.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

from matting_jax.models.layers.convolutions import DIMENSIONS, Dtype, pad_sides
from matting_jax.models.layers.forms import is_cpu_form
from matting_jax.models.layers.initialisers import Init, he_uniform
from matting_jax.models.layers.kernel_gradient import hide, window

Array = jax.Array


class DepthwiseConv(nn.Module):
    """Depth-wise 3x3 convolution without bias, padded by `dilation`, the atrous rate.

    x [B, H, W, C] -> [B, ceil(H / stride), ceil(W / stride), multiplier * C]. Parameter `kernel`
    [3, 3, 1, multiplier * C], as in `nn.Conv(feature_group_count=C)`: `multiplier` consecutive
    features read the same channel.
    """

    stride: int = 1
    dtype: Dtype = None
    kernel_init: Init = he_uniform
    form: str = "auto"
    dilation: int = 1
    multiplier: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (3, 3, 1, self.multiplier * x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        if is_cpu_form(self.form):
            x = jnp.repeat(x, self.multiplier, axis=-1) if self.multiplier > 1 else x
            return convolve_depthwise(x, kernel[:, :, 0], self.stride, self.dilation)
        return lax.conv_general_dilated(
            x,
            kernel,
            (self.stride, self.stride),
            ((self.dilation, self.dilation),) * 2,
            rhs_dilation=(self.dilation, self.dilation),
            dimension_numbers=DIMENSIONS,
            feature_group_count=x.shape[-1],
        )


def sum_shifted(
    padded: Array, kernel: Array, height: int, width: int, stride: int, dilation: int
) -> Array:
    """Convolves `padded` [B, H, W, C] depth-wise with kernel [k, k, C] as a sum of shifted images.

    Returns [B, height, width, C]; the taps are `dilation` apart.
    """
    batch, _, _, channels = padded.shape
    span_y, span_x = (height - 1) * stride + 1, (width - 1) * stride + 1
    total = None
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            y, x = i * dilation, j * dilation
            limit = (batch, y + span_y, x + span_x, channels)
            tap = lax.slice(padded, (0, y, x, 0), limit, (1, stride, stride, 1)) * kernel[i, j]
            total = tap if total is None else total + tap
    return total


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_depthwise(x: Array, kernel: Array, stride: int, dilation: int) -> Array:
    """Convolves x [B, H, W, C], padded by `dilation`, depth-wise with kernel [3, 3, C]."""
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    padded = pad_sides(x, dilation)
    return sum_shifted(padded, kernel, height, width, stride, dilation)


def convolve_depthwise_forward(x: Array, kernel: Array, stride: int, dilation: int):
    return convolve_depthwise(x, kernel, stride, dilation), (x, kernel)


def convolve_depthwise_backward(stride: int, dilation: int, saved, g: Array):
    x, kernel = saved
    batch, height, width, channels = x.shape
    rows, columns = g.shape[1:3]
    # The input's gradient is the same sum over the cotangent, spread by the stride, with the kernel
    # flipped.
    zero = jnp.zeros((), g.dtype)
    span_y, span_x = (rows - 1) * stride + 1, (columns - 1) * stride + 1
    sides_y = (dilation, height - span_y + dilation, stride - 1)
    sides_x = (dilation, width - span_x + dilation, stride - 1)
    spread = lax.pad(g, zero, ((0, 0, 0), sides_y, sides_x, (0, 0, 0)))
    dx = sum_shifted(spread, kernel[::-1, ::-1], height, width, 1, dilation)

    # The kernel's gradient is computed row by row, so that each row of the cotangent is read once.
    padded = pad_sides(x, dilation)
    offsets = hide(i * dilation for i in range(3))

    def add_row(row, sums):
        g_row = lax.dynamic_slice_in_dim(g, row, 1, 1)
        taps = [
            jnp.sum(window(padded, row * stride + i, j, (1, columns), stride) * g_row, (0, 1, 2))
            for i in offsets
            for j in offsets
        ]
        return sums + jnp.stack(taps)

    # Adding 0 * g marks the sums as varying over devices under shard_map, as g does.
    start = jnp.zeros((9, channels), g.dtype) + 0 * g[0, 0, 0]
    dkernel = lax.fori_loop(0, rows, add_row, start).reshape(3, 3, channels)
    return dx, dkernel


convolve_depthwise.defvjp(convolve_depthwise_forward, convolve_depthwise_backward)
