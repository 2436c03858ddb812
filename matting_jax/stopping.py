"""Graceful stop of a program by SIGTERM or Ctrl-C: finish the step or frame, save, exit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """A signal ended a program after its work was saved; `exit_code` is 128 + the signal's number.

    The message says what was saved.
    """

    def __init__(self, number: int, saved: str):
        self.exit_code = 128 + number
        super().__init__(f"{signal.Signals(number).name}: {saved}")


@contextmanager
def stop_signal(job: Callable[[int], bool] | None = None) -> Iterator[Callable[[int], int]]:
    """Catches the first SIGTERM or Ctrl-C within the block, then restores the previous handlers.

    A second signal therefore kills the run. Yields a function that returns the number of the signal
    that asks to stop after a step, or 0. In a job of several processes `job(step)` returns whether
    SIGTERM reached one of them and all are to stop after this step; no handler is installed then.
    """
    if job:
        yield lambda step: signal.SIGTERM if job(step) else 0
        return
    received, previous = [], {}

    def receive(number: int, frame: object) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    # Python allows handlers in the main thread only.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            # A signal may be ignored on purpose, as by `&` in a script.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, receive)
    try:
        yield lambda step: received[0] if received else 0
    finally:
        restore()
