"""Operations that move or mix pixels as one operator of ONNX, which its runtimes compute faster.

Each function returns None for another operation than its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from matting_jax.export.calls import inner_program
from matting_jax.export.nodes import ABSENT, CHANNELS_FIRST, Nodes, Value, constant
from matting_jax.image.geometry import linear_taps

SUM_OF_SAMPLES = {"gather", "broadcast_in_dim", "reshape", "mul", "add"}  # primitives of it


def interpolate(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value | None:
    """Adds the operator of bilinear resizing, if `equation` calls a program that resizes."""
    closed = inner_program(equation)
    *taps, x = [*(constant(array) for array in closed.consts), *inputs]
    shape = equation.outvars[0].aval.shape
    if len(x.shape) != 4 or len(shape) != 4:
        return None
    changed = [axis for axis in range(4) if x.shape[axis] != shape[axis]]
    names = {inner.primitive.name for inner in closed.jaxpr.eqns}
    if changed not in ([1], [2]) or not names <= SUM_OF_SAMPLES:
        return None
    if not is_bilinear(taps, x.shape[changed[0]], shape[changed[0]]):
        return None
    return resize(nodes, x, shape, mode="linear", coordinate_transformation_mode="half_pixel")


def is_bilinear(taps: list[Value], old: int, new: int) -> bool:
    """Returns whether constants are the positions and weights of bilinear resizing.

    One of `old` and `new` must be a multiple of the other, so that the runtime computes the same
    positions in float32.
    """
    if max(old, new) % min(old, new) or any(x.array is None for x in taps):
        return False
    expected = [row for pair in zip(*linear_taps(old, new), strict=True) for row in pair]
    return len(taps) == len(expected) and all(
        np.array_equal(x.array.ravel(), row.astype(x.dtype))
        for x, row in zip(taps, expected, strict=True)
    )


def repeat(nodes: Nodes, x: Value, traced: Sequence[int], shape: Sequence[int]) -> Value | None:
    """Adds the operator that repeats pixels, if reshaping x does.

    Args:
        nodes: the graph.
        x: the value, whose repeated axes have the size 1.
        traced: its shape with these axes.
        shape: its new shape.
    """
    sides, factors = [], []
    for side, whole in zip(x.shape, traced, strict=True):
        if side == whole:
            sides.append(side)
            factors.append(1)
        elif factors:
            factors[-1] *= whole
    repeated = [side * factor for side, factor in zip(sides, factors, strict=True)]
    if len(sides) != 4 or repeated != list(shape) or math.prod(factors[1:3]) == 1:
        return None
    if factors[0] != 1 or factors[3] != 1 or math.prod(sides) != x.size:
        return None
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return resize(nodes, nodes.reshape(x, sides), shape, mode="nearest", **how)


def resize(nodes: Nodes, x: Value, shape: Sequence[int], **attributes: Any) -> Value:
    """Adds the operator that resizes x [B, H, W, C]; both axes in turn become one operator."""
    how = tuple(attributes.items())
    origin = nodes.resized.get((x.name, how), x)
    once = all(len({a, b, c}) < 3 for a, b, c in zip(origin.shape, x.shape, shape, strict=True))
    origin = origin if once else x
    sides = [shape[axis] for axis in CHANNELS_FIRST]
    given = [nodes.in_order(origin, CHANNELS_FIRST), ABSENT, ABSENT, constant(sides, np.int64)]
    y = nodes.add("Resize", given, sides, **attributes)
    nodes.resized[y.name, how] = origin
    return nodes.back(y, CHANNELS_FIRST)


def depth_to_space(nodes: Nodes, x: Value, shape: Sequence[int]) -> Value | None:
    """Adds the operator that makes blocks of pixels of channels, if reshaping x does."""
    image = nodes.origins.get(x.name)
    if image is None or x.order != (0, 1, 3, 2, 4, 5) or len(image.shape) != 4:
        return None
    batch, height, factor, width, across, channels = x.shape
    is_image = image.shape == (batch, height, width, factor * across * channels)
    if factor != across or not is_image:
        return None
    if tuple(shape) != (batch, factor * height, factor * width, channels):
        return None
    sides = [shape[axis] for axis in CHANNELS_FIRST]
    given = [nodes.in_order(image, CHANNELS_FIRST)]
    return nodes.back(nodes.add("DepthToSpace", given, sides, blocksize=factor), CHANNELS_FIRST)
