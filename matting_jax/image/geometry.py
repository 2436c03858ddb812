"""Resizing as in the reference codes: half-pixel centres, no antialiasing, clamped edges."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import gcd

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage, sparse

Array = jax.Array

# On CPU a compiled program sums this many weighted samples of large images several times faster
# than it multiplies by dense matrices. What networks resize inside is smaller.
MOST_TAPS, LARGE_MATRIX = 8, 2**16
# It reduces columns several times faster by blocks of at most so many samples, where the matrix
# repeats one: 1920 columns to 896 by 128 blocks [7, 15].
LARGE_BLOCK = 256


def upsample(x: Array, factor: int = 2) -> Array:
    """Enlarges x [B, H, W, C] bilinearly to [B, factor * H, factor * W, C].

    Equal to PyTorch's `interpolate(mode="bilinear", align_corners=False)`.
    """
    return resize(x, factor * x.shape[1], factor * x.shape[2])


def downsample(x: Array, factor: int) -> Array:
    """Reduces x [B, H, W, C] bilinearly by an even factor, to means of the two middle samples.

    Only two rows and columns of each cell are read, as by PyTorch's
    `interpolate(scale_factor=1 / factor, mode="bilinear")`.
    """
    if factor % 2 or x.shape[1] % factor or x.shape[2] % factor:
        raise ValueError(
            f"cannot reduce {x.shape[1]}x{x.shape[2]} by {factor}: "
            "the factor must be even and divide both sides"
        )
    return resize(x, x.shape[1] // factor, x.shape[2] // factor)


def resize(x: Array, height: int, width: int) -> Array:
    """Resizes x [B, H, W, C] bilinearly to [B, height, width, C], inside of a network.

    PyTorch's `interpolate(size=(height, width), mode="bilinear")`. Sums of weighted neighbours are
    several times faster on CPU than `jax.image.resize`.
    """
    for axis, new in ((1, height), (2, width)):
        old = x.shape[axis]
        x = x if new == old else interpolate(x, axis, old, new)
    return x


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def interpolate(x: Array, axis: int, old: int, new: int) -> Array:
    """Resizes x bilinearly along one axis, from the size `old` to `new`."""
    if isinstance(new, int):
        return sum_taps(x, axis, *linear_taps(old, new))
    # A program for any size computes what is a constant otherwise.
    position = jnp.clip((jnp.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    before = jnp.floor(position).astype(jnp.int32)
    weight = position - before
    indices = jnp.stack([before, jnp.minimum(before + 1, old - 1)])
    return sum_taps(x, axis, indices, jnp.stack([1 - weight, weight]))


def interpolate_forward(x: Array, axis: int, old: int, new: int):
    return interpolate(x, axis, old, new), None


def interpolate_backward(axis: int, old: int, new: int, _, g: Array):
    # The automatic gradient would add to each sample in turn.
    return (sum_taps(g, axis, *transposed_taps(old, new)),)


interpolate.defvjp(interpolate_forward, interpolate_backward)


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


@cache
def linear_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns indices and weights [2, new] of bilinear resizing with half-pixel centres."""
    position = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    before = np.floor(position).astype(np.int32)
    weight = position - before
    indices = np.stack([before, np.minimum(before + 1, old - 1)])
    return indices, np.stack([1 - weight, weight])


@cache
def transposed_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the transpose of `linear_taps`: indices and weights [taps, old] of its gradient."""
    indices, weights = linear_taps(old, new)
    matrix = np.zeros((old, new))
    np.add.at(matrix, (indices, np.arange(new)), weights)
    taps = np.count_nonzero(matrix, axis=1).max()
    # The samples with a weight first; their order is kept.
    order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :taps].astype(np.int32)
    return order.T, np.take_along_axis(matrix, order, axis=1).T


def crop_middle(x: Array, height: int, width: int) -> Array:
    """Crops the middle [B, height, width, C] of x [B, H, W, C].

    Neighbours are averaged if it lies between pixels, as by kornia's `center_crop`.
    """
    for axis, new in ((1, height), (2, width)):
        first, between = divmod(x.shape[axis] - new, 2)
        low = jax.lax.slice_in_dim(x, first, first + new, axis=axis)
        if between:
            low = (low + jax.lax.slice_in_dim(x, first + 1, first + 1 + new, axis=axis)) / 2
        x = low
    return x


def enlarge_nearest(x: Array, factor: int) -> Array:
    """Repeats each pixel of x [B, H, W, C] `factor` times along both axes."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, factor, width, factor, channels))
    return x.reshape(batch, factor * height, factor * width, channels)


