"""Dense convolution in the form that XLA for CPU computes fastest.

XLA has two libraries for it, YNNPACK and Eigen. YNNPACK is several times slower without padding,
and slower where the kernel is larger than the image. Eigen convolves where a result is longer than
the image. All forms multiply the same numbers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Padding = tuple[tuple[int, int], tuple[int, int]]

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


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
    """Computes `convolve_lax` on CPU, with one more row or column if that is faster."""
    if x.dtype != jnp.float32:  # which neither library computes
        return convolve_lax(x, kernel, stride, padding, dilation)
    size, features = kernel.shape[0], kernel.shape[3]
    (top, bottom), (left, right) = padding
    if not any((top, bottom, left, right)):
        y = convolve_lax(x, kernel, stride, ((0, 0), (0, stride)), dilation)
        return y[:, :, :-1]
    keeps_height = stride == 1 and top + bottom >= dilation * (size - 1)
    if keeps_height and size**2 * features >= x.shape[1] * x.shape[2]:
        y = convolve_lax(x, kernel, stride, ((top, bottom + 1), (left, right)), dilation)
        return y[:, :-1]
    return convolve_lax(x, kernel, stride, padding, dilation)
