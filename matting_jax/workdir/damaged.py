"""Checkpoints that cannot be read: put into words, and out of the way."""

from __future__ import annotations

import itertools
import logging
import textwrap
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

PREFIX = "damaged_"  # Orbax takes no folder of such a name for a checkpoint

logger = logging.getLogger("matting_jax")


def in_short(error: Exception) -> str:
    """The beginning of an error's text: TensorStore's holds whole specifications."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" ...")


def set_aside(checkpoints: ocp.CheckpointManager, damaged: dict[int, str], then: str = "") -> None:
    """Rename the folders of {step: reason}, so that their steps can be saved again, and say so.

    All processes must call it; they see the same files, so they found the same damage.
    """
    if jax.process_index() == 0:
        for step, reason in damaged.items():
            aside = free_name(checkpoints.directory, step)
            (checkpoints.directory / str(step)).rename(aside)
            logger.warning(f"checkpoint {step} is damaged ({reason}): now {aside.name}{then}")
    multihost_utils.sync_global_devices("damaged checkpoints are set aside")
    checkpoints.reload()


def free_name(folder: Path, step: int) -> Path:
    """Where a damaged checkpoint of `step` may lie; the same step can be damaged again."""
    more = (f"{PREFIX}{step}_{number}" for number in itertools.count(2))
    names = itertools.chain([f"{PREFIX}{step}"], more)
    return next(folder / name for name in names if not (folder / name).exists())


def none_readable(checkpoints: ocp.CheckpointManager, damaged: dict[int, str]) -> str:
    """The sentence for a folder whose checkpoints are all damaged, now or before; "" for others."""
    found = [f"{step}: {reason}" for step, reason in damaged.items()]
    found += sorted(path.name for path in checkpoints.directory.glob(f"{PREFIX}*"))
    if not found:
        return ""
    return f"no checkpoint in {checkpoints.directory} can be read ({'; '.join(found)})"
