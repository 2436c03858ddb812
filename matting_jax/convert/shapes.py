"""The shapes of a network's variables."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from matting_jax.convert.names import LeafPath
from matting_jax.kept import digest_of, keep, read_kept
from matting_jax.models import example_inputs

logger = logging.getLogger("matting_jax")


@cache
def flat_shapes(model: nn.Module) -> dict[LeafPath, jax.ShapeDtypeStruct]:
    """Returns {path: shape and dtype} of the network's variables without computing them.

    They are kept beside JAX's compiled programs, where it keeps these: tracing takes 1 to 3 s.
    """
    file = shapes_file(model)
    if file and (content := read_kept(file)):
        try:
            return parse_shapes(content)
        except (ValueError, TypeError) as error:  # damaged
            logger.debug(f"cannot read {file}: {error}")
    shapes = trace_shapes(model)
    if file:
        keep(file, format_shapes(shapes))
    return shapes


def trace_shapes(model: nn.Module) -> dict[LeafPath, jax.ShapeDtypeStruct]:
    """Returns what `flat_shapes` does, from the network."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), **example_inputs(model))
    return traverse_util.flatten_dict(shapes)


def shapes_file(model: nn.Module) -> Path | None:
    """Returns the file of the shapes of a network, or None where nothing is kept."""
    folder, digest = jax.config.jax_compilation_cache_dir, digest_of(model)
    if not (jax.config.jax_enable_compilation_cache and folder and digest) or "://" in folder:
        return None
    return Path(folder, "traces", f"{digest}.shapes")


def format_shapes(shapes: Mapping[LeafPath, jax.ShapeDtypeStruct]) -> bytes:
    """Returns shapes and dtypes as JSON."""
    rows = [[*path, leaf.shape, leaf.dtype.name] for path, leaf in shapes.items()]
    return json.dumps(rows).encode()


def parse_shapes(content: bytes) -> dict[LeafPath, jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes from JSON; raises ValueError or TypeError for another content."""
    return {
        tuple(path): jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
        for *path, shape, dtype in json.loads(content)
    }
