"""The largest component at every threshold of an image, in one pass.

The image is cut into runs: neighbours of one level in one row. Runs are the nodes of a graph whose
edges join runs that touch, side by side or one above the other. An edge is open at a threshold that
both its runs reach, so at the lesser of their two levels and below. From the highest threshold
down, edges only ever open: a union-find structure takes in the edges of each, and its sets are then
the 4-connected components of the pixels that reach it. Each edge is looked at once instead of once
a threshold, and a run stands for many pixels.

For example, one row of levels and two thresholds:   2 2 0 1 2 1
Runs A = 22, B = 1, C = 2, D = 1; edges B-C and C-D, both of level 1.
Threshold 2: the sets are A (2 pixels) and C (1 pixel), the largest is A.
Threshold 1: both edges open; the sets are A (2 pixels) and BCD (3 pixels), the largest is BCD.
B, C and D are in the largest at 1 and not at 2: one threshold. A is not at 1: none, whatever it is
at 2. The result is 0 0 0 1 1 1.

A set that is swallowed keeps its root, which gets a parent and remembers the threshold of that. So
the sets of each threshold can be read after the last: from a run upwards, as long as the parent was
got at this threshold or above, to what was the root then.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def chains(level, top, by_column):
    """How many thresholds 1, 2, 3 ... have each pixel in their largest component without a gap.

    level: uint8 [H, W], how many of `top` thresholds a pixel passes. Of equally large components
    the one counts whose first pixel comes first, reading by columns or else by rows. Returns uint8
    [H, W].
    """
    height, width = level.shape
    row, start, stop, reached = runs(level)
    one, other, opens = edges(row, start, stop, reached)
    runs_in_order, first_run = by_threshold(reached, top)
    edges_in_order, first_edge = by_threshold(opens, top)

    # Of each set, at its root: the number of pixels, and the first one's place in reading order.
    size = stop - start
    place = start * height + row if by_column else row * width + start
    # A run's parent, and the threshold at which it got one; 0 for a root.
    parent = np.arange(start.size).astype(np.int32)
    joined = np.zeros(start.size, np.uint8)
    largest = np.empty(top + 1, np.int64)
    for threshold in range(top, 0, -1):
        for edge in edges_in_order[first_edge[threshold] : first_edge[threshold + 1]]:
            unite(one[edge], other[edge], threshold, parent, joined, size, place)
        passing = runs_in_order[first_run[threshold] :]
        largest[threshold] = largest_set(passing, joined, size, place)

    result = np.zeros(level.shape, np.uint8)
    for run in range(start.size):
        chain = 0
        node = run
        for threshold in range(reached[run], 0, -1):
            node = root(node, threshold, parent, joined)
            chain = chain + 1 if node == largest[threshold] else 0
        result[row[run], start[run] : stop[run]] = chain
    return result


@njit(cache=True)
def runs(level):
    """Row, first column, end column and level of each run of level 1 or more, row by row."""
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


@njit(cache=True)
def edges(row, start, stop, reached):
    """The two runs of each edge, and the highest threshold at which it is open."""
    # A run has at most one edge to the left; two rows of a and b runs have less than a + b between.
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


@njit(cache=True)
def by_threshold(values, top):
    """Indices of `values`, 1 to `top`, in order of value, and where those of each value begin."""
    begin = np.zeros(top + 2, np.int64)
    for value in values:
        begin[value] += 1
    begin = begin.cumsum()
    order = np.empty(values.size, np.int32)
    # From the last on, so that of equal values the first stays first.
    for index in range(values.size - 1, -1, -1):
        begin[values[index]] -= 1
        order[begin[values[index]]] = index
    return order, begin


@njit(cache=True)
def root(run, threshold, parent, joined):
    """The run that stands for the set of `run` as it is at `threshold`."""
    while joined[run] >= threshold:
        run = parent[run]
    return run


@njit(cache=True)
def unite(a, b, threshold, parent, joined, size, place):
    """Make the sets of runs `a` and `b` one from `threshold` down."""
    a, b = root(a, threshold, parent, joined), root(b, threshold, parent, joined)
    if a == b:
        return
    # Two calls rather than a swap, which may compile to code of half the speed.
    if size[a] < size[b]:
        attach(a, b, threshold, parent, joined, size, place)
    else:
        attach(b, a, threshold, parent, joined, size, place)


@njit(cache=True)
def attach(small, large, threshold, parent, joined, size, place):
    """Put the set of root `small` under the root `large`.

    The set of a run at least doubles with each parent, so that ways to a root stay short. They are
    not shortened further, so that what a set was at a higher threshold can be read afterwards.
    """
    parent[small] = large
    joined[small] = threshold
    size[large] += size[small]
    place[large] = min(place[large], place[small])


@njit(cache=True)
def largest_set(passing, joined, size, place):
    """Root of the largest set among the runs `passing`, of equal ones the first; -1 of none."""
    best = -1
    for run in passing:
        if joined[run]:
            continue
        tie = best >= 0 and size[run] == size[best]
        if best < 0 or size[run] > size[best] or tie and place[run] < place[best]:
            best = run
    return best
