"""Grey dilation and erosion by squares whose size is known only when the program runs."""
from __future__ import annotations

import jax
import jax.numpy as jnp
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
