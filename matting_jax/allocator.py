"""glibc's allocator, told to keep freed memory.

XLA on CPU frees its temporaries after each step and takes them again for the next; by default each
round goes through the kernel, page by page, and costs up to half of a step.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform

# mallopt's parameters: M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX
SETTINGS = ((-4, 0), (-1, 2**31 - 1), (-2, 256 * 2**20), (-8, 1))


def keep_freed_memory() -> bool:
    """Keep all freed memory in one arena for reuse; whether that was possible (glibc alone).

    Must come before JAX is imported: arenas of threads that run already stay.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(name, value) for name, value in SETTINGS])


def runs_on_cpu() -> bool:
    """Whether JAX, not yet imported, will find no accelerator here."""
    if os.environ.get("JAX_PLATFORMS"):
        return os.environ["JAX_PLATFORMS"].split(",")[0] == "cpu"
    return not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
