"""Compares what a photo needs with the memory of a device, and suggests what would make it fit."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from matting_jax.models import rule_options

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
GIB = 2**30


def needed_bytes(compiled: Any) -> int:
    """Returns the memory of a compiled program in addition to its arguments; 0 if unknown."""
    memory = compiled.memory_analysis()
    if memory is None:
        return 0
    return memory.temp_size_in_bytes + memory.output_size_in_bytes


def free_bytes(device: jax.Device) -> int | None:
    """Returns the memory that a program can have at most, or None if it is unknown.

    On an accelerator it is what is free. On CPU it is all memory of the machine or the container,
    since freed memory that the process keeps does not count as free.
    """
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    if device.platform != "cpu":
        return None
    limits = []
    with suppress(ValueError, OSError):  # not on all systems
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # "max" without a limit
        limits.append(int(CGROUP_LIMIT.read_text()))
    return min(limits, default=None)


def explain(name: str, size: tuple[int, int], needed: int, free: int | None, remedy: str) -> str:
    """Returns an error message for a photo that does not fit, with what would make it fit.

    Args:
        name: name of the network.
        size: height and width that the network gets.
        needed: memory that it needs for them, in bytes.
        free: memory that there is; None: unknown.
        remedy: what else makes photos fit.
    """
    height, width = size
    text = f"{name} needs {needed / GIB:.1f} GiB of memory for {width} x {height} pixels"
    if free is None or needed <= free:
        return f"not enough memory: {text}; {remedy}"
    share = math.floor(95 * math.sqrt(free / needed))
    return (
        f"not enough memory: {text}, and there are {free / GIB:.1f} GiB; {remedy}, or reduce it to "
        f"{share} % of these sides"
    )


def find_remedy(model: nn.Module, name: str) -> str:
    """Returns what makes photos fit in memory: the options of the rule that set a size, a dtype."""
    sizes = [x for x, value in rule_options(name).items() if type(value) is int]
    remedies = [f"a smaller test_time.{x}" for x in sizes] or ["a smaller photo"]
    if getattr(model, "dtype", None) is None:
        remedies.append("compute_dtype=bfloat16")
    return f"pass {' or '.join(remedies)}"
