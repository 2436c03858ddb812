"""Calls that run a network at the same time pass through it as one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax

from matting_jax.overlap import attempt
from matting_jax.prediction.batches import Batch
from matting_jax.prediction.programs import Programs, program_of, thread

T = TypeVar("T")


def run_together(calls: Sequence[Callable[[], T]], size: int) -> list[Future]:
    """Calls functions in threads, and returns a future of each result, all of them done.

    A function that runs a program waits until the others run theirs. Those of equal programs then
    run as one batch, so that a test-time rule needs to know of one photo only.

    Args:
        calls: the functions.
        size: number of samples of the batch, at least that of the calls; the last sample is
            repeated.
    """
    gathering = Gathering(len(calls), size)
    with ThreadPoolExecutor(len(calls)) as pool:
        return [pool.submit(gathering.call, call) for call in calls]


def compute_batch(
    function: Callable[[Any, Any], T], batch: Batch, loaded: Sequence[Future]
) -> list[Future]:
    """Returns a future of `function(item, loaded item)` for each item of a batch, all of them done.

    Args:
        function: runs a network. Items that were not loaded get the error of that instead.
        batch: the items.
        loaded: each of them, in progress.
    """
    if batch.size == 1:
        return [attempt(lambda: function(batch.items[0], loaded[0].result()))]
    ready = [future.exception() is None for future in loaded]  # waits for all of them
    calls = [
        partial(function, item, future.result())
        for item, future, is_loaded in zip(batch, loaded, ready, strict=True)
        if is_loaded
    ]
    computed = iter(run_together(calls, batch.size) if calls else ())
    return [
        next(computed) if is_loaded else future
        for future, is_loaded in zip(loaded, ready, strict=True)
    ]


class Run(NamedTuple):
    """A run of a program that waits for others."""

    programs: Programs
    heads: tuple[str, ...]
    inputs: Mapping[str, Any]
    result: Future


class Gathering:
    """Collects the runs of `members` threads into batches of `size` samples."""

    def __init__(self, members: int, size: int):
        self.members, self.size = members, size
        self.waiting: list[Run] = []
        self.lock = threading.Lock()

    def call(self, function: Callable[[], T]) -> T:
        """Calls a function of one member."""
        thread.gathering = self
        try:
            return function()
        finally:
            thread.gathering = None
            with self.lock:
                self.members -= 1
            self.run_if_all_wait()

    def run(self, programs: Programs, heads: tuple[str, ...], inputs: Mapping[str, Any]) -> Any:
        """Returns what `programs.run` returns, once all members wait for theirs."""
        run = Run(programs, heads, inputs, Future())
        with self.lock:
            self.waiting.append(run)
        self.run_if_all_wait()
        return run.result.result()

    def run_if_all_wait(self) -> None:
        """Runs what all members wait for, in the thread of the last one."""
        with self.lock:
            if len(self.waiting) < self.members:
                return
            runs, self.waiting = self.waiting, []
        equal: dict[Any, list[Run]] = {}
        for run in runs:
            key = (run.programs, program_of(run.heads, run.inputs))
            equal.setdefault(key, []).append(run)
        for (programs, program), group in equal.items():
            # Among photos of many sizes, often no two need the same program.
            if len(group) == 1 and program.with_count(self.size) not in programs.compiled:
                run_singly(group)
                continue
            try:
                results = programs.run_batch(
                    program.heads, [run.inputs for run in group], self.size
                )
            except (MemoryError, jax.errors.JaxRuntimeError):
                run_singly(group)
            except BaseException as error:
                for run in group:
                    run.result.set_exception(error)
            else:
                for run, result in zip(group, results, strict=True):
                    run.result.set_result(result)


def run_singly(runs: Sequence[Run]) -> None:
    """Runs what does not fit in memory as a batch, or is none, one by one."""
    for run in runs:
        try:
            run.result.set_result(run.programs.run_single(run.heads, run.inputs))
        except BaseException as error:
            run.result.set_exception(error)
