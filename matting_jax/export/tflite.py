"""TensorFlow Lite files, which LiteRT runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from matting_jax.export.graph import Graph
from matting_jax.export.rewrite import FOR_LITE, rewrite
from matting_jax.export.savedmodel import as_module


def write(graph: Graph, path: Path, record: Mapping[str, Any], *, weights: str = "float32") -> None:
    """Writes a file; such files hold no record.

    Args:
        graph: what is written.
        path: the file.
        record: its record.
        weights: "float32", "float16", or "int8", with a scale for each channel.

    Raises:
        ValueError: if an operation has no form in such files.
    """
    try:
        module = as_module(graph, rewrite(graph.function, FOR_LITE))
        concrete = module.call.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
        if weights != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if weights == "float16":
            converter.target_spec.supported_types = [tf.float16]
        written = converter.convert()
    except Exception as error:  # the converter raises classes of its own
        raise ValueError(
            "TensorFlow Lite has no form of an operation of this network, as of those whose "
            "positions depend on the image: write an .onnx file, or choose a variant of the "
            f"network without it ({str(error).splitlines()[0][:200]})"
        ) from error
    path.write_bytes(written)


def open_file(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns a file as a function that maps inputs to outputs, both by name."""
    interpreter = Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.array(x) for name, x in runner(**inputs).items()}

    return run
