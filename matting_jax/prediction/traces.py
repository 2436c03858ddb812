"""Traced programs, kept for the next run.

JAX's cache of compiled programs is searched by the traced program. Tracing and lowering a network
takes several times as long as loading what XLA compiled, so the result is kept as well.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
from flax import linen as nn
from jax import export

from matting_jax.files import write_atomically

PACKAGE = Path(__file__).parent.parent
MOST_BYTES = 2**27  # of a folder of traces; one of MODNet takes 40 kB, of PP-Matting 300 kB

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
    try:
        exported = export.deserialize(bytearray(zlib.decompress(file.read_bytes())))
        os.utime(file)
        return jax.jit(exported.call)
    except FileNotFoundError:
        pass
    except Exception as error:  # damaged, or of another version of JAX
        logger.debug(f"cannot read {file}: {error}")
    try:
        exported = export.export(jax.jit(function))(variables, inputs)
        with write_atomically(file) as temporary:
            temporary.write_bytes(zlib.compress(exported.serialize(), 1))
        remove_oldest(file.parent)
        return jax.jit(exported.call)
    except Exception as error:  # not every operation can be exported, and disks are full
        logger.debug(f"cannot write {file}: {error}")
        return jax.jit(function)


def remove_oldest(folder: Path) -> None:
    """Removes the least recently used traces of a folder that has more than MOST_BYTES."""
    try:
        files = {path: path.stat() for path in folder.glob("*.trace")}
        total = sum(status.st_size for status in files.values())
        for path in sorted(files, key=lambda path: files[path].st_mtime):
            if total <= MOST_BYTES:
                break
            path.unlink(missing_ok=True)
            total -= files[path].st_size
    except OSError as error:  # another program removed one
        logger.debug(f"cannot remove traces of {folder}: {error}")


def trace_file(folder: Path, model: nn.Module, variables: Any, program: Any) -> Path | None:
    """Returns the file of a trace: its name changes with all that the trace depends on.

    None for a network that is not of this package, whose source is not known.

    Args:
        folder: folder of traces.
        model: the network.
        variables: its variables.
        program: the outputs and inputs, with a `repr` of their own.
    """
    if type(model).__module__.partition(".")[0] != PACKAGE.name:
        return None
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    parts = [
        source_digest(),
        *(module.__version__ for module in (jax, jaxlib, flax)),
        *(jax.default_backend(), jax.config.jax_enable_x64),
        jax.config.jax_default_matmul_precision,
        *sorted((name, x) for name, x in os.environ.items() if name.startswith("JAX_")),
        repr(model),
        repr(program),
        [(jax.tree_util.keystr(path), x.shape, str(x.dtype)) for path, x in leaves],
    ]
    return folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.trace"


@cache
def source_digest() -> str:
    """Returns a digest of the package's source."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
