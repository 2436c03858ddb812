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
    """Computes `convolve_lax` on CPU, with zeros for channels and more results if faster."""
    if x.dtype != jnp.float32:  # which neither library computes
        return convolve_lax(x, kernel, stride, padding, dilation)
    size, features = kernel.shape[0], kernel.shape[3]
    (top, bottom), (left, right) = padding
    keeps_height = stride == 1 and top + bottom >= dilation * (size - 1)
    if keeps_height and features in EIGEN:
        y = convolve_lax(x, kernel, stride, ((top, bottom + 1), (left, right)), dilation)
        return y[:, :-1]
    x, kernel = append_zeros(x, kernel)
    if not any((top, bottom, left, right)):
        y = convolve_lax(x, kernel, stride, ((0, 0), (0, stride)), dilation)
        return y[:, :, :-1, :features]
    return convolve_lax(x, kernel, stride, padding, dilation)[..., :features]


def append_zeros(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Appends zeros to the channels of both and to the features if YNNPACK is then faster."""
    channels, features = kernel.shape[2:]
    # XLA gives at most 16 channels and features to Eigen.
    more_features = 20 - features if max(channels, features) <= 16 else 0
    more_channels = -channels % channels_at_a_time(features + more_features)
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, more_channels), (0, more_features)))
    if more_channels:
        # XLA writes concatenated zeros together with x; padding it would be a second, slow pass.
        zeros = jnp.zeros((*x.shape[:3], more_channels), x.dtype)
        x = jnp.concatenate([x, zeros], axis=-1)
    return x, kernel


def channels_at_a_time(features: int) -> int:
    """Returns how many channels YNNPACK multiplies together; it is slow if some are left over."""
    if features % 64 == 0:
        return 1
    return 2 if 16 < features <= 32 else 4
