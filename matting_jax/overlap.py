"""Overlaps reading, computing and writing in threads, in order and with few items in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# Most pixels that are finished at a time, about 100 bytes each; a larger photo is finished alone.
MOST_PIXELS = 2**26


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def attempt(function: Callable[..., Any], *arguments: Any) -> Future:
    """Calls a function now, and returns a future of its result or its error."""
    future = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def load_ahead(load: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Future]]:
    """Yields each item with a future of `load(item)`; one more is loaded in a thread meanwhile."""
    for (item,), (loaded,) in load_batches_ahead(load, ([item] for item in items)):
        yield item, loaded


def load_batches_ahead(
    load: Callable[[T], Any], batches: Iterable[Sequence[T]], readers: int = 1
) -> Iterator[tuple[Sequence[T], list[Future]]]:
    """Yields each batch with futures of `load(item)`; one more is loaded in threads meanwhile."""
    pool, waiting = ThreadPoolExecutor(readers), deque()
    try:
        for batch in batches:
            waiting.append((batch, [pool.submit(load, item) for item in batch]))
            if len(waiting) > 1:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def overlap(
    items: Iterable[T],
    load: Callable[[T], Any],
    compute: Callable[[T, Any], Any],
    finish: Callable[[T, Any], Any],
    pixels: Callable[[Any], int] = lambda value: 0,
) -> Iterator[tuple[T, Future]]:
    """Yields each item with a future of finish(item, compute(item, load(item))), in order.

    The next item is loaded, and those before are finished, in threads while this one is computed.

    Args:
        items: read one ahead.
        load: called in a thread, for one item at a time.
        compute: called in the caller's thread.
        finish: called in threads, one less than there are cores, at most four.
        pixels: size of what is computed, which limits how many are finished at a time.
    """

    def compute_batch(batch: Sequence[T], loaded: Sequence[Future]) -> list[Future]:
        return [attempt(lambda: compute(batch[0], loaded[0].result()))]

    return overlap_batches(([item] for item in items), load, compute_batch, finish, pixels)


def overlap_batches(
    batches: Iterable[Sequence[T]],
    load: Callable[[T], Any],
    compute: Callable[[Sequence[T], Sequence[Future]], Sequence[Future]],
    finish: Callable[[T, Any], Any],
    pixels: Callable[[Any], int] = lambda value: 0,
    readers: int = 1,
    computers: int = 1,
) -> Iterator[tuple[T, Future]]:
    """Does what `overlap` does, with `compute` for a whole batch.

    Args:
        batches: read one ahead.
        load: called in `readers` threads.
        compute: takes a batch and a future of each loaded item, and returns a future of each
            result; called in the caller's thread, or in `computers` threads if they are several.
        finish: called in threads for each item.
        pixels: size of what is computed of an item.
        readers: number of threads that load.
        computers: number of batches that are computed at a time: the second is sent to the device
            before the first has come back.
    """
    workers = min(max(cores() - 1, 1), max(4, readers))
    pool, finishing = ThreadPoolExecutor(workers), deque()
    loaded = load_batches_ahead(load, batches, readers)
    try:
        for batch, results in compute_ahead(compute, loaded, computers):
            for item, computed in zip(batch, results, strict=True):
                size = 0
                try:
                    value = computed.result()
                    size = pixels(value)
                    future = pool.submit(finish, item, value)
                except Exception as error:
                    future = Future()
                    future.set_exception(error)
                finishing.append((item, future, size))
                most = workers + len(batch) - 1
                while len(finishing) > most or sum(x[2] for x in finishing) > MOST_PIXELS:
                    yield finishing.popleft()[:2]
        while finishing:
            yield finishing.popleft()[:2]
    finally:
        pool.shutdown(cancel_futures=True)


def compute_ahead(
    compute: Callable[[Sequence[T], Sequence[Future]], Sequence[Future]],
    loaded: Iterable[tuple[Sequence[T], Sequence[Future]]],
    computers: int,
) -> Iterator[tuple[Sequence[T], Sequence[Future]]]:
    """Yields each batch with what `compute` returns, in order; takes what `overlap_batches` takes.

    With several `computers` as many batches are computed at a time, else one in this thread.
    """
    if computers == 1:
        for batch, futures in loaded:
            yield batch, compute(batch, futures)
        return
    pool, computing = ThreadPoolExecutor(computers), deque()
    try:
        for batch, futures in loaded:
            computing.append((batch, pool.submit(compute, batch, futures)))
            if len(computing) == computers:
                batch, results = computing.popleft()
                yield batch, results.result()
        for batch, results in computing:
            yield batch, results.result()
    finally:
        pool.shutdown(cancel_futures=True)
