"""SIGTERM and Ctrl-C in a training run: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """A signal ended a run after its state was saved; `exit_code` is 128 + the signal's number."""

    def __init__(self, number: int, step: int, steps: int):
        self.exit_code = 128 + number
        name = signal.Signals(number).name
        super().__init__(f"{name}: saved at step {step} of {steps}; the same command goes on")


@contextmanager
def listening(job: Callable[[int], bool] | None = None) -> Iterator[Callable[[int], int]]:
    """Gives `asked(step)`: the number of the signal that asks to stop after `step`, or 0.

    The first SIGTERM or Ctrl-C inside the block is noted; from then on, and after the block, both
    do what they did before. In a job of several processes `job(step)` says whether SIGTERM reached
    one of them and all are to stop after this step; no handler is installed then.
    """
    if job:
        yield lambda step: signal.SIGTERM if job(step) else 0
        return
    noted, before = [], {}

    def note(number: int, frame: object) -> None:
        noted.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():  # in others Python allows no handlers
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # as behind `&` in a script
                before[number] = signal.signal(number, note)
    try:
        yield lambda step: noted[0] if noted else 0
    finally:
        restore()
