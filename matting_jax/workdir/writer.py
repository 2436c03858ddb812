"""The logs of a run: metrics.jsonl, TensorBoard events, previews."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from matting_jax.files import append, write_atomically
from matting_jax.workdir.events import Events
from matting_jax.workdir.mirror import Mirror

# TensorBoard's names of values that are no term of the loss.
TAGS = {
    "loss": "loss/total",
    "learning_rate": "rate",
    "gradient_norm": "gradient_norm",
    "samples_per_second": "speed/samples_per_second",
    "data_wait": "speed/data_wait",
}


class Writer:
    """Writes scalars and pictures of one run into its workdir.

    `first_step` is the step from which the run resumes, or -1 for a new run. Lines of later steps,
    logged by a run that ended after its last checkpoint, are removed. With the name of a `project`
    everything is mirrored to Weights & Biases. All methods raise WriteError for a file that cannot
    be written, and leave it as it was.
    """

    def __init__(self, workdir: Path, first_step: int, project: str = ""):
        self.mirror = Mirror(workdir, project) if project else None
        self.workdir = workdir
        self.lines = workdir / "metrics.jsonl"
        if self.lines.exists():
            kept = [x for x in self.lines.read_text().splitlines() if step_of(x) <= first_step]
            with write_atomically(self.lines) as file:
                file.write_text("".join(line + "\n" for line in kept))
        self.events = Events(workdir / "events", first_step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one line of metrics.jsonl, and a TensorBoard scalar for each value.

        The line also has the `time`, in seconds since 1970.
        """
        values = {name: float(value) for name, value in values.items()}
        now = time.time()
        line = json.dumps({"step": step, "time": round(now, 3), **values}) + "\n"
        append(self.lines, line.encode())
        tagged = {tag(name): value for name, value in values.items()}
        self.events.scalars(step, tagged, now)
        if self.mirror:
            self.mirror.log(step, tagged)

    def preview(self, step: int, picture: np.ndarray) -> Path:
        """Writes a picture [H, W, 3] uint8 as previews/step_NNNNNN.png and returns its path."""
        path = self.workdir / "previews" / f"step_{step:06d}.png"
        with write_atomically(path) as file:
            Image.fromarray(picture).save(file)
        self.events.image(step, "preview", picture)
        if self.mirror:
            self.mirror.preview(step, picture)
        return path

    def close(self) -> None:
        """Closes the mirror; everything else is written already."""
        if self.mirror:
            self.mirror.close()


def tag(name: str) -> str:
    """Returns TensorBoard's name of a value, whose part before a slash is the group it is in."""
    if name.startswith("test_"):
        return name.replace("_", "/", 1)
    return TAGS.get(name, f"loss/{name}")


def step_of(line: str) -> int:
    """Returns the step of a line of metrics.jsonl, the largest integer for a truncated line."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return np.iinfo(np.int64).max
