"""Gathering and scattering of JAX by the simpler operators of ONNX: along one axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from matting_jax.export.nodes import Nodes, Value, constant, order_of


def gather(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Gathers windows at positions; those that leave x are moved inside.

    The indexed axes of x become one, so that a window is a list of positions along it.
    """
    x, indices = inputs
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    rank, batch, shape = len(x.shape), indices.shape[:-1], equation.outvars[0].aval.shape
    starts = positions(
        nodes,
        indices,
        numbers.start_index_map,
        zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True),
    )
    for axis, start in starts.items():
        highest = constant(x.shape[axis] - sizes[axis], np.int32)
        starts[axis] = clip(nodes, start, constant(0, np.int32), highest)
    indexed = list(starts)
    others = [axis for axis in range(rank) if axis not in indexed]
    if any(sizes[axis] != x.shape[axis] for axis in others):
        raise NotImplementedError("gather of a part of an axis without a position")
    if len(indexed) == len(batch) == 1 and tuple(numbers.collapsed_slice_dims) == (indexed[0],):
        if list(numbers.offset_dims) == others:
            (axis,), order = indexed, order_of(x)
            sides = [shape[axis] for axis in order]
            given = [nodes.in_order(x, order), starts[axis]]
            return nodes.back(nodes.add("Gather", given, sides, axis=order.index(axis)), order)

    flat = merge(nodes, x, [*indexed, *others], len(indexed))
    total, stride = constant(0, np.int32), math.prod(x.shape[axis] for axis in indexed)
    for number, (axis, start) in enumerate(starts.items()):
        stride //= x.shape[axis]
        start = nodes.reshape(start, [*start.shape, *[1] * len(indexed)])
        offsets = np.arange(sizes[axis], dtype=np.int32)
        offsets = offsets.reshape([-1 if i == number else 1 for i in range(len(indexed))])
        steps = add(nodes, start, constant(offsets))
        total = add(nodes, total, multiply(nodes, steps, constant(stride, np.int32)))
    windows = [sizes[axis] for axis in indexed]
    total = nodes.expand(total, [*batch, *windows])
    found = nodes.add("Gather", [flat, total], [*total.shape, flat.shape[1]], axis=0)
    collapsed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [axis for axis in indexed if axis not in collapsed] + others
    found = nodes.reshape(found, [*batch, *(sizes[axis] for axis in kept)])
    # The axes of the windows in the order of x, at the places that JAX gives them.
    ordered = iter([len(batch) + kept.index(axis) for axis in sorted(kept)])
    first = iter(range(len(batch)))
    offset = numbers.offset_dims
    order = [next(ordered) if place in offset else next(first) for place in range(len(shape))]
    return nodes.transpose(found, order)


