"""Blurs, box means, gradients, and the edge filters of losses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

# SciPy's gaussian_filter of an impulse on a 3x3 grid, sigma 0.8: its seven taps folded by
# reflection. OpenCV's three taps differ.
BLUR = (0.25022103, 0.49955794, 0.25022103)

# OpenCV's Gaussians of 3, 5, 7 and 9 taps for sigma 0, from the centre outwards.
GAUSSIANS = (
    np.array(
        [
            [128, 64, 0, 0, 0],
            [96, 64, 16, 0, 0],
            [72, 56, 28, 8, 0],
            [60, 51, 30, 13, 4],
        ],
        np.float32,
    )
    / 256
)

# Sobel filters along y and along x.
SOBEL = np.array([[[-1, -2, -1], [0, 0, 0], [1, 2, 1]], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]])


def gabor_filters(size: int = 5, directions: int = 16) -> np.ndarray:
    """Returns Gabor filters of all directions, [directions, size, size].

    OpenCV's `getGaborKernel` with sigma 0.5, wavelength 5, aspect ratio 0.5 and phase pi / 2, as
    GCA's loss uses them (Yaoyi-Li/GCA-Matting, trainer.py).
    """
    offset = np.arange(size // 2, -size // 2, -1)
    angle = 2 * np.pi * np.arange(directions)[:, None, None] / directions
    y, x = offset[:, None], offset[None]
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    envelope = np.exp(-(across**2 + (0.5 * along) ** 2) / (2 * 0.5**2))
    return envelope * np.cos(2 * np.pi * across / 5 + np.pi / 2)


def correlate(x: Array, filters: np.ndarray) -> Array:
    """Correlates x [B, H, W, 1], zero-padded, with filters [N, k, k]: [B, H, W, N]."""
    reach = filters.shape[1] // 2
    kernel = jnp.asarray(filters.transpose(1, 2, 0)[:, :, None], x.dtype)
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((reach, reach),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def sobel_magnitude(x: Array) -> Array:
    """Computes the magnitude of the Sobel gradient of x [B, H, W, 1], differentiable at 0."""
    squares = jnp.square(correlate(x, SOBEL))
    return jnp.sqrt(jnp.sum(squares, -1, keepdims=True) + 1e-8)


def blur3(x: Array) -> Array:
    """Blurs x [B, H, W, C] by MODNet's 3x3 Gaussian; edges are reflected without repeating.

    Source: ZHKKKe/MODNet, src/trainer.py, GaussianBlurLayer(1, 3).
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    side, centre, _ = BLUR
    x = side * (x[:, :-2] + x[:, 2:]) + centre * x[:, 1:-1]
    return side * (x[:, :, :-2] + x[:, :, 2:]) + centre * x[:, :, 1:-1]


