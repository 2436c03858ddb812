"""Claims a folder for the run of one config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from matting_jax.config import flatten, read_config
from matting_jax.files import write_atomically
from matting_jax.models import create_model
from matting_jax.tasks import find_task

# Fields that may change when a run resumes: its cost, its output, and its number of steps.
# Schedules that end at `steps` then follow the new end.
FREE = (
    "steps",
    "log_every",
    "evaluate_every",
    "save_every",
    "preview_images",
    "allocator",
    "compilation_cache",
    "data.directory",
    "data.cache",
    "data.workers",
    "data.keep_decoded",
)


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the folder of this config, or checks that it is.

    Raises ValueError that lists all fields in which the run in the folder differs. Fields in FREE
    may differ; their new values are saved.
    """
    path = workdir / "config.json"
    if path.exists():
        new = flatten(config)
        old = added_fields(config) | flatten(read_config(workdir))
        differing = [
            f"{field} is {old.get(field)!r} there, {new.get(field)!r} here"
            for field in sorted(old.keys() | new.keys())
            if field not in FREE and old.get(field) != new.get(field)
        ]
        # A run that ended before its first checkpoint left nothing that could be mixed up.
        if differing and any((workdir / "checkpoints").glob("*[0-9]*")):
            raise ValueError(
                f"{workdir} holds a run of another config: choose another --workdir, or undo:\n  "
                + "\n  ".join(differing)
            )
    # A hidden file is a config that was being written when the program was killed.
    elif workdir.exists() and any(
        x.name != "evaluation" and not x.name.startswith(".") for x in workdir.iterdir()
    ):
        raise ValueError(f"{workdir} is not empty and holds no run: choose another --workdir")
    with write_atomically(path) as file:
        file.write_text(config.to_json(indent=2) + "\n")


def added_fields(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of fields of `config` that runs used before the fields existed."""
    model = create_model(config.name)
    keywords = {f"model.{name}": getattr(model, name, None) for name in config.model}
    return keywords | find_task(config.task.name).added
