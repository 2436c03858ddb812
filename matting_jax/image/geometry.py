"""Resizing, padding and cropping as in the reference codes.

Resizing inside of networks has half-pixel centres, no antialiasing and clamped edges. Photos are
resized by matrices, see `image.matrices`.
"""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from matting_jax.image.matrices import (
    aligned_weights,
    area_weights,
    bilinear_weights,
    each_image,
    multiply,
    resize_by,
    smooth_weights,
    sum_taps,
)

Array = jax.Array


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


def resize_area(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] float32 to [..., height, width, C] by area averages.

    PyTorch's `interpolate(mode="area")` and `AdaptiveAvgPool2d`: adaptive average pooling, which
    also enlarges.
    """
    return resize_by(area_weights, x, height, width)


def resize_bilinear(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] float32 bilinearly to [..., height, width, C].

    OpenCV's `INTER_LINEAR` and Paddle's `interpolate(mode="bilinear")`: half-pixel centres, no
    antialiasing.
    """
    return resize_by(bilinear_weights, x, height, width)


def resize_aligned(x: Array, height: int, width: int) -> Array:
    """Resizes x [..., H, W, C] float32 bilinearly to [..., height, width, C], corners aligned.

    PyTorch's `interpolate(mode="bilinear", align_corners=True)`.
    """
    return resize_by(aligned_weights, x, height, width)


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
        image = scipy.ndimage.gaussian_filter(image, sigma, mode="mirror")
    zoom = (*(1 / factors), 1)
    image = scipy.ndimage.zoom(image, zoom, order=1, mode="mirror", grid_mode=True)
    return np.clip(image, low, high)


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
