"""Dense convolution for CPU, whose kernel gradient is a loop of matrix products.

XLA writes this gradient as a convolution with a kernel of the image's size, which its libraries for
CPU run several times slower than the same multiply-adds in the forward pass.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Padding = tuple[tuple[int, int], tuple[int, int]]

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# Positions that one matrix product of the loop sums over, at least.
POSITIONS = 1024


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


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve_cpu(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int) -> Array:
    """Computes `convolve_lax`; the kernel's gradient is `kernel_gradient`."""
    return convolve_lax(x, kernel, stride, padding, dilation)


def convolve_forward(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int):
    return convolve_lax(x, kernel, stride, padding, dilation), (x, kernel)


def convolve_backward(stride: int, padding: Padding, dilation: int, saved, g: Array):
    x, kernel = saved
    transposed = jax.linear_transpose(
        lambda x: convolve_lax(x, kernel, stride, padding, dilation), x
    )
    (dx,) = transposed(g)
    return dx, kernel_gradient(x, g, kernel.shape[0], stride, padding, dilation)


convolve_cpu.defvjp(convolve_forward, convolve_backward)


def kernel_gradient(
    x: Array, g: Array, size: int, stride: int, padding: Padding, dilation: int
) -> Array:
    """Computes the gradient of the kernel of `convolve_lax`, a few rows at a time.

    At stride 1 each row of x is multiplied with all rows of the cotangent that read it: one product
    gives all taps, from copies of the row for the taps along it only. At other strides one product
    multiplies the pixels under all taps with a row of the cotangent.

    Args:
        x: images [B, H, W, C].
        g: cotangent of the result [B, h, w, D].
        size: side k of the kernel.
        stride: as in `convolve_lax`.
        padding: as in `convolve_lax`.
        dilation: as in `convolve_lax`.

    Returns:
        [k, k, C, D].
    """
    batch, height, width, features = g.shape
    channels = x.shape[-1]
    reach = dilation * (size - 1)
    taps = range(0, reach + 1, dilation)
    span = (width - 1) * stride + 1
    wide = jnp.promote_types(x.dtype, jnp.float32)

    by_rows = stride == 1  # of x, otherwise of the cotangent
    lines = height + reach if by_rows else height
    blocks = -(-lines * batch * width // POSITIONS) if lines * batch * width > 2 * POSITIONS else 1
    blocks = min(blocks, lines)
    count = -(-lines // blocks)
    blocks = -(-lines // count)
    # Rows that x and the cotangent need for all blocks, beyond those that they have.
    needed = blocks * count if by_rows else (blocks * count - 1) * stride + reach + 1
    (top, _), columns = padding
    x = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        ((0, 0, 0), (top, needed - top - x.shape[1], 0), (*columns, 0), (0, 0, 0)),
    )
    above = reach if by_rows else 0
    g = jnp.pad(g, ((0, 0), (above, blocks * count - height), (0, 0), (0, 0)))

    def add_block(block: Array, total: Array) -> Array:
        first = block * count
        if by_rows:
            rows = lax.dynamic_slice_in_dim(x, first, count, 1)
            seen = lax.dynamic_slice_in_dim(g, first, count + reach, 1)
            left = [rows[:, :, j : j + span] for j in taps]
            right = [seen[:, reach - i : reach - i + count] for i in taps]
        else:
            rows = lax.dynamic_slice_in_dim(x, first * stride, (count - 1) * stride + reach + 1, 1)
            end = (count - 1) * stride + 1
            left = [
                rows[:, i : i + end : stride, j : j + span : stride] for i in taps for j in taps
            ]
            right = [lax.dynamic_slice_in_dim(g, first, count, 1)]
        left, right = (jnp.concatenate(parts, axis=-1) for parts in (left, right))
        left, right = (part.reshape(-1, part.shape[-1]) for part in (left, right))
        return total + jnp.matmul(left.T, right, preferred_element_type=wide)

    shape = (size, channels, size, features) if by_rows else (size, size, channels, features)
    matrix = (size * channels, size * features) if by_rows else (size**2 * channels, features)
    # Adding 0 * g marks the sum as varying over devices under shard_map, as g does.
    total = jnp.zeros(matrix, wide) + 0 * g[0, 0, 0, 0].astype(wide)
    total = lax.fori_loop(0, blocks, add_block, total).reshape(shape)
    return (total.transpose(2, 0, 1, 3) if by_rows else total).astype(g.dtype)
