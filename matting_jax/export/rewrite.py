"""Traced programs without the primitives that TensorFlow and TensorFlow Lite lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from matting_jax.export.calls import CALLS, inner_program

Array = Any
Replacement = Callable[..., Any]  # maps an equation and its inputs to its outputs


def rewrite(
    function: Callable[..., dict[str, Array]], replaced: Mapping[str, Replacement]
) -> Callable[..., dict[str, Array]]:
    """Returns a function that computes the same without some primitives.

    Args:
        function: takes arrays by name and returns arrays by name.
        replaced: what replaces each primitive, `FOR_TENSORFLOW` or `FOR_LITE`.
    """

    def rewritten(**inputs: Array) -> dict[str, Array]:
        traced = jax.make_jaxpr(lambda given: function(**given), return_shape=True)
        closed, shapes = traced(inputs)
        outputs = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(inputs), replaced)
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return rewritten


def evaluate(
    jaxpr: core.Jaxpr,
    consts: Sequence[Array],
    inputs: Sequence[Array],
    replaced: Mapping[str, Replacement],
) -> list[Array]:
    """Computes a program with the primitives `replaced`."""
    values: dict[Any, Array] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Array:
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    for equation in jaxpr.eqns:
        given = [widen(read(x)) for x in equation.invars]
        found = evaluate_equation(equation, given, replaced)
        values |= dict(zip(equation.outvars, found, strict=True))
    return [read(x) for x in jaxpr.outvars]


def evaluate_equation(
    equation: Any, inputs: list[Array], replaced: Mapping[str, Replacement]
) -> list[Array]:
    """Computes the outputs of one equation."""
    name = equation.primitive.name
    if name in CALLS:
        closed = inner_program(equation)
        return evaluate(closed.jaxpr, closed.consts, inputs, replaced)
    if name == "scan" and name in replaced:
        return unroll(equation, inputs, replaced)
    # Broadcast numbers remain operations: the converter folds them into convolutions.
    is_position = equation.outvars[0].aval.dtype.kind in "iub"
    if (is_position or name != "broadcast_in_dim") and not any(is_traced(x) for x in inputs):
        with jax.ensure_compile_time_eval():  # the converter needs constant positions
            return compute(equation, inputs, replaced)
    return compute(equation, inputs, replaced)


def compute(equation: Any, inputs: list[Array], replaced: Mapping[str, Replacement]) -> list[Array]:
    """Computes the outputs of one equation by what replaces it, or by itself."""
    name = equation.primitive.name
    if name in replaced:
        outputs = replaced[name](equation, *inputs)
    else:
        outputs = equation.primitive.bind(*inputs, **equation.params)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def unroll(equation: Any, inputs: list[Array], replaced: Mapping[str, Replacement]) -> list[Array]:
    """Computes a loop of known length without a loop."""
    params = equation.params
    if params["reverse"]:
        raise NotImplementedError("a loop that runs backwards")
    constants, carried, closed = params["num_consts"], params["num_carry"], params["jaxpr"]
    fixed, state = inputs[:constants], inputs[constants : constants + carried]
    sequences, results = inputs[constants + carried :], []
    for turn in range(params["length"]):
        elements = [(x if is_traced(x) else np.asarray(x))[turn] for x in sequences]
        outputs = evaluate(closed.jaxpr, closed.consts, [*fixed, *state, *elements], replaced)
        state = outputs[:carried]
        results.append(outputs[carried:])
    return [*state, *(jnp.stack(rows) for rows in zip(*results, strict=True))]


def multiply(equation: Any, x: Array, y: Array) -> Array:
    """Multiplies by a matrix as a 1x1 convolution."""
    params = equation.params
    (summed, batch) = params["dimension_numbers"]
    if batch != ((), ()):
        return lax.dot_general_p.bind(x, y, **params)
    left, right = (
        [axis for axis in range(value.ndim) if axis not in axes]
        for value, axes in zip((x, y), summed, strict=True)
    )
    count = int(np.prod([x.shape[axis] for axis in summed[0]]))
    pixels = x.transpose(*left, *summed[0]).reshape(1, -1, 1, count)
    kernel = y.transpose(*summed[1], *right).reshape(1, 1, count, -1)
    z = lax.conv_general_dilated(
        pixels,
        kernel,
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=params["precision"],
    )
    return z.reshape(equation.outvars[0].aval.shape)


def widen(x: Array) -> Array:
    """Returns constant bytes as integers of 32 bits, and others as they are."""
    is_byte = not is_traced(x) and np.asarray(x).dtype == np.int8
    return np.asarray(x, np.int32) if is_byte else x


def wider(dtype: Any) -> Any:
    """Returns int32 for int8, and other types as they are."""
    return np.dtype(np.int32) if np.dtype(dtype) == np.int8 else dtype


def convert(equation: Any, x: Array) -> Array:
    return lax.convert_element_type(x, wider(equation.params["new_dtype"]))


def count(equation: Any) -> Array:
    return lax.iota_p.bind(**equation.params | {"dtype": wider(equation.params["dtype"])})


def gather(equation: Any, x: Array, indices: Array) -> Array:
    """Cuts a window at a constant position as a slice."""
    params = equation.params
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    windows = len(numbers.offset_dims) == len(equation.outvars[0].aval.shape) == x.ndim
    if is_traced(indices) or not windows or numbers.operand_batching_dims:
        return lax.gather_p.bind(x, indices, **params)
    starts = [0] * x.ndim
    for axis, start in zip(numbers.start_index_map, np.asarray(indices).ravel(), strict=True):
        starts[axis] = int(np.clip(start, 0, x.shape[axis] - sizes[axis]))
    stops = [int(start + size) for start, size in zip(starts, sizes, strict=True)]
    return lax.slice(x, starts, stops)


def slice_dynamic(equation: Any, x: Array, *starts: Array) -> Array:
    """Cuts a window at a constant position as a slice."""
    sizes = equation.params["slice_sizes"]
    if any(is_traced(start) for start in starts):
        return lax.dynamic_slice_p.bind(x, *starts, **equation.params)
    ends = zip(starts, x.shape, sizes, strict=True)
    first = [int(np.clip(start, 0, side - size)) for start, side, size in ends]
    return lax.slice(x, first, [a + b for a, b in zip(first, sizes, strict=True)])


def add_at(equation: Any, x: Array, indices: Array, updates: Array) -> Array:
    """Adds one value along the last axis at each position of the other axes, by comparison."""
    numbers = equation.params["dimension_numbers"]
    indexed = list(numbers.scatter_dims_to_operand_dims)
    others = [axis for axis in range(x.ndim) if axis not in indexed]
    positions = np.moveaxis(np.asarray(indices), -1, 0)
    *mesh, last = positions
    is_mesh = indexed[-1] == x.ndim - 1 and list(numbers.update_window_dims) == others
    if not is_mesh or not np.array_equal(mesh, np.indices(last.shape)):
        raise NotImplementedError("scatter-add of another form than that of one value each")
    places = jnp.arange(x.shape[-1], dtype=jnp.int32) == last.astype(np.int32)[..., None]
    return x + jnp.where(places, updates[..., None], 0)


def transpose(equation: Any, x: Array) -> Array:
    """Transposes with as few axes as possible: without those of size 1, neighbours as one."""
    groups: list[list[int]] = []
    for axis in (axis for axis in equation.params["permutation"] if x.shape[axis] != 1):
        between = range(groups[-1][-1] + 1, axis) if groups else []
        if groups and axis > groups[-1][-1] and all(x.shape[i] == 1 for i in between):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    before = sorted(groups)
    sides = [int(np.prod([x.shape[axis] for axis in group])) for group in before]
    y = x.reshape(sides).transpose([before.index(group) for group in groups])
    return y.reshape(equation.outvars[0].aval.shape)


def is_traced(x: Array) -> bool:
    """Returns whether x is computed from inputs."""
    return isinstance(x, jax.core.Tracer)


def find_largest(equation: Any, x: Array) -> tuple[Array, Array]:
    """Finds the largest elements along the last axis by sorting, equal ones in their order."""
    order = jnp.argsort(x, axis=-1, descending=True, stable=True)
    order = order[..., : equation.params["k"]]
    return jnp.take_along_axis(x, order, -1), order.astype(jnp.int32)


def refuse(equation: Any, *inputs: Array) -> NoReturn:
    """Raises NotImplementedError before the converter does, which prints the whole program."""
    raise NotImplementedError(equation.primitive.name)


# TensorFlow reads StableHLO of an older version, in which the k largest elements have no form.
FOR_TENSORFLOW: dict[str, Replacement] = {"top_k": find_largest}
# The converter of TensorFlow Lite has no form of these, or none that LiteRT runs.
FOR_LITE: dict[str, Replacement] = {
    **dict.fromkeys(("top_k", "sort", "cond", "while", "scatter"), refuse),
    "scan": unroll,
    "dot_general": multiply,
    "convert_element_type": convert,
    "iota": count,
    "gather": gather,
    "dynamic_slice": slice_dynamic,
    "scatter-add": add_at,
    "transpose": transpose,
}
