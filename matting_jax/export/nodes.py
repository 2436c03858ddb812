"""The nodes of an ONNX graph under construction, and the values between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Value:
    """A value of the graph: the output of a node or an input, or a constant.

    Attributes:
        shape: its shape in the graph. That of the traced value may be larger along axes of size 1:
            only operators that don't broadcast expand it.
        dtype: its type.
        name: its name in the graph; "" for a constant.
        array: its constant value.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    name: str = ""
    array: np.ndarray | None = None


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
    """

    weights: str = "float32"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    names: dict[tuple, str] = field(default_factory=dict)

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
            inputs: its inputs.
            shape: shape of its output.
            dtype: type of its output; None: that of the first input.
            **attributes: attributes of the operator.
        """
        output = Value(
            tuple(int(side) for side in shape),
            np.dtype(inputs[0].dtype if dtype is None else dtype),
            f"x{len(self.nodes)}",
        )
        names = [self.name(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [output.name], **attributes))
        return output

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

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        """Returns x in its traced shape."""
        shape = tuple(shape)
        if x.shape == shape:
            return x
        if x.array is not None:
            return constant(np.broadcast_to(x.array, shape))
        return self.add("Expand", [x, constant(shape, np.int64)], shape)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Reshapes x."""
        shape = tuple(int(side) for side in shape)
        if x.shape == shape:
            return x
        if x.array is not None:
            return constant(x.array.reshape(shape))
        return self.add("Reshape", [x, constant(shape, np.int64)], shape)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """Transposes x."""
        order = [int(axis) for axis in order]
        if order == list(range(len(order))):
            return x
        if x.array is not None:
            return constant(x.array.transpose(order))
        return self.add("Transpose", [x], [x.shape[axis] for axis in order], perm=order)

    def slice(
        self, x: Value, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]
    ) -> Value:
        """Slices x along all axes; the last element of a negative step is included by stop -1."""
        axes = [
            axis
            for axis, bounds in enumerate(zip(starts, stops, steps, strict=True))
            if bounds != (0, x.shape[axis], 1)
        ]
        if not axes:
            return x
        shape = list(x.shape)
        bounds = [[], [], []]
        for axis in axes:
            start, stop, step = int(starts[axis]), int(stops[axis]), int(steps[axis])
            shape[axis] = len(range(start, stop, step))
            # Before the first element, which -1 does not mean in ONNX.
            stop = -x.shape[axis] - 1 if stop < 0 else stop
            for bound, number in zip(bounds, (start, stop, step), strict=True):
                bound.append(number)
        starts, stops, steps = bounds
        given = [constant(numbers, np.int64) for numbers in (starts, stops, axes, steps)]
        return self.add("Slice", [x, *given], shape)

    def cast(self, x: Value, dtype: Any) -> Value:
        """Converts x to another type."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        if x.array is not None:
            return constant(x.array.astype(dtype))
        return self.add("Cast", [x], x.shape, dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def combine(self, operator: str, inputs: Sequence[Value], dtype: Any = None) -> Value:
        """Adds an operator that broadcasts its inputs."""
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        return self.add(operator, inputs, shape, dtype)

    def element(self, x: Value, number: int) -> Value:
        """Returns one element of x along its first axis, without that axis."""
        if x.array is not None:
            return constant(x.array[number])
        starts, stops = [number, *[0] * len(x.shape[1:])], [number + 1, *x.shape[1:]]
        return self.reshape(self.slice(x, starts, stops, [1] * len(starts)), x.shape[1:])
