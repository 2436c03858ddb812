"""Resizing by a matrix for each axis: sparse on the host, in the fastest form in a program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import gcd

import jax
import jax.numpy as jnp
import numpy as np
import scipy

Array = jax.Array

# On CPU a compiled program sums this many weighted samples of large images several times faster
# than it multiplies by dense matrices. What networks resize inside is smaller.
MOST_TAPS, LARGE_MATRIX = 8, 2**16
# It reduces columns several times faster by blocks of at most so many samples, where the matrix
# repeats one: 1920 columns to 896 by 128 blocks [7, 15].
LARGE_BLOCK = 256


def area_weights(old: int, new: int) -> scipy.sparse.csr_array:
    """Returns the matrix [new, old] of adaptive average pooling.

    Row i averages the samples floor(i r) .. ceil((i + 1) r) - 1, r = old / new.
    """
    index = np.arange(new)
    start, stop = index * old // new, -(-(index + 1) * old // new)
    count = stop - start
    rows = np.repeat(index, count)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)])
    values = np.repeat(1 / count, count).astype(np.float32)
    return scipy.sparse.csr_array((values, (rows, columns)), shape=(new, old))


def bilinear_weights(old: int, new: int) -> scipy.sparse.csr_array:
    """Returns the matrix [new, old] of bilinear resizing with half-pixel centres.

    Row i interpolates the two samples next to (i + 1/2) old / new - 1/2; edges are clamped.
    """
    position = (np.arange(new) + 0.5) * (old / new) - 0.5
    return linear_weights(np.clip(position, 0, old - 1), old)


def linear_weights(position: np.ndarray, old: int) -> scipy.sparse.csr_array:
    """Returns the matrix [new, old] that interpolates `old` samples at positions [new]."""
    new = len(position)
    before = np.minimum(position.astype(int), max(old - 2, 0))
    after = np.minimum(before + 1, old - 1)
    weight = (position - before).astype(np.float32)
    rows = np.tile(np.arange(new), 2)
    values, columns = np.concatenate([1 - weight, weight]), np.concatenate([before, after])
    return scipy.sparse.csr_array((values, (rows, columns)), shape=(new, old))


def aligned_weights(old: int, new: int) -> scipy.sparse.csr_array:
    """Returns the matrix [new, old] of bilinear resizing with aligned corners.

    Row i interpolates the two samples next to i (old - 1) / (new - 1).
    """
    return linear_weights(np.arange(new) * ((old - 1) / max(new - 1, 1)), old)


def smooth_weights(old: int, new: int) -> np.ndarray:
    """Returns the matrix [new, old] of blur and interpolation, applied to an identity matrix."""
    factor, weights = old / new, np.eye(old)
    if factor > 1:
        weights = scipy.ndimage.gaussian_filter1d(weights, (factor - 1) / 2, axis=0, mode="mirror")
    return scipy.ndimage.zoom(weights, (1 / factor, 1), order=1, mode="mirror", grid_mode=True)


def resize_by(
    weights: Callable[[int, int], scipy.sparse.csr_array | np.ndarray],
    x: Array,
    height: int,
    width: int,
) -> Array:
    """Resizes x [..., H, W, C] to [..., height, width, C] by a matrix for each axis.

    NumPy arrays are resized by sparse matrices, which are fastest on the host. In a compiled
    program the matrices are dense constants. On CPU weighted sums, or blocks of columns, replace
    large ones. An axis that keeps its size is not resized, and an image that does is returned
    itself.

    Args:
        weights: maps an old and a new size to the matrix [new, old].
        x: NumPy or JAX array.
        height: new height.
        width: new width.
    """
    sizes = {-3: height, -2: width}
    matrices = {
        axis: weights(x.shape[axis], new) for axis, new in sizes.items() if x.shape[axis] != new
    }
    if isinstance(x, np.ndarray) and matrices:
        return each_image(partial(resize_with, matrices.get(-3), matrices.get(-2)), x)
    for axis, matrix in matrices.items():
        x = multiply(x, matrix, axis)
    return x


def multiply(x: Array, weights: scipy.sparse.csr_array | np.ndarray, axis: int) -> Array:
    """Multiplies a JAX array along one axis by the matrix `weights` [new, old]."""
    axis %= x.ndim
    if scipy.sparse.issparse(weights):
        large = np.prod(weights.shape) >= LARGE_MATRIX and jax.default_backend() == "cpu"
        if large and axis == x.ndim - 2 and (block := repeated_block(weights)) is not None:
            return multiply_columns(x, block)
        if large and np.diff(weights.indptr).max() <= MOST_TAPS:
            return sum_taps(x, axis, *sparse_taps(weights))
        weights = weights.toarray()
    weights = jnp.asarray(weights, x.dtype)
    return jnp.moveaxis(jnp.tensordot(weights, x, (1, axis), precision="highest"), 0, axis)


def repeated_block(weights: scipy.sparse.csr_array) -> np.ndarray | None:
    """Returns the block [n, m] that a reducing matrix repeats along its diagonal, if there is one.

    None if m is above LARGE_BLOCK.
    """
    count = gcd(*weights.shape)
    new, old = (side // count for side in weights.shape)
    if not new < old <= LARGE_BLOCK:
        return None
    block = weights[:new, :old].toarray()
    repeated = scipy.sparse.kron(scipy.sparse.eye_array(count), block)
    return block if abs(weights - repeated).max() == 0 else None


def multiply_columns(x: Array, block: np.ndarray) -> Array:
    """Multiplies the columns of x [..., W, C], m at a time, by a block [n, m]."""
    (*rest, width, channels), (new, old) = x.shape, block.shape
    x = x.reshape(*rest, width // old, old * channels)
    pixels = jnp.asarray(np.kron(block, np.eye(channels)).T, x.dtype)
    columns = jnp.tensordot(x, pixels, 1, precision="highest")
    return columns.reshape(*rest, width // old * new, channels)


def sparse_taps(weights: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Returns indices and weights [taps, new] of a matrix [new, old], for `sum_taps`."""
    counts = np.diff(weights.indptr)
    # Rows with fewer taps read their first sample again, with the weight 0.
    number = np.arange(counts.max())[:, None]
    used = number < counts
    places = weights.indptr[:-1] + np.where(used, number, 0)
    return weights.indices[places].astype(np.int32), np.where(used, weights.data[places], 0)


