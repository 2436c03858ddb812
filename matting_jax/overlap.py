"""Overlaps reading, computing and writing in threads, in order and with few items in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# At most so many pixels are finished at a time, about 100 bytes each; a larger photo alone.
MOST_PIXELS = 2**26


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_ahead(load: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Future]]:
    """Yields each item with a future of `load(item)`; one more is loaded in a thread meanwhile."""
    pool, waiting = ThreadPoolExecutor(1), deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(load, item)))
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
    workers = min(max(cores() - 1, 1), 4)
    pool, finishing = ThreadPoolExecutor(workers), deque()
    try:
        for item, loaded in load_ahead(load, items):
            size = 0
            try:
                value = compute(item, loaded.result())
                size = pixels(value)
                future = pool.submit(finish, item, value)
            except Exception as error:
                future = Future()
                future.set_exception(error)
            finishing.append((item, future, size))
            while len(finishing) > workers or sum(x[2] for x in finishing) > MOST_PIXELS:
                yield finishing.popleft()[:2]
        while finishing:
            yield finishing.popleft()[:2]
    finally:
        pool.shutdown(cancel_futures=True)
