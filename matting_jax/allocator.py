"""Configures glibc's malloc to keep freed memory.

On CPU XLA frees its temporaries after each step and allocates them again for the next. By default
each time the kernel maps and clears every page, which takes up to half of a step.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform

# Parameters of mallopt: M_MMAP_MAX; M_TRIM_THRESHOLD, where -1 is never, and any other number would
# return temporaries of more than 2 GiB; M_TOP_PAD; M_ARENA_MAX.
SETTINGS = ((-4, 0), (-1, -1), (-2, 256 * 2**20), (-8, 1))


def keep_freed_memory() -> bool:
    """Keeps freed memory in one arena for reuse, and returns whether that is possible (glibc only).

    Call it before JAX is imported: threads that already run keep their own arenas.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(name, value) for name, value in SETTINGS])


def release_freed_memory() -> None:
    """Returns the pages of freed memory to the system (glibc only).

    Freed memory that is kept in small pieces, as compilation leaves it, serves no large temporary.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def runs_on_cpu() -> bool:
    """Returns whether JAX, not yet imported, will find no accelerator."""
    if os.environ.get("JAX_PLATFORMS"):
        return os.environ["JAX_PLATFORMS"].split(",")[0] == "cpu"
    return not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
