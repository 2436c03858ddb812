"""The step after which all processes of a job stop together."""

from __future__ import annotations

import threading

PATIENCE = 60.0  # seconds that a process is held at most


class CommonStep:
    """The last step of one process, and how it learns after which step all stop.

    To agree, all processes are held where they are, each says its step, and all are released to
    stop after the step that follows the largest one, which none has passed. A process that is held
    waits without Python's lock. JAX's own agreement holds this lock while it waits, and stops the
    threads of `peers` that its messages need.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.step = 0
        self.held = False
        self.last: int | None = None

    def reached(self, step: int) -> bool:
        """Returns whether all stop after `step`, which this process has just finished."""
        with self.changed:
            self.step = step
            self.changed.wait_for(lambda: not self.held, PATIENCE)
            return self.last is not None and step >= self.last

    def hold(self) -> int:
        """Holds the process at the end of its current step; returns the last step reached."""
        with self.changed:
            self.held = True
            return self.step

    def release(self, last: int | None) -> None:
        """Releases the process, to stop after step `last`; None: to go on."""
        with self.changed:
            self.held, self.last = False, last
            self.changed.notify_all()
