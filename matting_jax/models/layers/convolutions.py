"""Convolutions padded as in PyTorch."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

from matting_jax.image.geometry import upsample
from matting_jax.models.layers.dense import DIMENSIONS, convolve_lax
from matting_jax.models.layers.forms import is_cpu_form, on_cpu, plain_convolutions
from matting_jax.models.layers.initialisers import Init, he_uniform, uniform_of_fan_in, zeros
from matting_jax.models.layers.kernel_gradient import convolve_cpu

Array = jax.Array
Dtype = Any


class Conv(nn.Module):
    """Convolution with the same padding on all four sides, as in PyTorch.

    x [B, H, W, C] -> [B, H', W', features]. Parameters `kernel` [k, k, C, features] and `bias`
    [features].

    Attributes:
        padding: in pixels; None keeps the size at stride 1; "SAME" pads as TensorFlow, which
            differs at stride 2.
        dilation: the distance between taps, the atrous rate.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int | str | None = None
    use_bias: bool = True
    dtype: Dtype = None
    kernel_init: Init = he_uniform
    dilation: int = 1
    bias_init: Init = zeros

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolve(x, kernel, self.stride, self.padding, self.dilation)
        return y if bias is None else y + bias


def conv3(features: int, x: Array, dtype: Dtype, dilation: int = 1, *, name: str) -> Array:
    """Applies a 3x3 convolution with bias to x, initialised as in PyTorch by default."""
    init = uniform_of_fan_in(9 * x.shape[-1])
    return Conv(
        features, 3, dtype=dtype, kernel_init=init, dilation=dilation, bias_init=init, name=name
    )(x)


def convolve(
    x: Array,
    kernel: Array,
    stride: int = 1,
    padding: int | str | None = None,
    dilation: int = 1,
) -> Array:
    """Convolves x [B, H, W, C] with kernel [k, k, C, D]; the other arguments as in `Conv`."""
    size = kernel.shape[0]
    by_lax = plain_convolutions.get() or not on_cpu()
    # XLA for CPU is slower at a strided operation than at a product of every second pixel.
    if size == 1 and padding in (None, 0, "SAME") and (stride == 1 or not by_lax):
        return pointwise(x[:, ::stride, ::stride], kernel[0, 0])
    if padding == "SAME":
        window, strides = (dilation * (size - 1) + 1,) * 2, (stride, stride)
        sides = tuple(lax.padtype_to_pads(x.shape[1:3], window, strides, padding))
    else:
        pad = dilation * (size // 2) if padding is None else padding
        sides = ((pad, pad), (pad, pad))
    form = convolve_lax if by_lax else convolve_cpu
    return form(x, kernel, stride, sides, dilation)


def pointwise(x: Array, kernel: Array) -> Array:
    """Computes the 1x1 convolution of x [B, H, W, C] with kernel [C, D] as one matrix product.

    x is reshaped to two dimensions because the kernel's gradient is then several times faster on
    CPU.
    """
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def pad_sides(x: Array, padding: int) -> Array:
    """Pads all four sides of x [B, H, W, C] with `padding` zeros."""
    edge = (padding, padding, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), edge, edge, (0, 0, 0)))


class UpsampledConv(nn.Module):
    """Convolution of the input upsampled by 2, with padding kernel_size // 2.

    x [B, H, W, C] -> [B, 2H, 2W, features]; parameters as in `Conv`. The CPU form multiplies by
    each tap before upsampling, which commutes with it. This takes a quarter of the multiply-adds
    and pays off if there are many more channels than features.
    """

    features: int
    kernel_size: int
    dtype: Dtype = None
    kernel_init: Init = he_uniform
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size, channels = self.kernel_size, x.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (size, size, channels, self.features))
        bias = self.param("bias", zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if is_cpu_form(self.form):
            taps = pointwise(x, kernel.transpose(2, 0, 1, 3).reshape(channels, -1))
            return sum_taps(upsample(taps), size) + bias
        pad = ((size // 2, size // 2),) * 2
        y = lax.conv_general_dilated(upsample(x), kernel, (1, 1), pad, dimension_numbers=DIMENSIONS)
        return y + bias


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def sum_taps(taps: Array, size: int) -> Array:
    """Shifts each tap to its position under zero padding and sums them: [B, H, W, D].

    `taps` [B, H, W, size * size * D] holds D channels for each tap.
    """
    _, height, width, channels = taps.shape
    features = channels // size**2
    padded = pad_sides(taps, size // 2)
    total = None
    for tap in range(size**2):
        i, j = divmod(tap, size)
        first = tap * features
        shifted = padded[:, i : i + height, j : j + width, first : first + features]
        total = shifted if total is None else total + shifted
    return total


def sum_taps_forward(taps: Array, size: int):
    return sum_taps(taps, size), None


def sum_taps_backward(size: int, _, g: Array):
    height, width = g.shape[1:3]
    padded = pad_sides(g, size // 2)
    offsets = [divmod(tap, size) for tap in reversed(range(size**2))]
    shifted = [padded[:, i : i + height, j : j + width] for i, j in offsets]
    return (jnp.concatenate(shifted, axis=-1),)


sum_taps.defvjp(sum_taps_forward, sum_taps_backward)
