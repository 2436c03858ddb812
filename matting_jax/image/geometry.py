"""Resizing, exactly as the references do it: half-pixel centres, no antialiasing, edges clamped."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage, sparse

Array = jax.Array


def upsample(x: Array, factor: int = 2) -> Array:
    """Bilinear enlargement of x [B, H, W, C] to [B, factor * H, factor * W, C].

    Equal to PyTorch's `interpolate(mode="bilinear", align_corners=False)`, as weighted sums of
    neighbours: several times faster on CPU than `jax.image.resize`.
    """
    for axis in (1, 2):
        x = enlarge(x, factor, axis)
    return x


def enlarge(x: Array, factor: int, axis: int) -> Array:
    """`upsample` along one axis."""
    size = x.shape[axis]
    first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(x, size - 1, size, axis=axis)
    before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5
        neighbour = before if offset < 0 else after
        phases.append((1 - abs(offset)) * x + abs(offset) * neighbour)
    shape = (*x.shape[:axis], factor * size, *x.shape[axis + 1 :])
    return jnp.stack(phases, axis + 1).reshape(shape)


def downsample(x: Array, factor: int) -> Array:
    """Bilinear reduction of x [B, H, W, C] by an even factor: the mean of the two middle samples.

    It reads two rows and columns of each cell and averages nothing else, as PyTorch's
    `interpolate(scale_factor=1 / factor, mode="bilinear")` does.
    """
    if factor % 2 or x.shape[1] % factor or x.shape[2] % factor:
        raise ValueError(
            f"cannot reduce {x.shape[1]}x{x.shape[2]} by {factor}: "
            "the factor must be even and divide both sides"
        )
    for axis in (1, 2):
        x = reduce(x, factor, axis)
    return x


def reduce(x: Array, factor: int, axis: int) -> Array:
    """`downsample` along one axis."""
    middle, size = factor // 2, x.shape[axis]
    before = jax.lax.slice_in_dim(x, middle - 1, size, factor, axis)
    return (before + jax.lax.slice_in_dim(x, middle, size, factor, axis)) / 2


def resize(x: Array, height: int, width: int) -> Array:
    """Bilinear resize of x [B, H, W, C] to [B, height, width, C], larger or smaller.

    PyTorch's `interpolate(size=(height, width), mode="bilinear")`; sizes that divide each other
    cost least.
    """
    for axis, new in ((1, height), (2, width)):
        old = x.shape[axis]
        if new % old == 0:
            x = x if new == old else enlarge(x, new // old, axis)
        elif old % (2 * new) == 0:
            x = reduce(x, old // new, axis)
        else:
            place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
            before = np.floor(place).astype(int)
            after = np.minimum(before + 1, old - 1)
            weight = np.expand_dims(place - before, tuple(range(1, x.ndim - axis)))
            low, high = jnp.take(x, before, axis), jnp.take(x, after, axis)
            x = low + (high - low) * jnp.asarray(weight, x.dtype)
    return x


def crop_middle(x: Array, height: int, width: int) -> Array:
    """The middle of x [B, H, W, C], [B, height, width, C]; neighbours are averaged where it lies
    between pixels. kornia's `center_crop`."""
    for axis, new in ((1, height), (2, width)):
        first, between = divmod(x.shape[axis] - new, 2)
        low = jax.lax.slice_in_dim(x, first, first + new, axis=axis)
        if between:
            low = (low + jax.lax.slice_in_dim(x, first + 1, first + 1 + new, axis=axis)) / 2
        x = low
    return x


def enlarge_nearest(x: Array, factor: int) -> Array:
    """x [B, H, W, C] with each pixel `factor` times in both directions."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, factor, width, factor, channels))
    return x.reshape(batch, factor * height, factor * width, channels)


def area_weights(old: int, new: int) -> sparse.csr_array:
    """[new, old] matrix whose row i averages the samples floor(i r) .. ceil((i + 1) r) - 1,
    r = old / new: adaptive average pooling."""
    index = np.arange(new)
    start, stop = index * old // new, -(-(index + 1) * old // new)
    count = stop - start
    rows = np.repeat(index, count)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)])
    values = np.repeat(1 / count, count).astype(np.float32)
    return sparse.csr_array((values, (rows, columns)), shape=(new, old))


def resize_area(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` [H, W, C] float32 to [height, width, C] on the host, by area averages.

    PyTorch's `interpolate(mode="area")`: adaptive average pooling, also where it enlarges.
    """
    return resize_by(area_weights, image, height, width)


