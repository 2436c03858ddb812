"""Files of what was traced, which later runs read because tracing a network takes seconds."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
from flax import linen as nn

from matting_jax.files import write_atomically

PACKAGE = Path(__file__).parent
# Of the files of one suffix in a folder; a trace of MODNet takes 40 kB, of PP-Matting 300 kB.
MOST_BYTES = 2**27

logger = logging.getLogger("matting_jax")


def digest_of(model: nn.Module, *parts: Any) -> str | None:
    """Returns the name of what is kept for a network: it changes with all that this depends on.

    None for a network that is not of this package, whose source is not known.

    Args:
        model: the network.
        parts: what else it depends on, each with a `repr` of its own.
    """
    if type(model).__module__.partition(".")[0] != PACKAGE.name:
        return None
    settings = [
        source_digest(),
        *(module.__version__ for module in (jax, jaxlib, flax)),
        *(jax.default_backend(), jax.config.jax_enable_x64),
        jax.config.jax_default_matmul_precision,
        *sorted((name, x) for name, x in os.environ.items() if name.startswith("JAX_")),
        repr(model),
        *parts,
    ]
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:32]


@cache
def source_digest() -> str:
    """Returns a digest of the package's source."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def read_kept(file: Path) -> bytes | None:
    """Returns what a file holds, and dates its last use; None if it cannot be read."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.debug(f"cannot read {file}: {error}")
        return None
    with suppress(OSError):  # other users' files can be read but not dated
        os.utime(file)
    return content


def keep(file: Path, content: bytes) -> None:
    """Writes a file if it can be written, and makes room for it in its folder."""
    try:
        with write_atomically(file) as temporary:
            temporary.write_bytes(content)
    except OSError as error:  # disks are full, folders are read-only
        logger.debug(f"cannot write {file}: {error}")
        return
    remove_oldest(file.parent, f"*{file.suffix}")


def remove_oldest(folder: Path, pattern: str) -> None:
    """Removes the least recently used files of a pattern until they have MOST_BYTES at most."""
    try:
        files = {path: path.stat() for path in folder.glob(pattern)}
        total = sum(status.st_size for status in files.values())
        for path in sorted(files, key=lambda path: files[path].st_mtime):
            if total <= MOST_BYTES:
                break
            path.unlink(missing_ok=True)
            total -= files[path].st_size
    except OSError as error:  # another program removed one
        logger.debug(f"cannot remove files of {folder}: {error}")
