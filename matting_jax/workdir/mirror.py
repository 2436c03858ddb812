"""Mirrors curves and previews of a run to Weights & Biases."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax.files import write_atomically

STEP = "step"  # the axis of all curves, since W&B's own counter cannot go back when a run resumes


class Mirror:
    """A run of W&B that belongs to a workdir; a resumed training resumes it.

    The environment variables of W&B count, such as WANDB_MODE=offline. Raises ImportError if wandb
    is not installed.
    """

    def __init__(self, workdir: Path, project: str):
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                "config.logging.wandb needs wandb: pip install 'matting_jax[wandb]'"
            ) from error
        self.image = wandb.Image
        self.run = wandb.init(
            project=project,
            id=identity(workdir / "wandb.txt"),
            name=workdir.name,
            dir=str(workdir),
            resume="allow",
            config=json.loads((workdir / "config.json").read_text()),
        )
        self.run.define_metric("*", step_metric=STEP)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Logs scalars by TensorBoard's names."""
        self.run.log({STEP: step, **values})

    def preview(self, step: int, picture: np.ndarray) -> None:
        """Logs a picture [H, W, 3] uint8."""
        self.run.log({STEP: step, "preview": self.image(picture)})

    def close(self) -> None:
        """Waits until everything is sent, or written where W&B is offline."""
        self.run.finish()


def identity(path: Path) -> str:
    """Returns the identifier in a file, which is written with a new one if it does not exist."""
    if not path.is_file():
        with write_atomically(path) as file:
            file.write_text(uuid.uuid4().hex[:12] + "\n")
    return path.read_text().strip()
