"""The compiled programs of a network: one for each size of its inputs."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.errors import FlaxError
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from matting_jax.choices import one_of
from matting_jax.convert.tables import describe
from matting_jax.parallel import AXIS, local_mesh, replicate
from matting_jax.prediction.memory import explain, free_bytes, needed_bytes
from matting_jax.prediction.traces import traced

Inputs = Mapping[str, Any]
Function = Callable[[Any, Inputs, tuple[str, ...]], Any]

# Most programs that are kept for single calls, which no plan of a folder lists.
MOST_UNPLANNED = 32

logger = logging.getLogger("matting_jax")
thread = threading.local()  # thread.gathering: collects this thread's runs into batches, or None


class Program(NamedTuple):
    """Describes what one program computes.

    Attributes:
        heads: the outputs that it returns; () for all.
        shapes: the shape [N, H, W, C] of each input by name, sorted.
    """

    heads: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the inputs."""
        return self.shapes[0][1][1:3]

    @property
    def count(self) -> int:
        """The number of samples."""
        return self.shapes[0][1][0]

    def with_count(self, count: int) -> Program:
        """Returns the program of a batch of `count` samples."""
        return self._replace(shapes=tuple((x, (count, *shape[1:])) for x, shape in self.shapes))

    @property
    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The inputs, float32, as shapes."""
        return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in self.shapes}


class Programs:
    """Compiles `function(variables, inputs, heads)` once for each program that is needed.

    Threads may share it: if one compiles a program, the others wait for it. The samples of a batch
    are shared out among the devices of this process.

    Attributes:
        name: name of the network, for messages.
        variables: the variables that all programs are called with.
        sizes: all sizes, height and width, that were compiled.
        trace_file: returns the file of the trace of a program, or None; None: traces are not kept.
        memory: bytes that each program needs on a device in addition to its arguments.
        remedy: what users can do if a photo does not fit in memory.
        expected: number of programs that will be compiled, for messages; 0 if unknown.
        count_pixels: returns the pixels of a sample that the network of a program gets.
        planned: programs that `compile_ahead` frees. Of the others the last ones are kept.
    """

    def __init__(self, name: str, function: Function):
        self.name, self.function, self.variables = name, function, None
        self.sizes: set[tuple[int, int]] = set()
        self.trace_file: Callable[[Any, Program], Path | None] | None = None
        self.begun = self.expected = 0
        self.compiled: dict[Program, Future] = {}
        self.outputs: dict[Program, Any] = {}
        self.memory: dict[Program, int] = {}
        self.remedy = "pass a smaller photo"
        self.count_pixels: Callable[[Program], int] = lambda program: math.prod(program.size)
        self.planned: set[Program] = set()
        self.unplanned: dict[Program, None] = {}  # those that were used last are at the end
        self.copies: dict[int, tuple[Any, Any]] = {}
        self.lock = threading.Lock()

    def run(self, heads: tuple[str, ...], inputs: Inputs) -> Any:
        """Returns the outputs `heads` for inputs, float32 [N, H, W, C] by name.

        In a thread of `run_together` those of other threads run in the same batch.
        """
        if gathering := getattr(thread, "gathering", None):
            return gathering.run(self, heads, inputs)
        return self.run_single(heads, inputs)

    def run_single(self, heads: tuple[str, ...], inputs: Inputs) -> Any:
        """Returns what `run` returns, without others.

        Raises MemoryError, with what would make it fit, if the device has too little memory.
        """
        program = program_of(heads, inputs)
        compiled = self.compile(program)
        if program not in self.memory:
            self.memory[program] = needed_bytes(compiled)
        free = free_bytes(jax.local_devices()[0])
        if free is not None and self.memory[program] > free:
            raise MemoryError(self.explain(program, free))
        try:
            return compiled(self.variables_of(program), inputs)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise MemoryError(self.explain(program, None)) from error

    def explain(self, program: Program, free: int | None) -> str:
        """Returns why a program does not fit in `free` bytes, and what would make it fit."""
        return explain(self.name, program.size, self.memory[program], free, self.remedy)

    def run_batch(self, heads: tuple[str, ...], samples: Sequence[Inputs], size: int) -> list[Any]:
        """Returns the outputs `heads` of each sample, whose inputs have the same shapes [1, ...].

        They run in one batch of `size`, for which the last one is repeated.
        """
        padded = [*samples, *[samples[-1]] * (size - len(samples))]
        inputs = {name: np.concatenate([x[name] for x in padded]) for name in samples[0]}
        outputs = jax.tree.map(np.asarray, self.run_single(heads, inputs))
        return [jax.tree.map(lambda x, i=i: x[i : i + 1], outputs) for i in range(len(samples))]

    def is_compiled(self, heads: tuple[str, ...], inputs: Inputs) -> bool:
        """Returns whether the program of `run` was compiled, or is being compiled."""
        return program_of(heads, inputs) in self.compiled

    def compile(self, program: Program) -> Callable[..., Any]:
        """Compiles a program unless it is, and returns it as a function(variables, inputs)."""
        with self.lock:
            if program not in self.planned:
                self.keep_last(program)
            future = self.compiled.get(program)
            is_new = future is None
            if is_new:
                future = self.compiled[program] = Future()
                self.sizes.add(program.size)
                self.begun += 1
                number = f" ({self.begun} of {self.expected})" if self.expected > 1 else ""
        if is_new:
            try:
                future.set_result(self.compile_and_log(program, number))
            except BaseException as error:
                self.drop(program)
                future.set_exception(error)
        return future.result()

    def compile_and_log(self, program: Program, number: str) -> Callable[..., Any]:
        """Compiles a program, or loads it from JAX's cache, and logs the time."""
        what = f"{self.name} for {program.size[0]} x {program.size[1]}"
        if program.count > 1:
            what += f", {program.count} photos at a time,"
        logger.info("compiling %s%s", what, number)
        start = time.perf_counter()
        compiled = self.traced(program).lower(self.variables_of(program), program.inputs).compile()
        logger.info("compiled %s in %.1f s", what, time.perf_counter() - start)
        return compiled

    def jit(self, program: Program) -> Any:
        """Returns the jitted function of a program, mapped over several devices for a batch."""
        function, mesh = self.function_of(program), local_mesh(program.count)
        if mesh.size == 1:
            return jax.jit(function)
        specs = P(), P(AXIS)
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False
        )
        return jax.jit(mapped, in_shardings=tuple(NamedSharding(mesh, x) for x in specs))

    def variables_of(self, program: Program) -> Any:
        """Returns the variables on the devices of a program."""
        mesh = local_mesh(program.count)
        if mesh.size == 1:
            return self.variables
        with self.lock:
            source, copy = self.copies.get(mesh.size, (None, None))
            if source is not self.variables:
                copy = replicate(self.variables, mesh)
                self.copies[mesh.size] = self.variables, copy
            return copy

    def traced(self, program: Program) -> Any:
        """Returns the jitted function of a program, from its kept trace if there is one."""
        file = self.trace_file and self.trace_file(self.variables, program)
        if not file or local_mesh(program.count).size > 1:
            return self.jit(program)
        return traced(self.function_of(program), self.variables, program.inputs, file)

    def function_of(self, program: Program) -> Callable[[Any, Inputs], Any]:
        """Returns a new function for a program, so that JAX's caches for it are freed with it."""
        return lambda variables, inputs: self.function(variables, inputs, program.heads)

    def keep_last(self, program: Program) -> None:
        """Keeps the last MOST_UNPLANNED programs that no plan lists, now including `program`."""
        self.unplanned.pop(program, None)
        self.unplanned[program] = None
        if len(self.unplanned) > MOST_UNPLANNED:
            oldest = next(iter(self.unplanned))
            del self.unplanned[oldest]
            self.compiled.pop(oldest, None)

    def plan(self, program: Program) -> None:
        """Keeps a program until it is dropped."""
        with self.lock:
            self.planned.add(program)
            self.unplanned.pop(program, None)

    def drop(self, program: Program) -> None:
        """Frees a program."""
        with self.lock:
            self.compiled.pop(program, None)
            self.planned.discard(program)
            self.unplanned.pop(program, None)

    def output(self, heads: tuple[str, ...], inputs: Inputs) -> Any:
        """Returns the shapes and dtypes of the outputs for inputs, and runs nothing."""
        program = program_of(heads, inputs)
        if program not in self.outputs:
            self.outputs[program] = self.jit(program).eval_shape(self.variables, program.inputs)
        return self.outputs[program]


