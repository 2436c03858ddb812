"""Mirrors curves and previews of a run to Weights & Biases."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax.files import write_atomically

logger = logging.getLogger("matting_jax")

STEP = "step"  # the axis of all curves, since W&B's own counter cannot go back when a run resumes


class Mirror:
    """A run of W&B that belongs to a workdir; a resumed training resumes it.

    The environment variables of W&B count, such as WANDB_MODE=offline. A run that has started goes
    on without W&B if that fails, with a warning. Raises ImportError if wandb is not installed, and
    ValueError if it cannot start, as without a key.
    """

    def __init__(self, workdir: Path, project: str):
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                "config.logging.wandb needs wandb: pip install 'matting_jax[wandb]'"
            ) from error
        self.image, self.workdir = wandb.Image, workdir
        name = identity(workdir / "wandb.txt")
        try:
            self.run = wandb.init(
                project=project,
                id=name,
                name=workdir.name,
                dir=str(workdir),
                resume="allow",
                config=json.loads((workdir / "config.json").read_text()),
            )
            self.run.define_metric("*", step_metric=STEP)
        except Exception as error:  # of wandb, its server and the disk, without a common base
            raise ValueError(
                f"Weights & Biases cannot start for config.logging.wandb={project} "
                f"({reason_of(error)}): set WANDB_API_KEY or run `wandb login`; WANDB_MODE=offline "
                f"needs no account and keeps the curves in {workdir / 'wandb'}; "
                "--config.logging.wandb= omits them"
            ) from error

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Logs scalars by TensorBoard's names."""
        self.attempt(lambda: self.run.log({STEP: step, **values}))

    def preview(self, step: int, picture: np.ndarray) -> None:
        """Logs a picture [H, W, 3] uint8."""
        self.attempt(lambda: self.run.log({STEP: step, "preview": self.image(picture)}))

    def close(self) -> None:
        """Waits until everything is sent, or written where W&B is offline."""
        self.attempt(lambda: self.run.finish())

    def attempt(self, send: Callable[[], Any]) -> None:
        """Calls `send`; after its first error nothing is mirrored any more."""
        if self.run is None:
            return
        try:
            send()
        except Exception as error:  # curves are in the workdir too, and a training is worth more
            logger.warning(
                f"Weights & Biases fails ({reason_of(error)}): the curves of {self.workdir} are "
                "only in metrics.jsonl and events from now on"
            )
            self.run = None


def reason_of(error: Exception) -> str:
    """Returns why something failed, in one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def identity(path: Path) -> str:
    """Returns the identifier in a file, which is written with a new one if it does not exist."""
    if not path.is_file():
        with write_atomically(path) as file:
            file.write_text(uuid.uuid4().hex[:12] + "\n")
    return path.read_text().strip()
