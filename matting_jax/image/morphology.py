"""Dilation and erosion: of grey values by squares, of masks by ellipses and discs, repeatedly.

Sizes and iteration counts may be traced.
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
    """Computes the maximum of x [H, W, C] over a size x size square; pixels outside are ignored.

    `size` is an integer array or int from 1 to `largest`. An even square reaches size / 2 - 1 back
    and size / 2 forward, as in SciPy's `grey_dilation`.
    """
    for axis in (0, 1):
        x = running_maximum(x, size, size - 1 - size // 2, largest, axis)
    return x


def erode(x: Array, size: Array | int, largest: int) -> Array:
    """Computes the minimum of x [H, W, C] over a size x size square; pixels outside are ignored.

    Arguments as of `dilate`. An even square reaches size / 2 back and size / 2 - 1 forward, as in
    SciPy's `grey_erosion`.
    """
    for axis in (0, 1):
        x = -running_maximum(-x, size, size // 2, largest, axis)
    return x


def running_maximum(
    x: Array, size: Array | int, back: Array | int, largest: int, axis: int
) -> Array:
    """Computes the maximum of x over a window along one axis.

    A window is the union of two windows whose size is the largest power of two within it.

    Args:
        x: [H, W, C].
        size: size of the window, from 1 to `largest`; may be traced.
        back: how many positions before its own a window begins.
        largest: upper limit of `size`.
        axis: axis of x.
    """
    size, back = jnp.asarray(size, jnp.int32), jnp.asarray(back, jnp.int32)
    length = x.shape[axis]
    sides = [(0, 0)] * x.ndim
    sides[axis] = (largest, 2 * largest)
    window = jnp.pad(x, sides, constant_values=-jnp.inf)
    windows = [window]
    while 2 ** len(windows) <= largest:
        reach = 2 ** (len(windows) - 1)
        # The end of the window runs past the padding; these positions are never read.
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
    """Returns OpenCV's elliptic structuring element `MORPH_ELLIPSE`, bool [size, size].

    Size 2 lacks a corner, 3 is a cross; even sizes are off-centre, towards the end.
    """
    radius = size // 2
    if radius == 0:
        return np.ones((1, 1), bool)
    offset = np.arange(size) - radius
    half = np.rint(radius * np.sqrt(1 - (offset / radius) ** 2))
    return np.abs(offset)[None] <= half[:, None]


def disc(radius: int) -> np.ndarray:
    """Returns the disc of a radius, bool [2 * radius + 1, 2 * radius + 1]."""
    offset = np.arange(-radius, radius + 1)
    return offset[:, None] ** 2 + offset**2 <= radius**2


def dilate_mask(
    x: Array, elements: Sequence[np.ndarray], which: Array | int, times: Array | int = 1
) -> Array:
    """Dilates a mask as OpenCV's `dilate`; pixels outside the image are not set.

    A pixel is set if the element, its [k // 2, k // 2] on that pixel, overlaps the mask. The cost
    is that of the highest element's rows, whichever element is used.

    Args:
        x: mask, bool [H, W, C].
        elements: structuring elements, bool [k, k]. Each row must be empty or one run of pixels
            across the middle column.
        which: index of the element; may be traced.
        times: number of iterations; may be traced.
    """
    before, after = row_reaches(elements)
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


def dilate_host_mask(x: np.ndarray, element: np.ndarray) -> np.ndarray:
    """Dilates a mask, bool [H, W], once by one element as `dilate_mask` does, on the host."""
    (before,), (after,) = row_reaches([element])
    height, reach = x.shape[0], len(before) // 2
    last, following = host_gap_before(x, reach), host_gap_before(x[:, ::-1], reach)[:, ::-1]
    met, reaches = np.zeros_like(x), list(zip(before.tolist(), after.tolist(), strict=True))
    for back, forward in sorted(set(reaches) - {(-1, -1)}):
        spread = (last <= back) | (following <= forward)
        for row in (row for row, pair in enumerate(reaches) if pair == (back, forward)):
            shift = row - reach
            if abs(shift) < height:
                source = slice(max(shift, 0), height + min(shift, 0))
                met[max(-shift, 0) : height + min(-shift, 0)] |= spread[source]
    return met


def host_gap_before(x: np.ndarray, reach: int) -> np.ndarray:
    """Computes the distances of `gap_before` for a mask, bool [H, W], on the host."""
    columns = np.arange(x.shape[1], dtype=np.int32)
    latest = np.maximum.accumulate(np.where(x, columns, -reach - 1), axis=1)
    return np.minimum(columns - latest, reach + 1).astype(np.min_scalar_type(reach + 1))


def row_reaches(elements: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns how far each row of each element reaches before and after its middle column.

    Each int16 [number of elements, rows], -1 for an empty row; elements are centred vertically.
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
    """Computes the distance in columns back to the mask x, bool [H, W, C], as int16.

    0 inside the mask; more than `reach` if none of the last `reach` columns is set. Window sizes
    double as in `running_maximum`.
    """
    far = reach + 1
    gap = jnp.where(x, 0, far).astype(jnp.int16)
    step = 1
    while step <= reach:
        earlier = jnp.pad(gap, ((0, 0), (step, 0), (0, 0)), constant_values=far)
        gap = jnp.minimum(gap, earlier[:, : gap.shape[1]] + step)
        step *= 2
    return gap


def erode_by_distance(mask: np.ndarray, distance: float) -> np.ndarray:
    """Erodes a mask, bool [H, W], by a Euclidean distance in pixels, on the host.

    Pixels outside the image are ignored.
    """
    # A full mask has no pixel outside it to measure the distance to.
    return mask if mask.all() else ndimage.distance_transform_edt(mask) > distance
