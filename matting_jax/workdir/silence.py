"""Hides what Orbax and TensorStore print about errors that are reported already."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def silence_orbax() -> None:
    """Hides messages of Orbax for the rest of the process, also where users import this library."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(is_shown)
    sys.unraisablehook = partial(report_unraisable, sys.unraisablehook)


def is_shown(record: logging.LogRecord) -> bool:
    """Returns whether a message is shown.

    Orbax warns of its own, intended, options, and logs the errors that it raises. Of several errors
    it raises one, and asyncio logs the others.
    """
    trace = traceback.extract_tb(record.exc_info[2]) if record.exc_info else ()
    files = [record.pathname, *(frame.filename for frame in trace)]
    return not any("orbax" in Path(file).parts for file in files)


def report_unraisable(report: Callable[[Any], None], unraisable: Any) -> None:
    """Calls `report` for an error that Python cannot raise, unless Orbax raises its cause.

    The first error of a save or of a restore closes Orbax's event loop, which TensorStore still
    calls for the other arrays.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        report(unraisable)