def program_of(heads: tuple[str, ...], inputs: Inputs) -> Program:
    """Returns the program of the outputs `heads` for inputs, arrays by name."""
    return Program(heads, tuple((name, tuple(inputs[name].shape)) for name in sorted(inputs)))


class Needed(NamedTuple):
    """A program that will be called, and where it is kept; equal for equal programs."""

    programs: Programs
    program: Program

    def with_all_heads(self) -> Needed:
        """Returns the program of the same inputs that returns all outputs."""
        return self._replace(program=self.program._replace(heads=()))

    def with_count(self, count: int) -> Needed:
        """Returns the program of a batch of `count` samples."""
        return self._replace(program=self.program.with_count(count))

    @property
    def pixels(self) -> int:
        """The pixels of a sample that the network gets."""
        return self.programs.count_pixels(self.program)

    def compile(self) -> None:
        """Compiles the program unless it is, and keeps it until it is dropped."""
        self.programs.plan(self.program)
        self.programs.compile(self.program)

    def drop(self) -> None:
        """Frees the program."""
        self.programs.drop(self.program)


def expect(programs: Iterable[Needed]) -> None:
    """Logs at how many sizes each network will be compiled, without those that are."""
    new = {needed for needed in programs if needed.program not in needed.programs.compiled}
    counts = Counter(needed.programs for needed in new)
    for programs, count in counts.items():
        programs.begun, programs.expected = 0, count
        if count > 1:
            logger.info("the photos need %s at %d sizes, each compiled once", programs.name, count)


def select_heads(
    model: nn.Module, name: str, variables: Any, inputs: Inputs, heads: tuple[str, ...]
) -> Any:
    """Returns the outputs `heads` of the network side by side, [N, h, w, C], or all by name.

    XLA drops what only the other heads need. Raises ValueError for variables that do not fit.
    """
    try:
        outputs = model.apply(variables, **inputs)
    except FlaxError as error:
        fault = str(error).partition(" (http")[0]
        raise ValueError(f"these are not the variables of {describe(model)}: {fault}") from error
    if not heads:
        return outputs
    return jnp.concatenate(
        [outputs[one_of(x, outputs, f"output of this {name}")] for x in heads], -1
    )
