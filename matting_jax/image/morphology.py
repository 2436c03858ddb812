"""Dilation and erosion: of grey values by squares, of masks by ellipses and discs, repeatedly.

Sizes and iteration counts may be traced.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax import lax

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


def square(size: int, mirrored: bool = False) -> np.ndarray:
    """Returns a square as an element of `dilate_mask`, bool [size, size].

    An even square reaches size / 2 back and size / 2 - 1 forward; if `mirrored`, the other way
    round, as `dilate`, and is bool [size + 1, size + 1].
    """
    element = np.ones((size, size), bool)
    return np.pad(element, (1, 0)) if mirrored and size % 2 == 0 else element


def dilate_mask(
    x: Array, elements: Sequence[np.ndarray], which: Array | int, times: Array | int = 1
) -> Array:
    """Dilates a mask as OpenCV's `dilate`; pixels outside the image are not set.

    A pixel is set if the element, its [k // 2, k // 2] on that pixel, overlaps the mask. The cost
    is that of the highest element's rows, whichever element is used. 32 rows are computed together,
    as the bits of an integer.

    Args:
        x: mask, bool [H, W, C].
        elements: structuring elements, bool [k, k]. Each row must be empty or one run of pixels
            across the middle column.
        which: index of the element; may be traced.
        times: number of iterations; may be traced.
    """
    before, after = row_reaches(elements)
    reach = before.shape[1] // 2
    before, after = (jnp.asarray(reaches, jnp.int32)[which] for reaches in (before, after))
    inside = pack_rows(np.ones((x.shape[0], 1, 1), bool))

    def dilate_once(_, words: Array) -> Array:
        runs = row_runs(words, reach)

        # A loop, because XLA would compute the runs again for each row of the element.
        def add_row(row: Array, met: Array) -> Array:
            run = cut_run(runs, reach, before[row], after[row])
            return met | shift_rows(run, row - reach, reach)

        return lax.fori_loop(0, 2 * reach + 1, add_row, jnp.zeros_like(words)) & inside

    return unpack_rows(lax.fori_loop(0, times, dilate_once, pack_rows(x)), x.shape[0])


def pack_rows(x: Array) -> Array:
    """Packs a mask, bool [H, W, C]: row 32 n + i becomes bit i of row n, uint32 [n, W, C]."""
    x = jnp.pad(x, ((0, -x.shape[0] % 32), (0, 0), (0, 0)))
    bits = x.reshape(-1, 32, *x.shape[1:]).astype(jnp.uint32)
    return jnp.sum(bits << jnp.arange(32, dtype=jnp.uint32)[:, None, None], 1, jnp.uint32)


def unpack_rows(words: Array, height: int) -> Array:
    """Unpacks the mask, bool [height, W, C], of `pack_rows`."""
    bits = words[:, None] >> jnp.arange(32, dtype=jnp.uint32)[:, None, None] & 1
    return (bits > 0).reshape(-1, *words.shape[1:])[:height]


def shift_rows(words: Array, offset: Array, reach: int) -> Array:
    """Moves a packed mask up by `offset` rows, from -reach to reach; rows outside are 0."""
    margin = -(-reach // 32)
    words = jnp.pad(words, ((margin, margin + 1), (0, 0), (0, 0)))
    count = len(words) - 2 * margin - 1
    skipped, bits = margin + (offset >> 5), (offset & 31).astype(jnp.uint32)
    near, far = (lax.dynamic_slice_in_dim(words, skipped + i, count) for i in (0, 1))
    # A shift by 32 bits is undefined.
    return near >> bits | far << 1 << 31 - bits


def row_runs(words: Array, reach: int) -> Array:
    """Computes for each pixel of a packed mask whether a run to its right meets the mask.

    Returns uint32 [levels, n, W + 2 reach, C], padded by `reach`: level 0 is empty, level k has
    runs of 2^(k - 1) pixels, as far as 2 reach + 1.
    """
    run = jnp.pad(words, ((0, 0), (reach, reach), (0, 0)))
    runs, length = [jnp.zeros_like(run), run], 1
    while 2 * length <= 2 * reach + 1:
        run |= jnp.pad(run[:, length:], ((0, 0), (0, length), (0, 0)))
        runs.append(run)
        length *= 2
    return jnp.stack(runs)


def cut_run(runs: Array, reach: int, before: Array, after: Array) -> Array:
    """Returns a packed mask dilated along its rows, as the union of two runs of `row_runs`.

    Args:
        runs: result of `row_runs`.
        reach: its padding.
        before: how many pixels the run reaches back, -1 for an empty run; may be traced.
        after: how many pixels the run reaches forward, -1 for an empty run; may be traced.
    """
    length = jnp.maximum(before + after + 1, 0)
    level = 32 - lax.clz(length)
    _, count, width, channels = runs.shape
    shape = (1, count, width - 2 * reach, channels)
    starts = reach - before, reach + after + 1 - (1 << level) // 2
    zero = jnp.int32(0)
    first, second = (
        lax.dynamic_slice(runs, (level, zero, start, zero), shape)[0] for start in starts
    )
    return first | second


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
    """Computes the distance in columns back to a mask, bool [H, W], on the host.

    0 inside the mask; reach + 1 if none of the last `reach` columns is set.
    """
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


def erode_by_distance(mask: np.ndarray, distance: float) -> np.ndarray:
    """Erodes a mask, bool [H, W], by a Euclidean distance in pixels, on the host.

    Pixels outside the image are ignored.
    """
    # A full mask has no pixel outside it to measure the distance to.
    return mask if mask.all() else scipy.ndimage.distance_transform_edt(mask) > distance
