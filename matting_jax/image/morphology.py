"""Dilation and erosion: of grey values by squares, of sets by ellipses and discs many times.

How large they are, and how many times, is known only when the program runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import ndimage

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

    2 lacks a corner, 3 is a cross, those of even size lie toward their end.
    """
    radius = size // 2
    if radius == 0:
        return np.ones((1, 1), bool)
    offset = np.arange(size) - radius
    half = np.rint(radius * np.sqrt(1 - (offset / radius) ** 2))
    return np.abs(offset)[None] <= half[:, None]


def disc(radius: int) -> np.ndarray:
    """The places at most `radius` away from the middle, bool [2 * radius + 1, 2 * radius + 1]."""
    offset = np.arange(-radius, radius + 1)
    return offset[:, None] ** 2 + offset**2 <= radius**2


def dilate_set(
    x: Array, elements: Sequence[np.ndarray], which: Array | int, times: Array | int = 1
) -> Array:
    """The set x, bool [H, W, C], dilated `times` times by `elements[which]`, bool [k, k].

    As OpenCV's `dilate`: a place joins where the element, its [k // 2, k // 2] on that place, meets
    the set; what lies outside is not in it. Each row of an element must be one run across its
    middle, or empty. The cost is that of the highest element's rows, whichever is taken.
    """
    before, after = runs(elements)
    reach, height = before.shape[1] // 2, x.shape[0]
    before, after = jnp.asarray(before)[which], jnp.asarray(after)[which]

    def dilate_once(_, x: Array) -> Array:
        last, following = (
            jnp.pad(gap, ((reach, reach), (0, 0), (0, 0)), constant_values=reach + 1)
            for gap in (gap_before(x, reach), gap_before(x[:, ::-1], reach)[:, ::-1])
        )
        met = jnp.zeros_like(x)
        for row in range(2 * reach + 1):
            rows = slice(row, row + height)
            met |= (last[rows] <= before[row]) | (following[rows] <= after[row])
        return met

    return lax.fori_loop(0, times, dilate_once, x)


def runs(elements: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How far each row of each element reaches before and after its middle, -1 where it is empty.

    Each int16 [number of elements, rows]; the middle rows are those of the highest element.
    """
    reach = max(len(element) // 2 for element in elements)
    before, after = np.full((2, len(elements), 2 * reach + 1), -1, np.int16)
    for i, element in enumerate(elements):
        middle = len(element) // 2
        rows = slice(reach - middle, reach - middle + len(element))
        before[i, rows] = element[:, : middle + 1].sum(1) - 1
        after[i, rows] = element[:, middle:].sum(1) - 1
    return before, after


def gap_before(x: Array, reach: int) -> Array:
    """How many columns lie from each place back to the set x, bool [H, W, C]; int16.

    0 inside the set; more than `reach` where none of that many holds it. By doubling, as
    `running_maximum`.
    """
    far = reach + 1
    gap = jnp.where(x, 0, far).astype(jnp.int16)
    step = 1
    while step <= reach:
        earlier = jnp.pad(gap, ((0, 0), (step, 0), (0, 0)), constant_values=far)
        gap = jnp.minimum(gap, earlier[:, : gap.shape[1]] + step)
        step *= 2
    return gap


def all_within(pixels: np.ndarray, distance: float) -> np.ndarray:
    """Where the set `pixels`, bool [H, W], has all pixels within `distance`; on the host.

    Distances are Euclidean; pixels outside the image do not count.
    """
    # Where every pixel is one of the set, there is none to measure the distance to.
    return pixels if pixels.all() else ndimage.distance_transform_edt(pixels) > distance
