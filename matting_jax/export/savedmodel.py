"""SavedModel folders of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from jax.experimental import jax2tf

from matting_jax.export.graph import Graph
from matting_jax.export.rewrite import FOR_TENSORFLOW, rewrite

# What TensorFlow writes into a folder.
CONTENTS = frozenset(("assets", "assets.extra", "fingerprint.pb", "saved_model.pb", "variables"))


def as_module(
    graph: Graph, function: Callable[..., Any], platforms: tuple[str, ...] = ("cpu",)
) -> tf.Module:
    """Returns a TensorFlow module with the function `call`, whose inputs have names.

    Args:
        graph: gives the inputs.
        function: that of `graph`, or one that computes the same.
        platforms: where it will run.
    """
    names, shapes = list(graph.inputs), list(graph.inputs.values())
    converted = jax2tf.convert(
        lambda inputs: function(**inputs),
        with_gradient=False,
        native_serialization_platforms=platforms,
    )

    def call(*arrays: tf.Tensor) -> dict[str, tf.Tensor]:
        return converted(dict(zip(names, arrays, strict=True)))

    module = tf.Module()
    module.call = tf.function(
        call,
        input_signature=[
            tf.TensorSpec(shape, tf.float32, name=name)
            for name, shape in zip(names, shapes, strict=True)
        ],
        autograph=False,
    )
    return module


def write(
    graph: Graph, path: Path, record: Mapping[str, Any], *, platforms: tuple[str, ...]
) -> None:
    """Writes a folder, whose default signature has the inputs and outputs of `graph`."""
    module = as_module(graph, rewrite(graph.function, FOR_TENSORFLOW), platforms)
    tf.saved_model.save(module, str(path), signatures=module.call.get_concrete_function())


def open_file(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns a folder as a function that maps inputs to outputs, both by name."""
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: tf.constant(x) for name, x in inputs.items()}
        return {name: x.numpy() for name, x in signature(**given).items()}

    run.loaded = loaded  # a signature does not keep the weights
    return run
