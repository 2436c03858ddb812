"""Dilation and erosion: of grey values by squares of any size, of sets by one shape many times.

How large the squares are, and how many times, is known only when the program runs.
"""
from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array


def dilate(x: Array, size: Array | int, largest: int) -> Array:
    """Largest value of x [H, W, C] under a size x size square; what lies outside never wins.

    `size` is an integer array (or int) from 1 to `largest`. An even square reaches size / 2 - 1
    back and size / 2 forward, as in SciPy's `grey_dilation`.
    """
    for axis in (0, 1):
        x = running_maximum(x, size, size - 1 - size // 2, largest, axis)
    return x


def erode(x: Array, size: Array | int, largest: int) -> Array:
    """Smallest value of x [H, W, C] under a size x size square; what lies outside never wins.

    As `dilate`; an even square reaches size / 2 back and size / 2 - 1 forward, as in SciPy's
    `grey_erosion`.
    """
    for axis in (0, 1):
        x = -running_maximum(-x, size, size // 2, largest, axis)
    return x


def running_maximum(
    x: Array, size: Array | int, back: Array | int, largest: int, axis: int
) -> Array:
    """Maximum of x [H, W, C] over `size` places along `axis`, the first `back` places before.

    By doubling: a window is the union of two windows of the largest power of two within it.
    """
    size, back = jnp.asarray(size, jnp.int32), jnp.asarray(back, jnp.int32)
    length = x.shape[axis]
    sides = [(0, 0)] * x.ndim
    sides[axis] = (largest, 2 * largest)
    window = jnp.pad(x, sides, constant_values=-jnp.inf)
    windows = [window]
    while 2 ** len(windows) <= largest:
        reach = 2 ** (len(windows) - 1)
        # The window's end runs past the padding; those places are never read.
        window = jnp.maximum(window, jnp.roll(window, -reach, axis))
        windows.append(window)
    level = 31 - lax.clz(size)

    def union(window: Array) -> Array:
        first = lax.dynamic_slice_in_dim(window, largest - back, length, axis)
        start = largest - back + size - (1 << level)
        return jnp.maximum(first, lax.dynamic_slice_in_dim(window, start, length, axis))

    branches = [lambda window=window: union(window) for window in windows]
    return lax.switch(level, branches)


def ellipse(size: int) -> np.ndarray:
    """OpenCV's elliptic structuring element, bool [size, size]: `MORPH_ELLIPSE`.

    Its middle is [size // 2, size // 2]; 2 lacks a corner, 3 is a cross.
    """
    radius = size // 2
    if radius == 0:
        return np.ones((1, 1), bool)
    offset = np.arange(size) - radius
    half = np.rint(radius * np.sqrt(1 - (offset / radius) ** 2))
    return np.abs(offset)[None] <= half[:, None]


def dilate_set(x: Array, times: Array | int, element: np.ndarray) -> Array:
    """The set x, bool [H, W, C], dilated `times` times by `element`, bool [k, k].

    As OpenCV's `dilate`: a place joins where the element, its [k // 2, k // 2] on that place, meets
    the set; what lies outside is not in it. The erosion of a set is the complement of the dilation
    of its complement.
    """
    height, width = x.shape[:2]
    size = len(element)
    back = size // 2
    sides = (back, size - 1 - back)

    def dilate_once(_, x: Array) -> Array:
        padded = jnp.pad(x, (sides, sides, (0, 0)))
        shifts = [padded[i : i + height, j : j + width] for i, j in np.argwhere(element)]
        return jnp.stack(shifts).any(0)

    return lax.fori_loop(0, times, dilate_once, x)
