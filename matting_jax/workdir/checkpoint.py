"""Checkpoints of a workdir, by Orbax: asynchronous, whole or absent, the last ones and the best."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from matting_jax.workdir.damaged import in_short, none_readable, set_aside

# What says nothing about the files.
NOT_DAMAGE = (MemoryError, PermissionError, jax.errors.JaxRuntimeError)

logger = logging.getLogger("matting_jax")


def shortfall(metrics: dict[str, float]) -> float:
    """What the best checkpoint has least of: MAD, or for classes what the mean IoU lacks of 1."""
    return metrics["mad"] if "mad" in metrics else 1 - metrics["miou"]


def open_checkpoints(workdir: Path, *, reading: bool = False) -> ocp.CheckpointManager:
    """The checkpoints of `workdir`; keeps the last two, and the best of those evaluated.

    Those whose score cannot be read are set aside. For `reading` nothing is changed there, so that
    a run that writes is not disturbed.
    """
    best = managers.BestN(
        get_metric_fn=shortfall,
        reverse=True,
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(2), best]),
        # Without best_fn Orbax writes no metrics, and the next process knows of no best.
        best_fn=shortfall,
        best_mode="min",
        read_only=reading,
        cleanup_tmp_directories=not reading,
        lightweight_initialize=True,  # reads no scores, of which one that is damaged would raise
    )
    folder = Path(workdir).absolute() / "checkpoints"
    checkpoints = ocp.CheckpointManager(folder, options=options)
    if not reading:
        _, damaged = scores(checkpoints)
        set_aside(checkpoints, damaged)
    return checkpoints


def save(
    checkpoints: ocp.CheckpointManager, step: int, state: Any, metrics: dict[str, float] | None
) -> None:
    """Start writing `state` of `step`; `metrics` of an evaluation at this step, or None."""
    if step not in checkpoints.all_steps():
        checkpoints.save(step, args=ocp.args.StandardSave(state), metrics=metrics)


def restore(checkpoints: ocp.CheckpointManager, state: Any) -> Any:
    """The newest checkpoint in the shape and placement of `state`; None where there is none.

    Those that cannot be read are set aside in favour of one before them. Raises ValueError where
    none can be read.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    reader = ocp.Checkpointer(ocp.StandardCheckpointHandler())
    damaged = {}
    for step in sorted(checkpoints.all_steps(), reverse=True):
        try:
            restored = reader.restore(
                item(checkpoints, step), args=ocp.args.StandardRestore(abstract)
            )
        except NOT_DAMAGE:
            raise
        except Exception as error:  # Orbax, TensorStore and JSON have no error in common
            damaged[step] = in_short(error)
            continue
        set_aside(checkpoints, damaged, f"; training goes on from step {step}")
        return restored
    if sentence := none_readable(checkpoints, damaged):
        raise ValueError(f"{sentence}: move that folder away to begin anew")
    return None


def load_variables(workdir: Path) -> dict[str, Any]:
    """Flax variables of the best checkpoint of `workdir`, the moving average where one was kept.

    Where it cannot be read, those of the newest that can, with a warning. Raises FileNotFoundError
    where the folder holds no checkpoint, ValueError where none can be read.
    """
    if not (workdir / "config.json").is_file():
        raise FileNotFoundError(f"{workdir} is no workdir: it has no config.json")
    if not (workdir / "checkpoints").is_dir():
        raise FileNotFoundError(f"{workdir} has no checkpoint yet: train first")
    checkpoints = open_checkpoints(workdir, reading=True)
    found, damaged = scores(checkpoints)
    for step in best_first(checkpoints.all_steps(), found):
        try:
            variables = read_variables(item(checkpoints, step))
        except NOT_DAMAGE:
            raise
        except Exception as error:
            damaged[step] = in_short(error)
            continue
        damaged.pop(step, None)  # only its score cannot be read
        for other, reason in damaged.items():
            logger.warning(f"checkpoint {other} is damaged ({reason}); step {step} is taken")
        return variables
    if sentence := none_readable(checkpoints, damaged):
        raise ValueError(sentence)
    raise FileNotFoundError(f"{workdir} has no checkpoint yet: train first")


def read_variables(folder: Path) -> dict[str, Any]:
    """The network's variables in one checkpoint, its parameters from the moving average if kept."""
    reader = ocp.PyTreeCheckpointer()
    tree = reader.metadata(folder).item_metadata.tree
    wanted = {name: x for name, x in tree.items() if name not in ("step", "opt_state", "memory")}
    # As NumPy arrays: the devices that saved them need not exist here.
    as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    state = reader.restore(
        folder, args=ocp.args.PyTreeRestore(wanted, restore_args=as_arrays, partial_restore=True)
    )
    average = state.pop("ema")
    return state | {"params": average or state["params"]}


def best_first(steps: Iterable[int], found: dict[int, float]) -> list[int]:
    """All steps: the one with the least shortfall of those in `found`, then from the newest on."""
    best = min(reversed(found), key=found.get, default=None)  # of equals the newest, as Orbax keeps
    return sorted(steps, key=lambda step: (step != best, -step))


def scores(checkpoints: ocp.CheckpointManager) -> tuple[dict[int, float], dict[int, str]]:
    """{step: shortfall} of those evaluated, {step: reason} of those whose score cannot be read."""
    found, damaged = {}, {}
    for step in checkpoints.all_steps():
        try:
            metrics = checkpoints.metrics(step)
            if metrics is not None:
                found[step] = float(shortfall(metrics))
        except Exception as error:
            damaged[step] = in_short(error)
    return found, damaged


def item(checkpoints: ocp.CheckpointManager, step: int) -> Path:
    """The folder of the arrays of one step."""
    return checkpoints.directory / str(step) / "default"
