"""The nodes of an ONNX graph under construction, and the values between them.

Transposing a value adds no node: only its `order` changes. Operators for which the order of the
axes is the same keep that of their inputs, so that feature maps stay in the order of convolutions,
with the channels first, and are transposed only where an operator needs its axes in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Value:
    """A value of the graph: the output of a node or an input, or a constant.

    Attributes:
        shape: its shape. That of the traced value may be larger along axes of size 1: only
            operators that don't broadcast expand it.
        dtype: its type.
        name: its name in the graph; "" for a constant.
        array: its constant value.
        order: its axes in the order in which the graph holds them; None: as they are.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    name: str = ""
    array: np.ndarray | None = None
    order: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


CHANNELS_FIRST = (0, 3, 1, 2)
ABSENT = Value((), np.dtype(np.float32))  # in place of an input that an operator doesn't need


def constant(array: Any, dtype: Any = None) -> Value:
    """Returns an array, or a number, as a constant value."""
    array = np.asarray(array, dtype)
    return Value(array.shape, array.dtype, array=array)


@dataclass
class Nodes:
    """Collects nodes and weights.

    Attributes:
        weights: how kernels are stored: "float32", "float16", or "int8" with a scale for each of
            their output channels.
        nodes: the nodes in the order in which they are computed.
        initializers: the constants by name.
        names: the name of each constant.
        ordered: by name and order of a value, the same with its axes as they are.
        origins: by name of a reshaped value, the one that it was made from.
        resized: by name of a resized value, and how it was resized, the one it was made from.
        made: by name of a value, its operator and the inputs of it.
    """

    weights: str = "float32"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    names: dict[tuple, str] = field(default_factory=dict)
    ordered: dict[tuple, Value] = field(default_factory=dict)
    origins: dict[str, Value] = field(default_factory=dict)
    resized: dict[tuple, Value] = field(default_factory=dict)
    made: dict[str, tuple[str, list[Value]]] = field(default_factory=dict)

    def add(
        self,
        operator: str,
        inputs: Sequence[Value],
        shape: Sequence[int],
        dtype: Any = None,
        **attributes: Any,
    ) -> Value:
        """Adds a node with one output and returns it.

        Args:
            operator: name of the operator.
            inputs: its inputs; it reads them with their axes as they are.
            shape: shape of its output.
            dtype: type of its output; None: that of the first input.
            **attributes: attributes of the operator.
        """
        inputs = [self.as_is(value) for value in inputs]
        names = [self.name(value) for value in inputs]
        output = Value(
            tuple(int(side) for side in shape),
            np.dtype(inputs[0].dtype if dtype is None else dtype),
            f"x{len(self.nodes)}",
        )
        self.nodes.append(helper.make_node(operator, names, [output.name], **attributes))
        self.made[output.name] = operator, inputs
        return output

    def prune(self, outputs: Iterable[str]) -> None:
        """Removes nodes and constants that no output needs: onnxruntime would compute them."""
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        self.nodes = nodes[::-1]
        self.initializers = {name: x for name, x in self.initializers.items() if name in needed}

    def name(self, value: Value) -> str:
        """Returns the name of a value; a constant is stored once."""
        if value.array is None:
            return value.name
        array = np.ascontiguousarray(value.array)
        key = (array.shape, array.dtype.str, array.tobytes())
        if key not in self.names:
            self.names[key] = f"w{len(self.names)}"
            name = self.names[key]
            self.initializers[name] = numpy_helper.from_array(array, name)
        return self.names[key]

    def kernel(self, x: Value, axis: int) -> Value:
        """Returns a constant kernel as it is stored; `axis` is that of its output channels.

        It is converted to float32 where it is read, so that activations keep their precision.
        """
        if self.weights == "float32" or x.array is None or x.dtype != np.float32:
            return x
        if self.weights == "float16":
            stored = Value(x.shape, np.dtype(np.float16), self.name(constant(x.array, np.float16)))
            return self.cast(stored, np.float32)
        others = tuple(i for i in range(len(x.shape)) if i != axis)
        scale = np.abs(x.array).max(others) / 127
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        wide = np.expand_dims(scale, others)
        stored = constant(np.rint(x.array / wide).astype(np.int8))
        return self.add(
            "DequantizeLinear", [stored, constant(scale)], x.shape, np.float32, axis=axis
        )

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """Transposes x, without a node."""
        order = tuple(int(axis) for axis in order)
        if order == tuple(range(len(order))):
            return x
        if x.array is not None:
            return constant(x.array.transpose(order))
        held = tuple(order.index(axis) for axis in x.order or range(len(order)))
        shape = tuple(x.shape[axis] for axis in order)
        return replace(x, shape=shape, order=None if held == tuple(range(len(held))) else held)

    def as_is(self, x: Value) -> Value:
        """Returns x as the graph holds it with its axes as they are; each is transposed once."""
        if x.order is None:
            return x
        key = (x.name, x.order)
        if key not in self.ordered:
            held = replace(x, shape=tuple(x.shape[axis] for axis in x.order), order=None)
            moved = [axis for axis in x.order if x.shape[axis] != 1]
            if moved == sorted(moved):  # only axes of size 1 change their places
                self.ordered[key] = self.reshape(held, x.shape)
            else:
                perm = [x.order.index(axis) for axis in range(len(x.order))]
                self.ordered[key] = self.add("Transpose", [held], x.shape, perm=perm)
        return self.ordered[key]

    def in_order(self, x: Value, order: Sequence[int]) -> Value:
        """Returns x with its axes in `order` as they are; a number as it is."""
        is_moved = x.shape and list(order) != list(range(len(order)))
        return self.as_is(self.transpose(x, order) if is_moved else x)

    def back(self, x: Value, order: Sequence[int]) -> Value:
        """Returns the value that `in_order` gave as x."""
        return self.transpose(x, np.argsort(order)) if x.shape else x

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        """Returns x in its traced shape."""
        shape = tuple(shape)
        if x.shape == shape:
            return x
        if x.array is not None:
            return constant(np.broadcast_to(x.array, shape))
        order = order_of(x)
        sides = tuple(shape[axis] for axis in order)
        y = self.add("Expand", [self.in_order(x, order), constant(sides, np.int64)], sides)
        return self.back(y, order)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Reshapes x."""
        shape = tuple(int(side) for side in shape)
        if x.array is not None:
            return constant(x.array.reshape(shape))
        if x.order is None:
            x = self.origins.get(x.name, x)
        if x.shape == shape:
            return x
        y = self.add("Reshape", [x, constant(shape, np.int64)], shape)
        self.origins[y.name] = x
        return y

    def slice(
        self, x: Value, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]
    ) -> Value:
        """Slices x along all axes; the last element of a negative step is included by stop -1."""
        order = order_of(x)
        shape, bounds = list(x.shape), []
        for place, axis in enumerate(order):
            start, stop, step = int(starts[axis]), int(stops[axis]), int(steps[axis])
            if (start, stop, step) == (0, x.shape[axis], 1):
                continue
            shape[axis] = len(range(start, stop, step))
            # Before the first element, which -1 does not mean in ONNX.
            stop = -x.shape[axis] - 1 if stop < 0 else stop
            bounds.append((start, stop, place, step))
        if not bounds:
            return x
        given = [constant(numbers, np.int64) for numbers in zip(*bounds, strict=True)]
        sides = [shape[axis] for axis in order]
        return self.back(self.add("Slice", [self.in_order(x, order), *given], sides), order)

    def cast(self, x: Value, dtype: Any) -> Value:
        """Converts x to another type."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        if x.array is not None:
            return constant(x.array.astype(dtype))
        return self.combine("Cast", [x], dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def combine(
        self, operator: str, inputs: Sequence[Value], dtype: Any = None, **attributes: Any
    ) -> Value:
        """Adds an operator that broadcasts its inputs, in the order of the axes of the largest."""
        order = order_of(*inputs)
        inputs = [self.in_order(x, order) for x in inputs]
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        return self.back(self.add(operator, inputs, shape, dtype, **attributes), order)

    def element(self, x: Value, number: int) -> Value:
        """Returns one element of x along its first axis, without that axis."""
        if x.array is not None:
            return constant(x.array[number])
        starts, stops = [number, *[0] * len(x.shape[1:])], [number + 1, *x.shape[1:]]
        return self.reshape(self.slice(x, starts, stops, [1] * len(starts)), x.shape[1:])


def order_of(*values: Value) -> tuple[int, ...]:
    """Returns the order of the axes of the largest value; of equal ones of one with another order.

    Constants have any order.
    """
    sizes = [(x.size, x.order is not None, -i) for i, x in enumerate(values) if x.array is None]
    largest = values[-max(sizes)[-1]] if sizes else values[0]
    return largest.order or tuple(range(len(largest.shape)))