def sum_taps(x: Array, axis: int, indices: np.ndarray, weights: np.ndarray) -> Array:
    """Sums weighted samples of x along an axis: sample i of the result has the taps [i] of each.

    indices, weights: [taps, size of the result]. Gathers, because XLA compiles them several times
    faster than slices and concatenations of x, and no slower code.
    """
    sizes = tuple(1 if a == axis else size for a, size in enumerate(x.shape))
    dimensions = jax.lax.GatherDimensionNumbers(
        offset_dims=tuple(a for a in range(x.ndim) if a != axis),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
    )
    total = None
    for index, weight in zip(indices, weights, strict=True):
        mode = jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
        tap = jax.lax.gather(x, index[:, None], dimensions, sizes, mode=mode)
        tap = tap * weight.astype(x.dtype).reshape(-1, *[1] * (x.ndim - axis - 1))
        total = tap if total is None else total + tap
    return total


def each_image(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Applies `function` to each image [H, W, C] of x [..., H, W, C]."""
    if x.ndim == 3:
        return function(x)
    images = np.stack([function(image) for image in x.reshape(-1, *x.shape[-3:])])
    return images.reshape(*x.shape[:-3], *images.shape[1:])


def resize_with(
    down: scipy.sparse.csr_array | np.ndarray | None,
    across: scipy.sparse.csr_array | np.ndarray | None,
    image: np.ndarray,
) -> np.ndarray:
    """Resizes `image` [H, W, C] to [h, w, C] by the matrices down [h, H] and across [w, W].

    Without one of them that axis keeps its size.
    """
    if down is not None:
        rows = down @ image.reshape(image.shape[0], -1)
        image = rows.reshape(-1, *image.shape[1:])
    if across is None:
        return image
    swapped = swap_sides(image)
    columns = across @ swapped.reshape(swapped.shape[0], -1)
    return swap_sides(columns.reshape(-1, *swapped.shape[1:]))


def swap_sides(image: np.ndarray) -> np.ndarray:
    """Returns a contiguous copy of `image` [H, W, C] with its sides swapped, [W, H, C]."""
    height, width, channels = image.shape
    # A pixel as one element is copied twice as fast as its channels one by one.
    pixel = np.dtype((np.void, channels * image.itemsize))
    pixels = np.ascontiguousarray(image).view(pixel)[..., 0].T.copy()
    return pixels.view(image.dtype).reshape(width, height, channels)
