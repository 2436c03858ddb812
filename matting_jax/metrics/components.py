"""The largest connected component at every threshold of an image, in one pass.

The image is split into runs: neighbouring pixels of equal level in one row. Runs are the nodes of a
graph whose edges join runs that touch, horizontally or vertically. An edge is open at a threshold
that both its runs reach, that is up to the smaller of their two levels. With falling thresholds
edges only ever open: a union-find structure adds the edges of each threshold, and its sets are then
the 4-connected components of the pixels that reach it. Each edge is visited once instead of once
for each threshold, and a run stands for many pixels.

For example, one row of levels and two thresholds:   2 2 0 1 2 1
Runs A = 22, B = 1, C = 2, D = 1; edges B-C and C-D, both of level 1.
Threshold 2: the sets are A (2 pixels) and C (1 pixel), the largest is A.
Threshold 1: both edges open; the sets are A (2 pixels) and BCD (3 pixels), the largest is BCD.
B, C and D are in the largest at 1 and not at 2: one threshold. A is not in it at 1, so it has none,
whatever it is at 2. The result is 0 0 0 1 1 1.

A merged set keeps its root, which gets a parent and stores the threshold of the merge. So the sets
of every threshold can be read afterwards: follow the parents from a run as long as they were set at
this threshold or above.
"""

from __future__ import annotations

import numpy as np

from matting_jax.caches import njit


@njit
def count_chains(level: np.ndarray, top: int, by_column: bool) -> np.ndarray:
    """Counts the consecutive thresholds 1, 2, 3 ... whose largest component contains each pixel.

    level: uint8 [H, W], how many of `top` thresholds a pixel reaches. Of components of equal size
    the one whose first pixel comes first counts, by columns if `by_column`, otherwise by rows.
    Returns uint8 [H, W].
    """
    height, width = level.shape
    row, start, stop, reached = find_runs(level)
    one, other, opens = find_edges(row, start, stop, reached)
    runs_in_order, first_run = sort_by_threshold(reached, top)
    edges_in_order, first_edge = sort_by_threshold(opens, top)

    # For each set, at its root: the number of pixels, and the first one's index in reading order.
    size = stop - start
    index_of_first = start * height + row if by_column else row * width + start
    # The parent of a run, and the threshold at which it was set; 0 for a root.
    parent = np.arange(start.size).astype(np.int32)
    joined = np.zeros(start.size, np.uint8)
    largest = np.empty(top + 1, np.int64)
    for threshold in range(top, 0, -1):
        for edge in edges_in_order[first_edge[threshold] : first_edge[threshold + 1]]:
            merge(one[edge], other[edge], threshold, parent, joined, size, index_of_first)
        passing = runs_in_order[first_run[threshold] :]
        largest[threshold] = find_largest(passing, joined, size, index_of_first)

    result = np.zeros(level.shape, np.uint8)
    for run in range(start.size):
        chain = 0
        node = run
        for threshold in range(reached[run], 0, -1):
            node = find_root(node, threshold, parent, joined)
            chain = chain + 1 if node == largest[threshold] else 0
        result[row[run], start[run] : stop[run]] = chain
    return result


@njit
def find_runs(level: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns row, first column, end column and level of each run of level 1 or more, by rows."""
    height, width = level.shape
    count = 0
    for y in range(height):
        for x in range(width):
            count += level[y, x] > 0 and (x == 0 or level[y, x] != level[y, x - 1])
    row = np.empty(count, np.int32)
    start, stop, reached = np.empty_like(row), np.empty_like(row), np.empty(count, np.uint8)
    run = 0
    for y in range(height):
        x = 0
        while x < width:
            begin = x
            while x < width and level[y, x] == level[y, begin]:
                x += 1
            if level[y, begin] > 0:
                row[run], start[run], stop[run] = y, begin, x
                reached[run] = level[y, begin]
                run += 1
    return row, start, stop, reached


@njit
def find_edges(
    row: np.ndarray, start: np.ndarray, stop: np.ndarray, reached: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the two runs of each edge, and the highest threshold at which it is open."""
    # A run has at most one edge to the left; two rows of a and b runs have fewer than a + b edges.
    one = np.empty(3 * row.size, np.int32)
    other = np.empty_like(one)
    count = 0
    above = 0
    for run in range(row.size):
        if run and row[run - 1] == row[run] and stop[run - 1] == start[run]:
            one[count], other[count] = run - 1, run
            count += 1
        while row[above] < row[run] - 1 or row[above] == row[run] - 1 and stop[above] <= start[run]:
            above += 1
        touching = above
        while row[touching] == row[run] - 1 and start[touching] < stop[run]:
            one[count], other[count] = touching, run
            count += 1
            touching += 1
    one, other = one[:count], other[:count]
    return one, other, np.minimum(reached[one], reached[other])


@njit
def sort_by_threshold(values: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of `values`, 1 to `top`, sorted by value, and where each value begins."""
    begin = np.zeros(top + 2, np.int64)
    for value in values:
        begin[value] += 1
    begin = begin.cumsum()
    order = np.empty(values.size, np.int32)
    # From the last to the first, so that the order is stable.
    for index in range(values.size - 1, -1, -1):
        begin[values[index]] -= 1
        order[begin[values[index]]] = index
    return order, begin


@njit
def find_root(run: int, threshold: int, parent: np.ndarray, joined: np.ndarray) -> int:
    """Returns the root of the set of `run` at `threshold`."""
    while joined[run] >= threshold:
        run = parent[run]
    return run


@njit
def merge(
    a: int,
    b: int,
    threshold: int,
    parent: np.ndarray,
    joined: np.ndarray,
    size: np.ndarray,
    index_of_first: np.ndarray,
) -> None:
    """Merges the sets of runs `a` and `b` from `threshold` down."""
    a, b = find_root(a, threshold, parent, joined), find_root(b, threshold, parent, joined)
    if a == b:
        return
    # Two calls, because a swap may compile to code that is half as fast.
    if size[a] < size[b]:
        attach(a, b, threshold, parent, joined, size, index_of_first)
    else:
        attach(b, a, threshold, parent, joined, size, index_of_first)


@njit
def attach(
    small: int,
    large: int,
    threshold: int,
    parent: np.ndarray,
    joined: np.ndarray,
    size: np.ndarray,
    index_of_first: np.ndarray,
) -> None:
    """Makes the root `large` the parent of the root `small`.

    A set at least doubles with each parent, so that paths to a root stay short. They are not
    compressed, so that the sets of higher thresholds can be read afterwards.
    """
    parent[small] = large
    joined[small] = threshold
    size[large] += size[small]
    index_of_first[large] = min(index_of_first[large], index_of_first[small])


@njit
def find_largest(
    passing: np.ndarray, joined: np.ndarray, size: np.ndarray, index_of_first: np.ndarray
) -> int:
    """Returns the root of the largest set among the runs `passing`, the first of equals, or -1."""
    best = -1
    for run in passing:
        if joined[run]:
            continue
        tie = best >= 0 and size[run] == size[best]
        if best < 0 or size[run] > size[best] or tie and index_of_first[run] < index_of_first[best]:
            best = run
    return best
