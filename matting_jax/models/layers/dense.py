"""Dense convolution in the form that XLA for CPU computes fastest.

XLA has two libraries for it, YNNPACK and Eigen. YNNPACK is several times slower without padding,
and up to four times as slow for some numbers of channels. Eigen is faster for a few hundred
features; it convolves where a result is longer than the image. All forms multiply the same numbers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Padding = tuple[tuple[int, int], tuple[int, int]]

DIMENSIONS = ("NHWC", "HWIO", "NHWC")

# Numbers of features for which Eigen is faster than YNNPACK.
EIGEN = range(128, 641)


def convolve_lax(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int) -> Array:
    """Convolves x [B, H, W, C] with kernel [k, k, C, D] by one operation of XLA.

    Args:
        x: images.
        kernel: weights.
        stride: distance between the positions of the result.
        padding: zeros before and after the rows, and before and after the columns.
        dilation: distance between taps.
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=DIMENSIONS,
    )


def convolve_dense(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int) -> Array:
    """Computes `convolve_lax` on CPU, with more channels, rows or columns if that is faster."""
    if x.dtype != jnp.float32:  # which neither library computes
        return convolve_lax(x, kernel, stride, padding, dilation)
    size, features = kernel.shape[0], kernel.shape[3]
    (top, bottom), (left, right) = padding
    keeps_height = stride == 1 and top + bottom >= dilation * (size - 1)
    if keeps_height and features in EIGEN:
        y = convolve_lax(x, kernel, stride, ((top, bottom + 1), (left, right)), dilation)
        return y[:, :-1]
    x, kernel = append_channels(x, kernel)
    if not any((top, bottom, left, right)):
        y = convolve_lax(x, kernel, stride, ((0, 0), (0, stride)), dilation)
        return y[:, :, :-1]
    return convolve_lax(x, kernel, stride, padding, dilation)


def append_channels(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Appends channels of zeros to x and to the kernel if YNNPACK is then faster."""
    channels, features = kernel.shape[2:]
    missing = fast_channels(channels, features) - channels
    if not missing:
        return x, kernel
    # XLA writes concatenated zeros together with x; padding it would be a second, slow pass.
    zeros = jnp.zeros((*x.shape[:3], missing), x.dtype)
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return jnp.concatenate([x, zeros], axis=-1), kernel


def fast_channels(channels: int, features: int) -> int:
    """Returns the least number from `channels` on that is multiplied fast.

    YNNPACK takes four channels at a time, two for 17 to 32 features, and any number for multiples
    of 64 features.
    """
    if max(channels, features) <= 16:
        # XLA gives these to Eigen, which is faster only for a few channels.
        return channels if channels < 8 else 20
    if features % 64 == 0:
        return channels
    return channels + -channels % (2 if 16 < features <= 32 else 4)
