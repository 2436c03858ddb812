"""StableHLO files, as `jax.export` writes and reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from matting_jax.choices import one_of
from matting_jax.export.graph import Graph
from matting_jax.models.layers.forms import as_written

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def form_of(platform: str) -> str:
    """Returns the form of the layers that is fast on a platform.

    Raises ValueError for an unknown platform, with the closest valid one.
    """
    return "cpu" if one_of(platform, PLATFORMS, "platform", {"gpu": "cuda"}) == "cpu" else "lax"


def platforms_of(platform: str) -> tuple[str, ...]:
    """Returns the platforms of a file: the given one, and CPU, where every file can be checked."""
    return tuple(dict.fromkeys((platform, "cpu")))


def write(
    graph: Graph, path: Path, record: Mapping[str, Any], *, platforms: tuple[str, ...]
) -> None:
    """Writes `graph` for some platforms; such files hold no record.

    Raises ValueError if a network cannot have inputs of any size.
    """
    if graph.is_fixed:
        shapes = graph.shapes
    else:
        # The sides of all networks may be multiples of 32; one scope, so that all inputs agree.
        scope = export.SymbolicScope()
        shapes = {
            name: jax.ShapeDtypeStruct(
                export.symbolic_shape(f"1, 32*h, 32*w, {shape[-1]}", scope=scope), np.float32
            )
            for name, shape in graph.inputs.items()
        }
    try:
        with as_written():
            exported = export.export(jax.jit(graph.function), platforms=platforms)(**shapes)
    except (TypeError, ValueError) as error:
        if graph.is_fixed:
            raise
        raise ValueError(
            "this network cannot have inputs of any size: pass --size HEIGHTxWIDTH"
        ) from error
    path.write_bytes(exported.serialize())


def open_file(path: Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns a file as a function that maps inputs to outputs, both by name."""
    call = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.asarray(x) for name, x in call(**inputs).items()}

    return run
