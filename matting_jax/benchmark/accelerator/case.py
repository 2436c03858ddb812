"""A program to measure, and how it is compiled and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from matting_jax.models.cost import count

Row = dict[str, Any]
MIB = 2**20
ROUNDS = 5


def measure_calls(program: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Row:
    """Times calls whose arguments are on the device, one queued behind the other."""
    return {"milliseconds": 1e3 * median_seconds(lambda: program(*arguments), seconds)}


def median_seconds(call: Callable[[], Any], seconds: float) -> float:
    """Returns the seconds of one of many queued calls: the median of several rounds.

    Args:
        call: starts the computation and returns its results.
        seconds: about what all rounds take together.
    """
    jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    once = time.perf_counter() - start
    number = int(np.clip(seconds / ROUNDS / once, 1, 200))
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(number):
            results = call()
        jax.block_until_ready(results)
        rounds.append((time.perf_counter() - start) / number)
    return statistics.median(rounds)


def fill(shapes: Any, seed: int = 0) -> Any:
    """Returns arrays of the shapes of a tree, on their devices.

    Bytes and floats are uniform, and integers count from 0. Kernels keep the variance of
    activations, scales and variances are 1, biases and means 0, singular vectors have length 1.
    """
    rng = np.random.default_rng(seed)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = getattr(path[-1], "key", "")
        if leaf.dtype == np.uint8:
            x = rng.integers(0, 256, leaf.shape, np.uint8)
        elif np.issubdtype(leaf.dtype, np.integer):
            x = np.arange(np.prod(leaf.shape, dtype=int)).reshape(leaf.shape)
        elif name in ("scale", "var"):
            x = np.ones(leaf.shape)
        elif name in ("bias", "mean"):
            x = np.zeros(leaf.shape)
        else:
            x = rng.random(leaf.shape, np.float32)
        if name == "kernel":
            x = (x - 0.5) * np.sqrt(24 / np.prod(leaf.shape[:-1]))
        if name in ("u", "v"):
            x = x / np.linalg.norm(x)
        return jax.device_put(np.asarray(x, leaf.dtype), leaf.sharding)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@dataclass(frozen=True)
class Case:
    """A program with its arguments, not yet compiled.

    Attributes:
        part: the part of the benchmark that it belongs to.
        name: what distinguishes it within the part.
        function: a jitted function.
        shapes: its arguments, as trees of `jax.ShapeDtypeStruct`.
        measure: maps the compiled program, its arguments and the seconds for timing to figures.
        make: makes the arguments from their shapes.
        items: images in one call.
        precision: of matrix products, a value of `jax.default_matmul_precision`; None: the default.
    """

    part: str
    name: str
    function: Callable[..., Any]
    shapes: tuple[Any, ...]
    measure: Callable[[Callable[..., Any], tuple[Any, ...], float], Row] = measure_calls
    make: Callable[[Any], Any] = fill
    items: int = 1
    precision: str | None = None


def compile_case(case: Case) -> tuple[Any, Row]:
    """Compiles a case and returns the program with its compile time, memory and multiply-adds."""
    start = time.perf_counter()
    with jax.default_matmul_precision(case.precision):
        traced = case.function.trace(*case.shapes)
    program = traced.lower().compile()
    row = {"compile_seconds": time.perf_counter() - start}
    row["giga_multiply_adds"] = count(traced.jaxpr.jaxpr) / 1e9
    if memory := program.memory_analysis():
        row["temporary_mib"] = memory.temp_size_in_bytes / MIB
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes
        row["peak_mib"] = (memory.temp_size_in_bytes + held - memory.alias_size_in_bytes) / MIB
    return program, row


def time_case(case: Case, program: Any, compiled: Row, seconds: float) -> Row:
    """Returns all figures of a compiled case, timed for about `seconds`."""
    row = compiled | case.measure(program, case.make(case.shapes), seconds)
    if milliseconds := row.get("milliseconds"):
        row["per_second"] = 1e3 * case.items / milliseconds
        row["teraflops"] = 2 * row["giga_multiply_adds"] / milliseconds
    return row
