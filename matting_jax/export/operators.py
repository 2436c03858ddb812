"""The operators of ONNX that compute the primitives of JAX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from matting_jax.export.indexing import gather, scatter
from matting_jax.export.nodes import CHANNELS_FIRST, Nodes, Value, constant, order_of
from matting_jax.export.resizing import depth_to_space, repeat

# Primitives that compute each element from those at its position.
ELEMENTWISE = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "neg": "Neg",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "tanh": "Tanh",
    "sqrt": "Sqrt",
    "sign": "Sign",
    "floor": "Floor",
    "round": "Round",
    "logistic": "Sigmoid",
    "and": "And",
    "or": "Or",
    "not": "Not",
}
COMPARISONS = {
    "eq": "Equal",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
}
SAME = ("copy", "stop_gradient", "optimization_barrier", "pvary", "copy_p")
REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
Operator = Callable[[Nodes, Any, list[Value]], Value]


def is_all(value: Value, number: float) -> bool:
    """Returns whether a value is a constant, all of whose elements are `number`."""
    return value.array is not None and value.array.size > 0 and bool((value.array == number).all())


def elementwise(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Adds an operator that computes each element from those at its position."""
    name = equation.primitive.name
    if name == "max" and is_all(inputs[1], 0) and inputs[0].dtype.kind == "f":
        return nodes.combine("Relu", inputs[:1])  # fuses with convolutions
    if name in COMPARISONS:
        return nodes.combine(COMPARISONS[name], inputs, bool)
    return nodes.combine(ELEMENTWISE[name], inputs)


