"""Checkpoints of a workdir, by Orbax: asynchronous, whole or absent, the last ones and the best."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

METRIC = "mad"  # what the best checkpoint has least of, on the test data


def open_checkpoints(workdir: Path, *, reading: bool = False) -> ocp.CheckpointManager:
    """The checkpoints of `workdir`; keeps the last two, and the best of those evaluated.

    For `reading` nothing is changed there, so that a run that writes is not disturbed.
    """
    best = managers.BestN(
        get_metric_fn=lambda metrics: metrics[METRIC],
        reverse=True,
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(2), best]),
        # Without best_fn Orbax writes no metrics, and the next process knows of no best.
        best_fn=lambda metrics: metrics[METRIC],
        best_mode="min",
        read_only=reading,
        cleanup_tmp_directories=not reading,
    )
    return ocp.CheckpointManager(Path(workdir).absolute() / "checkpoints", options=options)


def save(
    checkpoints: ocp.CheckpointManager, step: int, state: Any, metrics: dict[str, float] | None
) -> None:
    """Start writing `state` of `step`; `metrics` of an evaluation at this step, or None."""
    if step not in checkpoints.all_steps():
        checkpoints.save(step, args=ocp.args.StandardSave(state), metrics=metrics)


def restore(checkpoints: ocp.CheckpointManager, state: Any) -> Any:
    """The newest checkpoint in the shape and placement of `state`; None where there is none."""
    step = checkpoints.latest_step()
    if step is None:
        return None
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    return checkpoints.restore(step, args=ocp.args.StandardRestore(abstract))


def best_step(checkpoints: ocp.CheckpointManager) -> int | None:
    """The step with the least MAD of those evaluated, else the newest, else None."""
    scores = {
        step: metrics[METRIC]
        for step in checkpoints.all_steps()
        if (metrics := checkpoints.metrics(step)) is not None
    }
    return min(scores, key=scores.get) if scores else checkpoints.latest_step()


def load_variables(workdir: Path) -> dict[str, Any]:
    """Flax variables of the best checkpoint of `workdir`, the moving average where one was kept.

    Raises FileNotFoundError where the folder holds no checkpoint.
    """
    if not (workdir / "config.json").is_file():
        raise FileNotFoundError(f"{workdir} is no workdir: it has no config.json")
    if not (workdir / "checkpoints").is_dir():
        raise FileNotFoundError(f"{workdir} has no checkpoint yet: train first")
    checkpoints = open_checkpoints(workdir, reading=True)
    step = best_step(checkpoints)
    if step is None:
        raise FileNotFoundError(f"{workdir} has no checkpoint yet: train first")
    reader = ocp.PyTreeCheckpointer()
    folder = checkpoints.directory / str(step) / "default"
    tree = reader.metadata(folder).item_metadata.tree
    wanted = {name: tree[name] for name in ("params", "batch_stats", "ema")}
    # As NumPy arrays: the devices that saved them need not exist here.
    as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    state = reader.restore(
        folder, args=ocp.args.PyTreeRestore(wanted, restore_args=as_arrays, partial_restore=True)
    )
    return {"params": state["ema"] or state["params"], "batch_stats": state["batch_stats"]}
