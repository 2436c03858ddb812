"""Traced programs, kept for the next run.

JAX's cache of compiled programs is searched by the traced program. Tracing and lowering a network
takes several times as long as loading what XLA compiled, so the result is kept as well.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from jax import export

from matting_jax.kept import digest_of, keep, read_kept

logger = logging.getLogger("matting_jax")


def traced(
    function: Callable[..., Any],
    variables: Any,
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    file: Path,
) -> Any:
    """Returns the jitted `function(variables, inputs)`, traced before or now.

    Args:
        function: the function.
        variables: its first argument; only shapes and dtypes count.
        inputs: its second argument, as shapes.
        file: where the trace is kept.
    """
    if content := read_kept(file):
        try:
            return jax.jit(export.deserialize(bytearray(zlib.decompress(content))).call)
        except Exception as error:  # damaged, or of another version of JAX
            logger.debug(f"cannot read {file}: {error}")
    try:
        exported = export.export(jax.jit(function))(variables, inputs)
        content = zlib.compress(exported.serialize(), 1)
    except Exception as error:  # not every operation can be exported
        logger.debug(f"cannot keep {file}: {error}")
        return jax.jit(function)
    keep(file, content)
    return jax.jit(exported.call)


def trace_file(folder: Path, model: nn.Module, variables: Any, program: Any) -> Path | None:
    """Returns the file of a trace, or None for a network that is not of this package.

    Args:
        folder: folder of traces.
        model: the network.
        variables: its variables.
        program: the outputs and inputs, with a `repr` of their own.
    """
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    shapes = [(jax.tree_util.keystr(path), x.shape, str(x.dtype)) for path, x in leaves]
    digest = digest_of(model, repr(program), shapes)
    return folder / f"{digest}.trace" if digest else None
