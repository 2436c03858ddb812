"""Checksums of the arrays of a checkpoint, so that damage is noticed when they are read.

Neither Orbax nor the format that it writes compares the numbers that it reads with those that it
wrote: most bits that flip on a disk would only be other weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

KEY = "checksums"  # in the custom metadata of a checkpoint


def checksums(tree: Any) -> dict[str, str]:
    """Returns the CRC-32 of the bytes of each array in a tree, by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): checksum(x) for path, x in leaves
    }


def checksum(array: Any) -> str:
    """Returns the CRC-32 of the bytes of an array; of a replicated one of its first copy."""
    if isinstance(array, jax.Array):
        array = array.addressable_data(0)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{zlib.crc32(data):08x}"


def check(tree: Any, metadata: Mapping[str, Any] | None) -> None:
    """Raises ValueError that names the first array that differs from its checksum.

    Args:
        tree: what was read, or a part of it.
        metadata: custom metadata of the checkpoint; those of older ones hold no checksums.
    """
    saved = (metadata or {}).get(KEY, {})
    if not saved:
        return
    for name, found in checksums(tree).items():
        if name in saved and saved[name] != found:
            raise ValueError(f"{name} is not as it was saved, by its checksum")
