"""Graceful stop of a program by SIGTERM or Ctrl-C: finish the step or frame, save, exit."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from matting_jax import peers

GRACE = 2.0  # seconds that a process has to end by itself after a second signal
ENDING = threading.Event()  # set where `end_with` ends the process


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


def watch_signals(program: str) -> None:
    """Ends the process soon after a second SIGTERM or Ctrl-C, whatever its main thread does.

    Python's handlers run in the main thread, which may compile for minutes. `program` is the name
    to report.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        received = 0
        while received < 2:
            (number,) = os.read(read, 1)
            received += number in (signal.SIGTERM, signal.SIGINT)
        time.sleep(GRACE)
        sys.stderr.write(f"{program}: stopped\n")
        sys.stderr.flush()
        os._exit(128 + number)

    threading.Thread(target=watch, daemon=True).start()


def keep_from_interrupts() -> None:
    """Lets Ctrl-C interrupt nothing more in a program that `end_with` ends.

    What is left to run are destructors, in which Python would print an interrupt as a traceback.
    The thread of `watch_signals` still ends a program in which they wait.
    """
    if ENDING.is_set():
        signal.signal(signal.SIGINT, lambda number, frame: None)


def end_with(run: Callable[[], int]) -> NoReturn:
    """Ends the process with the exit code of `run`, without waiting for what threads left undone.

    Python would wait for threads, and then destroy objects that wait: a save that a second Ctrl-C
    breaks off does both. Functions that were registered to run at exit after this one, run.
    """
    codes: list[int] = []
    ENDING.set()
    atexit.register(skip_destructors, codes)
    codes.append(run())
    peers.end_failed(codes[0])
    if codes[0] == 128 + signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a traceback of Python's exit helps nobody
        timer = threading.Timer(GRACE, os._exit, codes)
        timer.daemon = True
        timer.start()
    sys.exit(codes[0])


def skip_destructors(codes: list[int]) -> None:
    """Ends the process with the exit code in `codes`, if there is one.

    Not in a job of several processes, whose parts JAX ends together.
    """
    jax = sys.modules.get("jax")
    if codes and not (jax and jax.distributed.is_initialized()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])
