"""Blurs, Gaussians and means of any size, gradients, and the filters that losses see edges by."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

# scipy's gaussian_filter of an impulse on a 3x3 grid, sigma 0.8: its seven taps folded back by
# reflection. cv2's three taps differ.
BLUR = (0.25022103, 0.49955794, 0.25022103)

# OpenCV's Gaussians of 3, 5, 7 and 9 taps without a sigma of their own, from the middle outwards.
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

# Sobel's differences of rows and of columns.
SOBEL = np.array([[[-1, -2, -1], [0, 0, 0], [1, 2, 1]], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]])


def gabor_filters(size: int = 5, directions: int = 16) -> np.ndarray:
    """Gabor's edge detectors of all directions, [directions, size, size].

    OpenCV's `getGaborKernel` with sigma 0.5, wave length 5, aspect 0.5 and phase pi / 2, as GCA's
    loss uses them (Yaoyi-Li/GCA-Matting, trainer.py).
    """
    offset = np.arange(size // 2, -size // 2, -1)
    angle = 2 * np.pi * np.arange(directions)[:, None, None] / directions
    y, x = offset[:, None], offset[None]
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    envelope = np.exp(-(across**2 + (0.5 * along) ** 2) / (2 * 0.5**2))
    return envelope * np.cos(2 * np.pi * across / 5 + np.pi / 2)


def correlate(x: Array, filters: np.ndarray) -> Array:
    """x [B, H, W, 1] under each of the filters [N, k, k], zeros around it: [B, H, W, N]."""
    reach = filters.shape[1] // 2
    kernel = jnp.asarray(filters.transpose(1, 2, 0)[:, :, None], x.dtype)
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((reach, reach),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def sobel_magnitude(x: Array) -> Array:
    """The length of Sobel's gradient of x [B, H, W, 1], smooth at 0."""
    squares = jnp.square(correlate(x, SOBEL))
    return jnp.sqrt(jnp.sum(squares, -1, keepdims=True) + 1e-8)


def blur3(x: Array) -> Array:
    """x [B, H, W, C] blurred by MODNet's 3x3 Gaussian, edges reflected without repeating.

    Source: ZHKKKe/MODNet, src/trainer.py, GaussianBlurLayer(1, 3).
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    side, centre, _ = BLUR
    x = side * (x[:, :-2] + x[:, 2:]) + centre * x[:, 1:-1]
    return side * (x[:, :, :-2] + x[:, :, 2:]) + centre * x[:, :, 1:-1]


def gaussian_blur(x: Array, size: Array | int) -> Array:
    """x [H, W, C] blurred as by OpenCV's `GaussianBlur` of size 3, 5, 7 or 9, sigma 0.

    Edges are reflected without repeating; `size` may be known only when the program runs.
    """
    return symmetric_filter(x, jnp.asarray(GAUSSIANS, x.dtype)[jnp.asarray(size) // 2 - 1])


def gaussian_blur_of(x: Array, sigma: float, size: Array | int, largest: int) -> Array:
    """x [H, W, C] blurred as by OpenCV's `GaussianBlur` of an odd `size`, at most `largest`.

    As `gaussian_blur`, the taps not rounded to parts of 256.
    """
    offset = jnp.arange(largest // 2 + 1, dtype=x.dtype)
    taps = jnp.where(offset <= size // 2, jnp.exp(-jnp.square(offset / sigma) / 2), 0)
    return symmetric_filter(x, taps / (2 * jnp.sum(taps) - taps[0]))


def symmetric_filter(x: Array, taps: Array) -> Array:
    """x [H, W, C] filtered along both sides by `taps`, from the middle outwards.

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
    """The length of the gradient of x [B, H, W, C] by Sobel's filters over 8, edges repeated.

    `epsilon` is added to its square, so that it has a derivative everywhere.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across, along = x[:, :, 2:] - x[:, :, :-2], x[:, 2:] - x[:, :-2]
    horizontal = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 8
    vertical = (along[:, :, :-2] + 2 * along[:, :, 1:-1] + along[:, :, 2:]) / 8
    return jnp.sqrt(jnp.square(horizontal) + jnp.square(vertical) + epsilon)


def sharpen(x: Array) -> Array:
    """x [H, W, C] in [0, 1] by Pillow's `SHARPEN`, which leaves the outermost pixels."""
    inner = x[1:-1, 1:-1]
    rows = x[:-2] + x[1:-1] + x[2:]
    around = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - inner
    return x.at[1:-1, 1:-1].set(jnp.clip(2 * inner - around / 8, 0, 1))


def box_blur(x: Array, size: Array | int, largest: int, mode: str) -> Array:
    """Mean of x [H, W, C] over size x size places, edges padded by `mode` of `jnp.pad`.

    `size` is an integer array (or int) from 1 to `largest`. An even square reaches size / 2 - 1
    back and size / 2 forward, as kornia's `box_blur`.
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
    """Mean of x [B, H, W, C] over size x size places, edges reflected without repeating.

    As OpenCV's `blur`: an even square reaches size / 2 back and size / 2 - 1 forward.
    """
    for axis in (1, 2):
        sides = [(0, 0)] * x.ndim
        sides[axis] = (size // 2, size - 1 - size // 2)
        x = sliding_sum(jnp.pad(x, sides, mode="reflect"), size, axis) / size
    return x


def sliding_sum(x: Array, size: int, axis: int) -> Array:
    """The sums of each `size` neighbours of x along `axis`, which becomes shorter by size - 1.

    From sums of 1, 2, 4 and so on neighbours. Differences of running sums would be off by 1e-3
    where few of the summed values are not 0.
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
