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

KEY, LAYOUT, NETWORK = "checksums", "layout", "network"  # in the custom metadata of a checkpoint


def checksums(tree: Any) -> dict[str, str]:
    """Returns the CRC-32 of the bytes of each array in a tree, by its path."""
    return {name: checksum(x) for name, x in named_arrays(tree).items()}


def checksum(array: Any) -> str:
    """Returns the CRC-32 of the bytes of an array; of a replicated one of its first copy."""
    if isinstance(array, jax.Array):
        array = array.addressable_data(0)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{zlib.crc32(data):08x}"


def layout(tree: Any) -> str:
    """Returns a checksum of the paths, shapes and types of the arrays in a tree."""
    lines = sorted(f"{name} {x.shape} {x.dtype}" for name, x in named_arrays(tree).items())
    return f"{zlib.crc32(' '.join(lines).encode()):08x}"


def named_arrays(tree: Any) -> dict[str, Any]:
    """Returns the arrays of a tree, or what describes them, by their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}


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


def check_names(found: Any, expected: Any) -> None:
    """Raises ValueError that names the first array that is missing, unexpected or of another kind.

    Args:
        found: what describes the arrays of a checkpoint.
        expected: what describes those of the state to restore.
    """
    found, expected = named_arrays(found), named_arrays(expected)
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is unexpected" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        theirs, ours = (f"{x.dtype} {tuple(x.shape)}" for x in (found[name], expected[name]))
        if theirs != ours:
            faults.append(f"{name} is {theirs}, expected {ours}")
    if faults:
        raise ValueError(faults[0] + (f", and {len(faults) - 1} more" if faults[1:] else ""))