def area_weights(old: int, new: int) -> sparse.csr_array:
    """Returns the matrix [new, old] of adaptive average pooling.

    Row i averages the samples floor(i r) .. ceil((i + 1) r) - 1, r = old / new.
    """
    index = np.arange(new)
    start, stop = index * old // new, -(-(index + 1) * old // new)
    count = stop - start
    rows = np.repeat(index, count)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)])
    values = np.repeat(1 / count, count).astype(np.float32)
    return sparse.csr_array((values, (rows, columns)), shape=(new, old))


def resize_area(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] float32 to [..., height, width, C] by area averages.

    PyTorch's `interpolate(mode="area")` and `AdaptiveAvgPool2d`: adaptive average pooling, which
    also enlarges.
    """
    return resize_by(area_weights, x, height, width)


def bilinear_weights(old: int, new: int) -> sparse.csr_array:
    """Returns the matrix [new, old] of bilinear resizing with half-pixel centres.

    Row i interpolates the two samples next to (i + 1/2) old / new - 1/2; edges are clamped.
    """
    position = (np.arange(new) + 0.5) * (old / new) - 0.5
    return linear_weights(np.clip(position, 0, old - 1), old)


def linear_weights(position: np.ndarray, old: int) -> sparse.csr_array:
    """Returns the matrix [new, old] that interpolates `old` samples at positions [new]."""
    new = len(position)
    before = np.minimum(position.astype(int), max(old - 2, 0))
    after = np.minimum(before + 1, old - 1)
    weight = (position - before).astype(np.float32)
    rows = np.tile(np.arange(new), 2)
    values, columns = np.concatenate([1 - weight, weight]), np.concatenate([before, after])
    return sparse.csr_array((values, (rows, columns)), shape=(new, old))


def resize_bilinear(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] float32 bilinearly to [..., height, width, C].

    OpenCV's `INTER_LINEAR` and Paddle's `interpolate(mode="bilinear")`: half-pixel centres, no
    antialiasing.
    """
    return resize_by(bilinear_weights, x, height, width)


def aligned_weights(old: int, new: int) -> sparse.csr_array:
    """Returns the matrix [new, old] of bilinear resizing with aligned corners.

    Row i interpolates the two samples next to i (old - 1) / (new - 1).
    """
    return linear_weights(np.arange(new) * ((old - 1) / max(new - 1, 1)), old)


def resize_aligned(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] float32 bilinearly to [..., height, width, C], corners aligned.

    PyTorch's `interpolate(mode="bilinear", align_corners=True)`.
    """
    return resize_by(aligned_weights, x, height, width)


def resize_by(
    weights: Callable[[int, int], sparse.csr_array | np.ndarray], x: Array, height: int, width: int
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


def multiply(x: Array, weights: sparse.csr_array | np.ndarray, axis: int) -> Array:
    """Multiplies a JAX array along one axis by the matrix `weights` [new, old]."""
    axis %= x.ndim
    if sparse.issparse(weights):
        large = np.prod(weights.shape) >= LARGE_MATRIX and jax.default_backend() == "cpu"
        if large and axis == x.ndim - 2 and (block := repeated_block(weights)) is not None:
            return multiply_columns(x, block)
        if large and np.diff(weights.indptr).max() <= MOST_TAPS:
            return sum_taps(x, axis, *sparse_taps(weights))
        weights = weights.toarray()
    weights = jnp.asarray(weights, x.dtype)
    return jnp.moveaxis(jnp.tensordot(weights, x, (1, axis), precision="highest"), 0, axis)


def repeated_block(weights: sparse.csr_array) -> np.ndarray | None:
    """Returns the block [n, m] that a reducing matrix repeats along its diagonal, if there is one.

    None if m is above LARGE_BLOCK.
    """
    count = gcd(*weights.shape)
    new, old = (side // count for side in weights.shape)
    if not new < old <= LARGE_BLOCK:
        return None
    block = weights[:new, :old].toarray()
    repeated = sparse.kron(sparse.eye_array(count), block)
    return block if abs(weights - repeated).max() == 0 else None


def multiply_columns(x: Array, block: np.ndarray) -> Array:
    """Multiplies the columns of x [..., W, C], m at a time, by a block [n, m]."""
    (*rest, width, channels), (new, old) = x.shape, block.shape
    x = x.reshape(*rest, width // old, old * channels)
    pixels = jnp.asarray(np.kron(block, np.eye(channels)).T, x.dtype)
    columns = jnp.tensordot(x, pixels, 1, precision="highest")
    return columns.reshape(*rest, width // old * new, channels)


def sparse_taps(weights: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Returns indices and weights [taps, new] of a matrix [new, old], for `sum_taps`."""
    counts = np.diff(weights.indptr)
    # Rows with fewer taps read their first sample again, with the weight 0.
    number = np.arange(counts.max())[:, None]
    used = number < counts
    places = weights.indptr[:-1] + np.where(used, number, 0)
    return weights.indices[places].astype(np.int32), np.where(used, weights.data[places], 0)


