"""Claims a folder for the run of one config, and for one program at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from ml_collections import ConfigDict

from matting_jax.addresses import check_workdir
from matting_jax.config import flatten, read_config
from matting_jax.files import write_atomically, writing
from matting_jax.models import create_model
from matting_jax.tasks import find_task

# Fields that may change when a run resumes: its cost, its output, and its number of steps.
# Schedules that end at `steps` then follow the new end.
FREE = (
    "steps",
    "log_every",
    "evaluate_every",
    "evaluate_first",
    "save_every",
    "preview_images",
    "profile_steps",
    "logging.wandb",
    "allocator",
    "compilation_cache",
    "data.directory",
    "data.cache",
    "data.workers",
    "data.keep_decoded",
    "data.keep_on_disk",
)
LOCK = ".lock"

logger = logging.getLogger("matting_jax")


@contextmanager
def claim_alone(workdir: Path, config: ConfigDict) -> Iterator[None]:
    """Claims `workdir` for this config, and for this program until the block ends.

    The lock is the operating system's, which releases that of a dead process. Raises ValueError as
    `claim` does, and if another program trains in the folder.
    """
    check_claim(workdir, config)
    lock = FileLock(workdir / LOCK)
    try:
        with writing(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"another program is training in {workdir}: wait until it ends, or choose another "
            "--workdir"
        ) from None
    try:
        claim(workdir, config)
        yield
    finally:
        lock.release()


def wait_until_free(workdir: Path) -> None:
    """Waits while another program trains in `workdir`, and says so."""
    if not (workdir / LOCK).exists():
        return
    lock = FileLock(workdir / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info(f"another program is training in {workdir}: waiting until it ends")
        lock.acquire()
    lock.release()


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes `workdir` the folder of this config, or checks that it is.

    Raises ValueError that lists all fields in which the run in the folder differs. Fields in FREE
    may differ; their new values are saved.
    """
    check_claim(workdir, config)
    with write_atomically(workdir / "config.json") as file:
        file.write_text(config.to_json(indent=2) + "\n")


def check_claim(workdir: Path, config: ConfigDict) -> None:
    """Raises ValueError if `workdir` cannot be that of `config`; see `claim`."""
    check_workdir(workdir)
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


def added_fields(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of fields of `config` that runs used before the fields existed."""
    model = create_model(config.name)
    keywords = {f"model.{name}": getattr(model, name, None) for name in config.model}
    return keywords | find_task(config.task.name).added
