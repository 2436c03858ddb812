"""Blurs, Gaussians and means of any size, gradients, and Pillow's sharpening."""
from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

# scipy's gaussian_filter of an impulse on a 3x3 grid, sigma 0.8: its seven taps folded back by
# reflection. cv2's three taps differ.
BLUR = (0.25022103, 0.49955794, 0.25022103)

# OpenCV's Gaussians of 3, 5, 7 and 9 taps without a sigma of their own, from the middle outwards.
GAUSSIANS = np.array(
    [
        [128, 64, 0, 0, 0],
        [96, 64, 16, 0, 0],
        [72, 56, 28, 8, 0],
        [60, 51, 30, 13, 4],
    ],
    np.float32,
) / 256


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
    taps = jnp.asarray(GAUSSIANS, x.dtype)[jnp.asarray(size) // 2 - 1]
    reach = GAUSSIANS.shape[1] - 1
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