def each_image(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Applies `function` to each image [H, W, C] of x [..., H, W, C]."""
    if x.ndim == 3:
        return function(x)
    images = np.stack([function(image) for image in x.reshape(-1, *x.shape[-3:])])
    return images.reshape(*x.shape[:-3], *images.shape[1:])


def resize_with(
    down: sparse.csr_array | np.ndarray | None,
    across: sparse.csr_array | np.ndarray | None,
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


def resize_smooth(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] to [..., height, width, C], blurred along each axis that shrinks.

    scikit-image's `resize` with its defaults: along an axis that shrinks f times a Gaussian of
    standard deviation (f - 1) / 2, then linear interpolation, edges mirrored, and clipping to the
    range of each image. On the host equal to the last bit, in float64; in JAX in the dtype of x.
    """
    if isinstance(x, np.ndarray):
        return each_image(partial(smooth_image, height=height, width=width), x)
    axes = (-3, -2, -1)
    low, high = jnp.min(x, axes, keepdims=True), jnp.max(x, axes, keepdims=True)
    for axis, size in ((-3, height), (-2, width)):
        x = multiply(x, smooth_weights(x.shape[axis], size), axis)
    return jnp.clip(x, low, high)


def smooth_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes one image [H, W, C] as `resize_smooth` does."""
    image = np.asarray(image, np.float64)
    factors = np.divide(image.shape[:2], (height, width))
    low, high = image.min(), image.max()
    if max(factors) > 1:
        sigma = (*np.maximum(0, (factors - 1) / 2), 0)
        image = ndimage.gaussian_filter(image, sigma, mode="mirror")
    zoom = (*(1 / factors), 1)
    image = ndimage.zoom(image, zoom, order=1, mode="mirror", grid_mode=True)
    return np.clip(image, low, high)


def smooth_weights(old: int, new: int) -> np.ndarray:
    """Returns the matrix [new, old] of blur and interpolation, applied to an identity matrix."""
    factor, weights = old / new, np.eye(old)
    if factor > 1:
        weights = ndimage.gaussian_filter1d(weights, (factor - 1) / 2, axis=0, mode="mirror")
    return ndimage.zoom(weights, (1 / factor, 1), order=1, mode="mirror", grid_mode=True)


def pad_to_multiple(x: Array, multiple: int) -> Array:
    """Pads x [..., H, W, C] at the bottom and on the right to sides that are multiples.

    Pixels are reflected without repeating the edge, several times if necessary.
    """
    xp = x.__array_namespace__()
    for axis in (-3, -2):
        side, padding = x.shape[axis], [(0, 0)] * x.ndim
        padding[axis] = (0, -side % multiple)
        # A single row or column has no reflection; it is repeated.
        x = xp.pad(x, padding, mode="reflect" if side > 1 else "edge")
    return x


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Returns the size of images of height x width after `pad_to_multiple`."""
    return height + -height % multiple, width + -width % multiple