def bilinear_weights(old: int, new: int) -> sparse.csr_array:
    """[new, old] matrix whose row i lies between the two samples next to (i + 1/2) old / new - 1/2,
    beyond the first and the last at these."""
    place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    before = np.minimum(place.astype(int), max(old - 2, 0))
    after = np.minimum(before + 1, old - 1)
    weight = (place - before).astype(np.float32)
    rows = np.tile(np.arange(new), 2)
    values, columns = np.concatenate([1 - weight, weight]), np.concatenate([before, after])
    return sparse.csr_array((values, (rows, columns)), shape=(new, old))


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` [H, W, C] float32 to [height, width, C] on the host, between neighbouring pixels.

    OpenCV's `INTER_LINEAR` and Paddle's `interpolate(mode="bilinear")`: half-pixel centres, and no
    antialiasing where it reduces.
    """
    return resize_by(bilinear_weights, image, height, width)


def resize_smooth(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` [H, W] or [H, W, C] to [height, width] or [height, width, C] on the host, blurred
    before it is reduced: float64, from uint8 in [0, 1].

    scikit-image's `resize` as it is by default, to the last bit: along an axis that shrinks f times
    a Gaussian of deviation (f - 1) / 2, then linear interpolation, edges mirrored.
    """
    scale = 255 if image.dtype == np.uint8 else 1
    image = np.asarray(image, np.float64) / scale
    factors = np.divide(image.shape[:2], (height, width))
    channels = (1,) * (image.ndim - 2)
    low, high = image.min(), image.max()
    if max(factors) > 1:
        sigma = (*np.maximum(0, (factors - 1) / 2), *(0 for _ in channels))
        image = ndimage.gaussian_filter(image, sigma, mode="mirror")
    zoom = (*(1 / factors), *channels)
    image = ndimage.zoom(image, zoom, order=1, mode="mirror", grid_mode=True)
    return np.clip(image, low, high)


def enlarge_aligned(x: Array, height: int, width: int) -> Array:
    """Bilinear enlargement of x [B, h, w, C] to [B, height, width, C], corners upon corners.

    PyTorch's `interpolate(mode="bilinear", align_corners=True)`, by products with small matrices.
    """
    for axis, size in ((1, height), (2, width)):
        weights = jnp.asarray(aligned_weights(x.shape[axis], size), x.dtype)
        x = jnp.moveaxis(jnp.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def resize_aligned(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` [H, W, C] float32 to [height, width, C] on the host, corners upon corners.

    PyTorch's `interpolate(mode="bilinear", align_corners=True)`.
    """
    return resize_by(aligned_weights, image, height, width)


def aligned_weights(old: int, new: int) -> np.ndarray:
    """[new, old] matrix whose row i lies between the samples next to i (old - 1) / (new - 1)."""
    place = np.arange(new)[:, None] * ((old - 1) / max(new - 1, 1))
    return np.maximum(1 - np.abs(place - np.arange(old)), 0).astype(np.float32)


def pool_area(x: Array, size: int) -> Array:
    """Means of x [B, H, W, C] over size x size overlapping parts: [B, size, size, C].

    PyTorch's `AdaptiveAvgPool2d`; parts may be smaller than a pixel, then some are equal.
    """
    for axis in (1, 2):
        weights = jnp.asarray(area_weights(x.shape[axis], size).toarray(), x.dtype)
        x = jnp.moveaxis(jnp.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def resize_by(
    weights: Callable[[int, int], sparse.csr_array | np.ndarray],
    image: np.ndarray,
    height: int,
    width: int,
) -> np.ndarray:
    """`image` [H, W, C] to [height, width, C], rows and columns apart by matrices of `weights`."""
    return resize_with(weights(image.shape[0], height), weights(image.shape[1], width), image)


def resize_with(
    down: sparse.csr_array | np.ndarray, across: sparse.csr_array | np.ndarray, image: np.ndarray
) -> np.ndarray:
    """`image` [H, W, C] to [h, w, C] by the matrices down [h, H] and across [w, W]."""
    rows = down @ image.reshape(image.shape[0], -1)
    rows = rows.reshape(-1, *image.shape[1:]).swapaxes(0, 1)
    columns = across @ rows.reshape(image.shape[1], -1)
    columns = columns.reshape(across.shape[0], down.shape[0], -1)
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def pad_to_multiple(image: np.ndarray, multiple: int) -> np.ndarray:
    """`image` [H, W, C] with both sides padded to multiples, on the host, below and on the right.

    The image is reflected, its edge not repeated, as often as it takes.
    """
    missing = [-side % multiple for side in image.shape[:2]]
    # NumPy reflects no single row or column; it can only be repeated.
    for axis, pixels in enumerate(missing):
        sides = [(0, 0)] * image.ndim
        sides[axis] = (0, pixels)
        image = np.pad(image, sides, mode="reflect" if image.shape[axis] > 1 else "edge")
    return image
