"""Dense convolution for CPU, whose kernel gradient is a loop of matrix products.

XLA writes that gradient as a convolution with a kernel of the image's size, which its libraries for
CPU run several times slower than the same multiply-adds in the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.models.layers.dense import Padding, convolve_dense, convolve_lax

Array = jax.Array
Factors = tuple[list[Array], list[Array]]

# Positions that one matrix product of the loop sums over, at least.
POSITIONS = 1024


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve_cpu(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int) -> Array:
    """Computes `convolve_dense` with the gradients `input_gradient` and `kernel_gradient`."""
    return convolve_dense(x, kernel, stride, padding, dilation)


def convolve_forward(x: Array, kernel: Array, stride: int, padding: Padding, dilation: int):
    return convolve_dense(x, kernel, stride, padding, dilation), (x, kernel)


def convolve_backward(stride: int, padding: Padding, dilation: int, saved, g: Array):
    x, kernel = saved
    dx = input_gradient(x, kernel, g, stride, padding, dilation)
    return dx, kernel_gradient(x, g, kernel.shape[0], stride, padding, dilation)


convolve_cpu.defvjp(convolve_forward, convolve_backward)


def input_gradient(
    x: Array, kernel: Array, g: Array, stride: int, padding: Padding, dilation: int
) -> Array:
    """Computes the gradient of the images of `convolve_lax`.

    Args:
        x: images [B, H, W, C], of which only the shape and the dtype matter.
        kernel: weights [k, k, C, D].
        g: cotangent of the result [B, h, w, D].
        stride: as in `convolve_lax`.
        padding: as in `convolve_lax`.
        dilation: as in `convolve_lax`.

    Returns:
        [B, H, W, C].
    """
    if stride == 1 and g.size // g.shape[-1] < g.shape[-1]:
        # XLA would first transpose the kernel, which is then larger than the products of all taps.
        return sum_shifted_products(x.shape, kernel, g, padding, dilation)
    convolve = partial(
        convolve_lax, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    (dx,) = jax.linear_transpose(convolve, x)(g)
    return dx


def sum_shifted_products(
    shape: tuple[int, ...], kernel: Array, g: Array, padding: Padding, dilation: int
) -> Array:
    """Multiplies the cotangent by all taps in one product, and sums where they were read.

    Args:
        shape: that of the images, [B, H, W, C].
        kernel: as in `input_gradient`.
        g: as in `input_gradient`, at stride 1.
        padding: as in `input_gradient`.
        dilation: as in `input_gradient`.

    Returns:
        [B, H, W, C].
    """
    _, rows, columns, channels = shape
    _, height, width, features = g.shape
    size = kernel.shape[0]
    wide = jnp.promote_types(g.dtype, jnp.float32)
    products = lax.dot_general(
        g.reshape(-1, features),
        kernel.reshape(-1, features),
        (((1,), (1,)), ((), ())),
        preferred_element_type=wide,
    ).reshape(*g.shape[:3], -1)
    reach = dilation * (size - 1)
    (top, _), (left, _) = padding
    products = pad(
        products, (reach - top, rows + top - height), (reach - left, columns + left - width)
    )
    total = None
    for tap in range(size**2):
        i, j = (reach - dilation * offset for offset in divmod(tap, size))
        first = tap * channels
        part = products[:, i : i + rows, j : j + columns, first : first + channels]
        total = part if total is None else total + part
    return total.astype(g.dtype)


def kernel_gradient(
    x: Array, g: Array, size: int, stride: int, padding: Padding, dilation: int
) -> Array:
    """Computes the gradient of the kernel of `convolve_lax`, a few rows at a time.

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
    reach = dilation * (size - 1)
    taps = range(0, reach + 1, dilation)
    if stride > 1:
        total = sum_under_taps(x, g, taps, stride, padding)
    elif x.shape[-1] > g.shape[-1]:
        total = sum_over_readers(x, g, taps, padding)
    else:
        total = sum_by_rows(x, g, taps, padding)
    return total.astype(g.dtype)


def sum_under_taps(x: Array, g: Array, taps: range, stride: int, padding: Padding) -> Array:
    """Multiplies the pixels under all taps with each row of the cotangent.

    Args:
        x: as in `kernel_gradient`.
        g: as in `kernel_gradient`.
        taps: their offsets along an axis.
        stride: as in `kernel_gradient`.
        padding: as in `kernel_gradient`.

    Returns:
        The gradient in at least float32.
    """
    batch, height, width, features = g.shape
    reach = taps[-1]
    blocks, count = split(height, batch * width)
    (top, _), columns = padding
    needed = (blocks * count - 1) * stride + reach + 1
    x = pad(x, (top, needed - top - x.shape[1]), columns)
    g = pad(g, (0, blocks * count - height), (0, 0))
    x, g = lax.optimization_barrier((x, g))  # padded once, not for each tap
    offsets = hide(taps)

    def factors(block: Array) -> Factors:
        first, size = block * count, (count, width)
        left = [window(x, first * stride + i, j, size, stride) for i in offsets for j in offsets]
        return left, [lax.dynamic_slice_in_dim(g, first, count, 1)]

    k, channels = len(taps), x.shape[-1]
    total = sum_products(blocks, factors, (k**2 * channels, features), g)
    return total.reshape(k, k, channels, features)