def not_equal(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    equal = nodes.combine("Equal", inputs, bool)
    return nodes.combine("Not", [equal])


def clamp(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    low, x, high = inputs
    if low.shape == high.shape == ():
        return nodes.combine("Clip", [x, low, high])
    return nodes.combine("Min", [nodes.combine("Max", [x, low]), high])


def select(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    which, *cases = inputs
    if which.dtype != bool or len(cases) != 2:
        raise NotImplementedError("select_n of more than two cases")
    slope = find_slope(nodes, which, *cases)
    if slope is not None:
        return nodes.combine("LeakyRelu", cases[1:], alpha=slope)  # fuses with convolutions
    return nodes.combine("Where", [which, *reversed(cases)], cases[0].dtype)


def find_slope(nodes: Nodes, which: Value, scaled: Value, x: Value) -> float | None:
    """Returns the slope below 0 if selecting x by `which`, else `scaled`, is a leaky ReLU of x."""
    comparison, compared = nodes.made.get(which.name, ("", []))
    operator, factors = nodes.made.get(scaled.name, ("", []))
    if (comparison, operator) != ("GreaterOrEqual", "Mul") or compared[0].name != x.name:
        return None
    if not which.order == scaled.order == x.order:
        return None
    slopes = [factor for factor in factors if factor.array is not None and factor.array.size == 1]
    is_scaled = len(slopes) == 1 and x.name in [factor.name for factor in factors]
    return float(slopes[0].array.item()) if is_scaled and is_all(compared[1], 0) else None


def square(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    return nodes.combine("Mul", [inputs[0], inputs[0]])


def integer_pow(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    if equation.params["y"] == 2:
        return square(nodes, equation, inputs)
    return nodes.combine("Pow", [inputs[0], constant(equation.params["y"], inputs[0].dtype)])


def rsqrt(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    return nodes.combine("Reciprocal", [nodes.combine("Sqrt", inputs)])


def remainder(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    return nodes.combine("Mod", inputs, fmod=1)


def convert(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    return nodes.cast(inputs[0], equation.params["new_dtype"])


def broadcast(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Moves axes; the size of broadcast axes remains 1."""
    shape = [1] * len(equation.params["shape"])
    for axis, side in zip(equation.params["broadcast_dimensions"], inputs[0].shape, strict=True):
        shape[axis] = side
    return nodes.reshape(inputs[0], shape)


def add_axes(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    shape = list(inputs[0].shape)
    for axis in sorted(equation.params["dimensions"]):
        shape.insert(axis, 1)
    return nodes.reshape(inputs[0], shape)


def squeeze(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    removed = equation.params["dimensions"]
    shape = [side for axis, side in enumerate(inputs[0].shape) if axis not in removed]
    return nodes.reshape(inputs[0], shape)


def transpose(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    return nodes.transpose(inputs[0], equation.params["permutation"])


def reshape(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    (x,), traced = inputs, equation.invars[0].aval.shape
    shape = equation.outvars[0].aval.shape
    found = repeat(nodes, x, traced, shape) if x.array is None else None
    found = found or depth_to_space(nodes, x, shape)
    return found or nodes.reshape(nodes.expand(x, traced), shape)


# The operators below need values in their traced shapes.


def concatenate(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    axis, shape = equation.params["dimension"], equation.outvars[0].aval.shape
    order = order_of(*inputs)
    inputs = [nodes.in_order(x, order) for x in inputs]
    sides = [shape[axis] for axis in order]
    return nodes.back(nodes.add("Concat", inputs, sides, axis=order.index(axis)), order)


def slice_static(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    (x,), params = inputs, equation.params
    steps = params["strides"] or [1] * len(x.shape)
    return nodes.slice(x, params["start_indices"], params["limit_indices"], steps)


def slice_dynamic(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    x, *starts = inputs
    sizes = equation.params["slice_sizes"]
    if any(start.array is None for start in starts):
        raise NotImplementedError("dynamic_slice at a computed position")
    ends = zip(x.shape, sizes, strict=True)
    starts = [
        min(max(int(start.array), 0), side - size)
        for start, (side, size) in zip(starts, ends, strict=True)
    ]
    stops = [start + size for start, size in zip(starts, sizes, strict=True)]
    return nodes.slice(x, starts, stops, [1] * len(starts))


def reverse(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    (x,), flipped = inputs, equation.params["dimensions"]
    steps = [-1 if axis in flipped else 1 for axis in range(len(x.shape))]
    sides = list(zip(x.shape, steps, strict=True))
    starts = [side - 1 if step < 0 else 0 for side, step in sides]
    stops = [-1 if step < 0 else side for side, step in sides]
    return nodes.slice(x, starts, stops, steps)


def pad(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    x, fill = inputs
    config = equation.params["padding_config"]
    if any(inner for _, _, inner in config):
        raise NotImplementedError("padding between elements")
    # Negative padding cuts.
    starts = [max(-low, 0) for low, _, _ in config]
    stops = [side - max(-high, 0) for side, (_, high, _) in zip(x.shape, config, strict=True)]
    x = nodes.slice(x, starts, stops, [1] * len(starts))
    sides = [max(low, 0) for low, _, _ in config] + [max(high, 0) for _, high, _ in config]
    if not any(sides):
        return x
    order, count = order_of(x), len(x.shape)
    sides = [sides[side + axis] for side in (0, count) for axis in order]
    shape = [equation.outvars[0].aval.shape[axis] for axis in order]
    given = [nodes.in_order(x, order), constant(sides, np.int64), fill]
    return nodes.back(nodes.add("Pad", given, shape), order)


def split(nodes: Nodes, equation: Any, inputs: list[Value]) -> list[Value]:
    (x,), axis, parts, first = inputs, equation.params["axis"], [], 0
    for size in equation.params["sizes"]:
        starts, stops = [0] * len(x.shape), list(x.shape)
        starts[axis], stops[axis] = first, first + size
        parts.append(nodes.slice(x, starts, stops, [1] * len(starts)))
        first += size
    return parts


def reduce(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    (x,), removed = inputs, equation.params["axes"]
    order = order_of(x)
    left = [axis for axis in order if axis not in removed]
    axes = constant([order.index(axis) for axis in removed], np.int64)
    shape = [x.shape[axis] for axis in left]
    y = nodes.add(
        REDUCTIONS[equation.primitive.name], [nodes.in_order(x, order), axes], shape, keepdims=0
    )
    return nodes.transpose(y, np.argsort(left))


def argmax(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    (axis,), aval = equation.params["axes"], equation.outvars[0].aval
    index = nodes.add("ArgMax", inputs, aval.shape, np.int64, axis=axis, keepdims=0)
    return nodes.cast(index, aval.dtype)


def top_k(nodes: Nodes, equation: Any, inputs: list[Value]) -> list[Value]:
    values, indices = (x.aval for x in equation.outvars)
    found = nodes.add(
        "TopK", [inputs[0], constant([equation.params["k"]], np.int64)], values.shape, axis=-1
    )
    second = Value(indices.shape, np.dtype(np.int64), f"{found.name}_i")
    nodes.nodes[-1].output.append(second.name)
    return [found, nodes.cast(second, indices.dtype)]


def matmul(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Multiplies two arrays as matrices: batch, rows, sum and columns."""
    origin = nodes.origins.get(inputs[0].name)
    if origin is not None and is_pointwise(equation, origin, *inputs):
        return convolve_pixels(nodes, origin, *inputs)
    sums, batches = equation.params["dimension_numbers"]
    matrices, free = [], []
    for x, summed, batch, last in zip(inputs, sums, batches, (True, False), strict=True):
        kept = [axis for axis in range(len(x.shape)) if axis not in (*summed, *batch)]
        order = [*batch, *kept, *summed] if last else [*batch, *summed, *kept]
        sizes = [math.prod(x.shape[axis] for axis in axes) for axes in (kept, summed)]
        shape = [x.shape[axis] for axis in batch] + (sizes if last else sizes[::-1])
        matrices.append(nodes.reshape(nodes.transpose(x, order), shape))
        free.append(sizes[0])
    matrices[1] = nodes.kernel(matrices[1], len(matrices[1].shape) - 1)
    shape = [*matrices[0].shape[:-2], *free]
    return nodes.reshape(nodes.add("MatMul", matrices, shape), equation.outvars[0].aval.shape)


def is_pointwise(equation: Any, image: Value, pixels: Value, matrix: Value) -> bool:
    """Returns whether `pixels`, of an image that has its channels first, meet a kernel."""
    _, *sides, channels = image.shape
    return (
        equation.params["dimension_numbers"] == (((1,), (0,)), ((), ()))
        and matrix.array is not None
        and pixels.order is None
        and image.order == CHANNELS_FIRST
        and pixels.shape == (math.prod(image.shape[:-1]), channels)
    )


def convolve_pixels(nodes: Nodes, image: Value, pixels: Value, matrix: Value) -> Value:
    """Multiplies pixels by a matrix as a convolution of the image that they are of."""
    kernel = nodes.transpose(matrix, (1, 0))
    kernel = constant(kernel.array[..., None, None])
    shape = [image.shape[0], kernel.shape[0], *image.shape[1:3]]
    inputs = [nodes.in_order(image, CHANNELS_FIRST), nodes.kernel(kernel, 0)]
    y = nodes.back(nodes.add("Conv", inputs, shape, kernel_shape=(1, 1)), CHANNELS_FIRST)
    return nodes.reshape(y, (pixels.shape[0], kernel.shape[0]))


def convolve(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Convolves; ONNX has the channels first."""
    (x, kernel), params = inputs, equation.params
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
        raise NotImplementedError("transposed convolution")
    numbers, padding = params["dimension_numbers"], params["padding"]
    x, kernel = nodes.transpose(x, numbers.lhs_spec), nodes.transpose(kernel, numbers.rhs_spec)
    order = numbers.out_spec
    shape = [equation.outvars[0].aval.shape[axis] for axis in order]
    y = nodes.add(
        "Conv",
        [x, nodes.kernel(kernel, 0)],
        shape,
        kernel_shape=kernel.shape[2:],
        strides=params["window_strides"],
        dilations=params["rhs_dilation"],
        pads=[low for low, _ in padding] + [high for _, high in padding],
        group=params["feature_group_count"],
    )
    return nodes.transpose(y, np.argsort(order))


def pool(nodes: Nodes, equation: Any, inputs: list[Value]) -> Value:
    """Pools windows of the two middle axes."""
    params, (x,) = equation.params, inputs
    window, strides, padding = (
        params[name] for name in ("window_dimensions", "window_strides", "padding")
    )
    flat = window[0] == window[3] == strides[0] == strides[3] == 1
    dilations = {*params["base_dilation"], *params["window_dilation"]}
    if len(x.shape) != 4 or not flat or dilations != {1}:
        raise NotImplementedError("windows over other axes than height and width")
    is_max = equation.primitive.name == "reduce_window_max"
    shape = [equation.outvars[0].aval.shape[axis] for axis in (0, 3, 1, 2)]
    y = nodes.add(
        "MaxPool" if is_max else "AveragePool",
        [nodes.transpose(x, (0, 3, 1, 2))],
        shape,
        kernel_shape=window[1:3],
        strides=strides[1:3],
        pads=[low for low, _ in padding[1:3]] + [high for _, high in padding[1:3]],
        **({} if is_max else {"count_include_pad": 1}),
    )
    y = nodes.transpose(y, (0, 2, 3, 1))
    return y if is_max else nodes.combine("Mul", [y, constant(math.prod(window), x.dtype)])


# Operators whose inputs may have a size of 1 along axes that are broadcast.
BROADCASTING: dict[str, Operator] = {
    **dict.fromkeys((*ELEMENTWISE, *COMPARISONS), elementwise),
    **dict.fromkeys(SAME, lambda nodes, equation, inputs: inputs[0]),
    "ne": not_equal,
    "clamp": clamp,
    "select_n": select,
    "square": square,
    "integer_pow": integer_pow,
    "rsqrt": rsqrt,
    "rem": remainder,
    "convert_element_type": convert,
    "broadcast_in_dim": broadcast,
    "expand_dims": add_axes,
    "reshape": reshape,
    "squeeze": squeeze,
    "transpose": transpose,
}
# Operators that need their inputs in full.
FULL: dict[str, Callable[[Nodes, Any, list[Value]], Value | list[Value]]] = {
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys(("reduce_window_max", "reduce_window_sum"), pool),
    **dict.fromkeys(("scatter", "scatter-add"), scatter),
    "concatenate": concatenate,
    "slice": slice_static,
    "dynamic_slice": slice_dynamic,
    "rev": reverse,
    "pad": pad,
    "split": split,
    "argmax": argmax,
    "top_k": top_k,
    "dot_general": matmul,
    "conv_general_dilated": convolve,
    "gather": gather,
}