def scatter(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Replaces elements of x at positions, or adds to them; positions outside of x are dropped.

    The indexed axes of x become one, with one more element for what is dropped.
    """
    x, indices, updates = inputs
    numbers = equation.params["dimension_numbers"]
    rank, batching = len(x.shape), numbers.operand_batching_dims
    starts = positions(
        nodes,
        indices,
        numbers.scatter_dims_to_operand_dims,
        zip(batching, numbers.scatter_indices_batching_dims, strict=True),
    )
    indexed = list(starts)
    if sorted(indexed) != sorted([*numbers.inserted_window_dims, *batching]):
        raise NotImplementedError("scatter of windows along indexed axes")
    others = [axis for axis in range(rank) if axis not in indexed]
    order = [*indexed, *others]
    flat = merge(nodes, x, order, len(indexed))
    count, width = flat.shape
    dropped = constant(np.zeros((1, width), x.dtype))
    flat = nodes.add("Concat", [flat, dropped], [count + 1, width], axis=0)

    total, valid, stride = constant(0, np.int32), None, count
    for axis, place in starts.items():
        stride //= x.shape[axis]
        highest = constant(x.shape[axis] - 1, np.int32)
        inside = clip(nodes, place, constant(0, np.int32), highest)
        total = add(nodes, total, multiply(nodes, inside, constant(stride, np.int32)))
        same = equal(nodes, inside, place)
        valid = same if valid is None else both(nodes, valid, same)
    total = where(nodes, valid, total, constant(count, np.int32))
    places = indices.shape[:-1]
    total = nodes.expand(total, places)
    window = list(numbers.update_window_dims)
    first = [axis for axis in range(len(updates.shape)) if axis not in window]
    updates = nodes.reshape(nodes.transpose(updates, [*first, *window]), [*places, width])
    total = nodes.cast(nodes.reshape(total, [*places, 1]), np.int64)
    adds = equation.primitive.name == "scatter-add"
    reduction = {"reduction": "add"} if adds else {}
    flat = nodes.add("ScatterND", [flat, total, updates], flat.shape, **reduction)
    flat = nodes.slice(flat, [0, 0], [count, width], [1, 1])
    return nodes.transpose(nodes.reshape(flat, [x.shape[a] for a in order]), np.argsort(order))


def merge(nodes: Nodes, x: Value, order: list[int], first: int) -> Value:
    """Transposes x to `order`, and merges its `first` axes into one and the others into another."""
    sides = [x.shape[axis] for axis in order]
    shape = [math.prod(sides[:first]), math.prod(sides[first:])]
    return nodes.reshape(nodes.transpose(x, order), shape)


def positions(
    nodes: Nodes,
    indices: Value,
    axes: Sequence[int],
    batching: Iterable[tuple[int, int]],
) -> dict[int, Value]:
    """Returns the positions along each indexed axis, int32, as they broadcast to [...].

    Args:
        nodes: the graph.
        indices: positions [..., n].
        axes: the n axes of x that they index.
        batching: axes of x, each with the axis of `indices` that runs along with it.
    """
    starts = {
        int(axis): nodes.cast(column(nodes, indices, number), np.int32)
        for number, axis in enumerate(axes)
    }
    for axis, along in batching:
        shape = [1] * len(indices.shape[:-1])
        shape[along] = -1
        count = np.arange(indices.shape[along], dtype=np.int32)
        starts[int(axis)] = constant(count.reshape(shape))
    return starts


def column(nodes: Nodes, indices: Value, number: int) -> Value:
    """Returns the positions along one indexed axis, [...] of indices [..., n]."""
    if indices.array is not None:
        return constant(indices.array[..., number])
    starts, stops = [0] * len(indices.shape), list(indices.shape)
    starts[-1], stops[-1] = number, number + 1
    part = nodes.slice(indices, starts, stops, [1] * len(starts))
    return nodes.reshape(part, indices.shape[:-1])


def add(nodes: Nodes, a: Value, b: Value) -> Value:
    if a.array is not None and b.array is not None:
        return constant(a.array + b.array)
    return nodes.combine("Add", [a, b])


def multiply(nodes: Nodes, a: Value, b: Value) -> Value:
    if a.array is not None and b.array is not None:
        return constant(a.array * b.array)
    return nodes.combine("Mul", [a, b])


def clip(nodes: Nodes, x: Value, low: Value, high: Value) -> Value:
    if x.array is not None:
        return constant(np.clip(x.array, low.array, high.array))
    return nodes.combine("Min", [nodes.combine("Max", [x, low]), high])


def equal(nodes: Nodes, a: Value, b: Value) -> Value:
    if a.array is not None and b.array is not None:
        return constant(a.array == b.array)
    return nodes.combine("Equal", [a, b], bool)


def both(nodes: Nodes, a: Value, b: Value) -> Value:
    if a.array is not None and b.array is not None:
        return constant(a.array & b.array)
    return nodes.combine("And", [a, b])


def where(nodes: Nodes, which: Value, a: Value, b: Value) -> Value:
    if which.array is not None and a.array is not None and b.array is not None:
        return constant(np.where(which.array, a.array, b.array))
    return nodes.combine("Where", [which, a, b], a.dtype)