def sum_by_rows(x: Array, g: Array, taps: range, padding: Padding) -> Array:
    """Multiplies each row of x with all rows of the cotangent that read it, at stride 1.

    One product gives all taps, from copies of the row for the taps along it only. Arguments and
    result are those of `sum_under_taps`.
    """
    batch, height, width, features = g.shape
    reach = taps[-1]
    blocks, count = split(height + reach, batch * width)
    (top, _), columns = padding
    x = pad(x, (top, blocks * count - top - x.shape[1]), columns)
    g = pad(g, (reach, blocks * count - height), (0, 0))
    x, g = lax.optimization_barrier((x, g))  # padded once, not for each tap
    offsets = hide(taps)

    def factors(block: Array) -> Factors:
        first, size = block * count, (count, width)
        left = [window(x, first, j, size) for j in offsets]
        # Under a later tap, an earlier row of the result read these pixels.
        return left, [window(g, first + i, 0, size) for i in reversed(offsets)]

    k, channels = len(taps), x.shape[-1]
    total = sum_products(blocks, factors, (k * channels, k * features), g)
    return total.reshape(k, channels, k, features).transpose(2, 0, 1, 3)


def sum_over_readers(x: Array, g: Array, taps: range, padding: Padding) -> Array:
    """Multiplies each pixel of x with the cotangents of all pixels that read it, at stride 1.

    Only the cotangent is copied, which pays off if it has fewer channels than x. Arguments and
    result are those of `sum_under_taps`.
    """
    batch, height, width, features = g.shape
    rows, columns, channels = x.shape[1:]
    reach = taps[-1]
    blocks, count = split(rows, batch * columns)
    (top, _), (left, _) = padding
    x = pad(x, (0, blocks * count - rows), (0, 0))
    g = pad(g, (reach - top, blocks * count + top - height), (reach - left, columns + left - width))
    x, g = lax.optimization_barrier((x, g))  # padded once, not for each tap
    offsets = hide(taps)

    def factors(block: Array) -> Factors:
        first, size = block * count, (count, columns)
        # Under a later tap, an earlier pixel of the result read these.
        right = [
            window(g, first + i, j, size) for i in reversed(offsets) for j in reversed(offsets)
        ]
        return [lax.dynamic_slice_in_dim(x, first, count, 1)], right

    k = len(taps)
    total = sum_products(blocks, factors, (channels, k**2 * features), g)
    return total.reshape(channels, k, k, features).transpose(1, 2, 0, 3)


def split(lines: int, width: int) -> tuple[int, int]:
    """Returns the number of blocks of `lines` rows of `width` positions, and the rows in each."""
    positions = lines * width
    blocks = min(-(-positions // POSITIONS), lines) if positions > 2 * POSITIONS else 1
    count = -(-lines // blocks)
    return -(-lines // count), count


def pad(x: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """Pads x [B, H, W, C] with zeros before and after its rows and its columns, or crops it."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def hide(offsets: Iterable[int]) -> list[Array]:
    """Returns offsets that XLA does not know, for which it compiles one loop instead of several."""
    return lax.optimization_barrier([jnp.asarray(offset) for offset in offsets])


def window(
    x: Array, row: Array | int, column: Array | int, size: tuple[int, int], stride: int = 1
) -> Array:
    """Returns pixels of x [B, H, W, C], beginning at (row, column) and `stride` apart.

    `size` is the number of rows and columns of the result.
    """
    spans = ((length - 1) * stride + 1 for length in size)
    start, shape = (0, row, column, 0), (x.shape[0], *spans, x.shape[3])
    return lax.dynamic_slice(x, start, shape, allow_negative_indices=False)[:, ::stride, ::stride]


def sum_products(
    blocks: int, factors: Callable[[Array], Factors], shape: tuple[int, int], g: Array
) -> Array:
    """Sums left^T right over the positions of all blocks.

    Args:
        blocks: their number.
        factors: maps the number of a block to the parts of left and right, [..., channels], which
            are concatenated.
        shape: that of the result.
        g: the cotangent, for its dtype and the devices over which it varies.

    Returns:
        The sum in at least float32.
    """
    wide = jnp.promote_types(g.dtype, jnp.float32)

    def add_block(block: Array, total: Array) -> Array:
        left, right = (jnp.concatenate(parts, axis=-1) for parts in factors(block))
        left, right = (part.reshape(-1, part.shape[-1]) for part in (left, right))
        return total + jnp.matmul(left.T, right, preferred_element_type=wide)

    # Adding 0 * g marks the sum as varying over devices under shard_map, as g does.
    total = jnp.zeros(shape, wide) + 0 * g[0, 0, 0, 0].astype(wide)
    return lax.fori_loop(0, blocks, add_block, total)