def gaussian_blur(x: Array, size: Array | int) -> Array:
    """Blurs x [H, W, C] as OpenCV's `GaussianBlur` of size 3, 5, 7 or 9, sigma 0.

    Edges are reflected without repeating; `size` may be traced.
    """
    return filter_symmetric(x, jnp.asarray(GAUSSIANS, x.dtype)[jnp.asarray(size) // 2 - 1])


def gaussian_blur_sigma(x: Array, sigma: float, size: Array | int, largest: int) -> Array:
    """Blurs x as OpenCV's `GaussianBlur` of an explicit sigma.

    Edges are reflected without repeating; taps are not rounded to multiples of 1 / 256.

    Args:
        x: [H, W, C].
        sigma: standard deviation in pixels.
        size: odd number of taps; may be traced.
        largest: upper limit of `size`.
    """
    offset = jnp.arange(largest // 2 + 1, dtype=x.dtype)
    taps = jnp.where(offset <= size // 2, jnp.exp(-jnp.square(offset / sigma) / 2), 0)
    return filter_symmetric(x, taps / (2 * jnp.sum(taps) - taps[0]))


def filter_symmetric(x: Array, taps: Array) -> Array:
    """Filters x [H, W, C] along both sides by symmetric `taps`, given from the centre outwards.

    Edges are reflected without repeating.
    """
    reach = taps.size - 1
    for axis in (0, 1):
        sides = [(0, 0)] * x.ndim
        sides[axis] = (reach, reach)
        padded = jnp.pad(x, sides, mode="reflect")

        def at(offset, padded=padded, axis=axis, length=x.shape[axis]):
            return jax.lax.slice_in_dim(padded, reach + offset, reach + offset + length, axis=axis)

        x = taps[0] * x + sum(taps[i] * (at(-i) + at(i)) for i in range(1, reach + 1))
    return x


def gradient_length(x: Array, epsilon: float) -> Array:
    """Computes the gradient magnitude of x [B, H, W, C] by Sobel filters / 8; edges are repeated.

    `epsilon` is added to its square, so that it is differentiable everywhere.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across, along = x[:, :, 2:] - x[:, :, :-2], x[:, 2:] - x[:, :-2]
    horizontal = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 8
    vertical = (along[:, :, :-2] + 2 * along[:, :, 1:-1] + along[:, :, 2:]) / 8
    return jnp.sqrt(jnp.square(horizontal) + jnp.square(vertical) + epsilon)


def sharpen(x: Array) -> Array:
    """Sharpens x [H, W, C] in [0, 1] as Pillow's `SHARPEN`, which keeps the outermost pixels."""
    inner = x[1:-1, 1:-1]
    rows = x[:-2] + x[1:-1] + x[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - inner
    return x.at[1:-1, 1:-1].set(jnp.clip(2 * inner - around / 8, 0, 1))


def box_blur(x: Array, size: Array | int, largest: int, mode: str) -> Array:
    """Computes the mean of x over size x size pixels.

    An even window reaches size / 2 - 1 back and size / 2 forward, as kornia's `box_blur`.

    Args:
        x: [H, W, C].
        size: integer array or int from 1 to `largest`; may be traced.
        largest: upper limit of `size`.
        mode: padding mode of `jnp.pad`.
    """
    reach = largest // 2
    offset = jnp.arange(-reach, reach + 1)
    size = jnp.asarray(size)
    inside = (offset >= -((size - 1) // 2)) & (offset <= size // 2)
    taps = inside.astype(x.dtype) / size
    for axis in (0, 1):
        sides = [(0, 0)] * x.ndim
        sides[axis] = (reach, reach)
        padded, length = jnp.pad(x, sides, mode=mode), x.shape[axis]
        shifted = [
            jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(2 * reach + 1)
        ]
        x = sum(tap * y for tap, y in zip(taps, shifted, strict=True))
    return x


def box_mean(x: Array, size: int) -> Array:
    """Computes the mean of x [B, H, W, C] over size x size pixels, as OpenCV's `blur`.

    Edges are reflected without repeating. An even window reaches size / 2 back and size / 2 - 1
    forward.
    """
    for axis in (1, 2):
        sides = [(0, 0)] * x.ndim
        sides[axis] = (size // 2, size - 1 - size // 2)
        x = sliding_sum(jnp.pad(x, sides, mode="reflect"), size, axis) / size
    return x


def sliding_sum(x: Array, size: int, axis: int) -> Array:
    """Sums each `size` neighbours of x along `axis`, which shrinks by size - 1.

    Adds sums of 1, 2, 4, ... neighbours. Differences of cumulative sums would be off by 1e-3 where
    few of the summed values are not 0.
    """
    length = x.shape[axis] - size + 1
    total, done = 0, 0
    sums, width = x, 1
    while True:
        if size & width:
            total += jax.lax.slice_in_dim(sums, done, done + length, axis=axis)
            done += width
        if done == size:
            return total
        pairs = sums.shape[axis] - width
        first = jax.lax.slice_in_dim(sums, 0, pairs, axis=axis)
        sums = first + jax.lax.slice_in_dim(sums, width, width + pairs, axis=axis)
        width *= 2
