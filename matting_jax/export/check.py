"""Compares what a written file computes with JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.export.graph import Graph
from matting_jax.image.geometry import resize_bilinear

QUANTILE = 0.999
SEED = 0


@dataclass(frozen=True)
class Difference:
    """How far the outputs of a file are from those of JAX.

    Attributes:
        largest: the largest absolute difference.
        quantile: the 99.9 % quantile of the absolute differences.
        mean: their mean.

    Of outputs beyond [-1, 1] the differences are relative to their largest value.
    """

    largest: float
    quantile: float
    mean: float

    def __str__(self) -> str:
        return (
            f"at most {self.largest:.1e}, 99.9 % of the values within {self.quantile:.1e}, "
            f"mean {self.mean:.1e}"
        )


def sample_inputs(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Returns smooth random inputs of the given shapes [1, H, W, C], the same for each call.

    The trimap is a disc with a wide unknown rim.
    """
    rng = np.random.default_rng(SEED)
    inputs = {}
    for name, (_, height, width, channels) in shapes.items():
        if name == "trimap":
            y, x = np.mgrid[:height, :width]
            radius = np.hypot((2 * y + 1) / height - 1, (2 * x + 1) / width - 1)[None, ..., None]
            inputs[name] = np.where(radius < 0.5, 1, np.where(radius < 0.9, 0.5, 0))
        else:
            coarse = rng.random((1, 12, 12, channels), np.float32)
            inputs[name] = np.clip(resize_bilinear(coarse, height, width), 0, 1)
    return {name: np.ascontiguousarray(x, np.float32) for name, x in inputs.items()}


def run_jax(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs of JAX."""
    outputs = jax.jit(graph.function)(**{name: jnp.asarray(x) for name, x in inputs.items()})
    return {name: np.asarray(x) for name, x in outputs.items()}


def compare(
    outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, Difference]:
    """Returns the difference of each output; that of values that are not finite is infinite.

    Raises ValueError if names or shapes differ.
    """
    shapes = [{name: x.shape for name, x in arrays.items()} for arrays in (outputs, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the file has the outputs {shapes[0]}, the network {shapes[1]}")
    differences = {}
    for name, output in outputs.items():
        scale = max(1.0, float(np.abs(expected[name]).max()))
        error = np.abs(output.astype(np.float64) - expected[name]) / scale
        error = np.where(np.isfinite(error), error, np.inf)
        # By partition, because interpolation between infinite values would be NaN.
        quantile = np.quantile(error, QUANTILE, method="higher")
        differences[name] = Difference(float(error.max()), float(quantile), float(error.mean()))
    return differences
