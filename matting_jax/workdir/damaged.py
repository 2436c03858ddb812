"""Damaged checkpoints: their error messages, and how they are renamed."""

from __future__ import annotations

import itertools
import logging
import textwrap
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

PREFIX = "damaged_"  # Orbax ignores folders with such a name

logger = logging.getLogger("matting_jax")


def shorten(error: Exception) -> str:
    """Returns the start of an error message, since TensorStore's hold whole specifications."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" ...")


def rename_damaged(
    checkpoints: ocp.CheckpointManager, damaged: dict[int, str], consequence: str = ""
) -> None:
    """Renames the folders of {step: reason}, so that their steps can be saved again, and warns.

    All processes must call it with the same `damaged`. `consequence` ends the warnings.
    """
    if jax.process_index() == 0:
        for step, reason in damaged.items():
            new = unused_path(checkpoints.directory, step)
            (checkpoints.directory / str(step)).rename(new)
            logger.warning(f"checkpoint {step} is damaged ({reason}): now {new.name}{consequence}")
    multihost_utils.sync_global_devices("damaged checkpoints are renamed")
    checkpoints.reload()


def unused_path(folder: Path, step: int) -> Path:
    """Returns a new name for the damaged checkpoint of `step`, which may be damaged repeatedly."""
    more = (f"{PREFIX}{step}_{number}" for number in itertools.count(2))
    names = itertools.chain([f"{PREFIX}{step}"], more)
    return next(folder / name for name in names if not (folder / name).exists())


def all_damaged_message(checkpoints: ocp.CheckpointManager, damaged: dict[int, str]) -> str:
    """Returns the error message for a folder with only damaged checkpoints, "" if it has none.

    Lists {step: reason} of `damaged`, and those renamed earlier.
    """
    found = [f"{step}: {reason}" for step, reason in damaged.items()]
    found += sorted(path.name for path in checkpoints.directory.glob(f"{PREFIX}*"))
    if not found:
        return ""
    return f"no checkpoint in {checkpoints.directory} can be read ({'; '.join(found)})"
