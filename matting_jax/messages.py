"""Log messages of the command line, which leave progress bars in one piece."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import absl.logging


class AboveBars(logging.StreamHandler):
    """Writes messages to stderr on lines of their own, above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a message."""
        from tqdm import tqdm

        tqdm.write(self.format(record), sys.stderr)


def configure_logging() -> None:
    """Shows the messages of matting_jax, and of other libraries only warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[AboveBars()])
    # XLA raises its errors; what it logs at this level is only that a compilation takes minutes.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax and TFDS log each of their steps
    logging.getLogger("matting_jax").setLevel(logging.INFO)
    warnings.formatwarning = lambda message, *_: f"{message}\n"  # without lines of code
    # Pillow warns of files that it reads all the same, or whose error message says why not.
    warnings.filterwarnings("ignore", module=r"PIL\.")
