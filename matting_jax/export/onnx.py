"""ONNX files, made from traced programs of JAX."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from jax.extend import core
from onnx import helper

from matting_jax.export.calls import CALLS, inner_program
from matting_jax.export.graph import Graph
from matting_jax.export.nodes import Nodes, Value, constant
from matting_jax.export.operators import BROADCASTING, FULL
from matting_jax.export.resizing import interpolate
from matting_jax.models.layers.forms import as_written

OPSET = 18
# Primitives that are not computed ahead for constants, which would make larger ones of them.
ENLARGING = ("broadcast_in_dim",)


def build(graph: Graph, metadata: Mapping[str, str], weights: str = "float32") -> onnx.ModelProto:
    """Returns `graph` as an ONNX model with `metadata`; `weights` is how its kernels are stored.

    Raises NotImplementedError for a primitive without an operator here.
    """
    traced = jax.make_jaxpr(lambda inputs: graph.function(**inputs), return_shape=True)
    with as_written():
        closed, outputs = traced(graph.shapes)
    # A dict is flattened in the order of its keys.
    names = sorted(graph.shapes)
    inputs = [Value(graph.shapes[x].shape, np.dtype(np.float32), x) for x in names]
    nodes = Nodes(weights)
    values = add_program(nodes, closed, inputs)
    for name, value in zip(sorted(outputs), values, strict=True):
        value = nodes.as_is(nodes.expand(value, outputs[name].shape))
        nodes.nodes.append(helper.make_node("Identity", [nodes.name(value)], [name]))
    nodes.prune(outputs)

    def describe(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    proto = helper.make_graph(
        nodes.nodes,
        metadata.get("network", "network"),
        [describe(name, graph.shapes[name].shape) for name in names],
        [describe(name, outputs[name].shape) for name in sorted(outputs)],
        list(nodes.initializers.values()),
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(proto, opset_imports=opset, producer_name="matting_jax")
    model.ir_version = 8  # that of the operator set, so that older runtimes read the file
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model


def add_program(nodes: Nodes, closed: core.ClosedJaxpr, inputs: Sequence[Value]) -> list[Value]:
    """Adds the operators of a program and returns the values of its outputs."""
    jaxpr = closed.jaxpr
    values: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    values |= {
        variable: constant(x) for variable, x in zip(jaxpr.constvars, closed.consts, strict=True)
    }

    def read(variable: Any) -> Value:
        if isinstance(variable, core.Literal):
            return constant(variable.val, variable.aval.dtype)
        return values[variable]

    for equation in jaxpr.eqns:
        found = add_equation(nodes, equation, [read(x) for x in equation.invars])
        values |= dict(zip(equation.outvars, found, strict=True))
    return [read(x) for x in jaxpr.outvars]


def add_equation(nodes: Nodes, equation: Any, inputs: list[Value]) -> list[Value]:
    """Adds the operators of one equation and returns the values of its outputs."""
    name = equation.primitive.name
    if name in CALLS:
        resized = interpolate(nodes, equation, inputs) if name == "custom_vjp_call" else None
        if resized is not None:
            return [resized]
        return add_program(nodes, inner_program(equation), inputs)
    if name == "scan":
        return unroll(nodes, equation, inputs)
    if name not in ENLARGING and all(x.array is not None for x in inputs):
        return compute(equation, inputs)
    if name in BROADCASTING:
        found = BROADCASTING[name](nodes, equation, inputs)
    elif name in FULL:
        shapes = [x.aval.shape for x in equation.invars]
        full = [nodes.expand(x, shape) for x, shape in zip(inputs, shapes, strict=True)]
        found = FULL[name](nodes, equation, full)
    else:
        raise NotImplementedError(f"{name} has no operator in ONNX files of this library")
    return found if isinstance(found, list) else [found]


def compute(equation: Any, inputs: Sequence[Value]) -> list[Value]:
    """Computes the outputs of an equation of constants."""
    shapes = [x.aval.shape for x in equation.invars]
    arrays = [
        jnp.asarray(np.broadcast_to(x.array, shape))
        for x, shape in zip(inputs, shapes, strict=True)
    ]
    outputs = equation.primitive.bind(*arrays, **equation.params)
    outputs = outputs if equation.primitive.multiple_results else [outputs]
    return [constant(np.asarray(x)) for x in outputs]


def unroll(nodes: Nodes, equation: Any, inputs: list[Value]) -> list[Value]:
    """Adds the operators of a loop of known length, once for each turn."""
    params = equation.params
    constants, carried, length = params["num_consts"], params["num_carry"], params["length"]
    shapes = [x.aval.shape for x in equation.invars]
    inputs = [nodes.expand(x, shape) for x, shape in zip(inputs, shapes, strict=True)]
    fixed, state = inputs[:constants], inputs[constants : constants + carried]
    sequences, results = inputs[constants + carried :], []
    turns = range(length)
    for turn in reversed(turns) if params["reverse"] else turns:
        elements = [nodes.element(x, turn) for x in sequences]
        outputs = add_program(nodes, params["jaxpr"], [*fixed, *state, *elements])
        state = outputs[:carried]
        results.append(outputs[carried:])
    if params["reverse"]:
        results.reverse()
    stacked = []
    for number, variable in enumerate(equation.outvars[carried:]):
        shape = variable.aval.shape
        rows = [nodes.expand(result[number], shape[1:]) for result in results]
        rows = [nodes.reshape(row, (1, *shape[1:])) for row in rows]
        stacked.append(nodes.add("Concat", rows, shape, axis=0))
    return [*state, *stacked]


def write(graph: Graph, path: Path, record: Mapping[str, Any], *, weights: str = "float32") -> None:
    """Writes `graph` with the entries of its record as metadata, other values than text as JSON."""
    metadata = {
        name: x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)
        for name, x in record.items()
    }
    path.write_bytes(build(graph, metadata, weights).SerializeToString())


def open_file(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns a file as a function that maps inputs to outputs, both by name, on CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warnings about constants that no operator reads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
