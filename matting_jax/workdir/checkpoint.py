"""Checkpoints of a workdir by Orbax: asynchronous, atomic, the last two and the best are kept."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import linen as nn
from flax import traverse_util
from orbax.checkpoint import checkpoint_managers as managers

from matting_jax.choices import check_finite
from matting_jax.config import read_config
from matting_jax.files import no_room
from matting_jax.models import create_model, name_of
from matting_jax.tasks import find_task
from matting_jax.workdir import checksums
from matting_jax.workdir.damaged import all_damaged_message, rename_damaged, shorten
from matting_jax.workdir.silence import silence_orbax

# The score that the best checkpoint minimises, computed from all scores of an evaluation.
Score = Callable[[Mapping[str, float]], float]

# Errors that do not mean that a file is damaged.
NOT_DAMAGE = (MemoryError, PermissionError, jax.errors.JaxRuntimeError)

logger = logging.getLogger("matting_jax")
silence_orbax()


def open_checkpoints(
    workdir: Path, score: Score, *, reading: bool = False
) -> ocp.CheckpointManager:
    """Opens the checkpoints of `workdir`; the last two and the one of the lowest `score` are kept.

    Checkpoints whose scores cannot be read are renamed. With `reading` nothing in the folder is
    changed, so that a running training is not disturbed.
    """
    best = managers.BestN(
        get_metric_fn=score,
        reverse=True,
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(2), best]),
        # Without best_fn Orbax writes no metrics, and a resumed run would not find the best.
        best_fn=score,
        best_mode="min",
        read_only=reading,
        cleanup_tmp_directories=not reading,
        lightweight_initialize=True,  # reads no metrics, since damaged ones would raise
    )
    folder = Path(workdir).absolute() / "checkpoints"
    checkpoints = ocp.CheckpointManager(folder, options=options)
    if not reading:
        _, damaged = read_scores(checkpoints, score)
        rename_damaged(checkpoints, damaged)
    return checkpoints


def save(
    checkpoints: ocp.CheckpointManager,
    step: int,
    state: Any,
    metrics: dict[str, float] | None,
    network: Mapping[str, str] | None = None,
) -> None:
    """Starts writing a state.

    Args:
        checkpoints: those of the workdir.
        step: number of the step.
        state: what to save.
        metrics: scores of this step, if it was evaluated.
        network: `checksums.LAYOUT`, the layout of the network's variables, and `checksums.NETWORK`,
            its description, by which a reader knows that they fit without tracing the network.
    """
    if step not in checkpoints.all_steps():
        metadata = {checksums.KEY: checksums.checksums(state), **(network or {})}
        with plain_errors(checkpoints):  # also of the save before, which is finished first
            checkpoints.save(
                step,
                args=ocp.args.StandardSave(state),
                metrics=metrics,
                custom_metadata=metadata,
            )


class SaveError(OSError):
    """A checkpoint could not be saved; the message says where, and why."""


@contextmanager
def plain_errors(checkpoints: ocp.CheckpointManager) -> Iterator[None]:
    """Raises SaveError for errors of a save in the block: those of Orbax are pages long."""
    try:
        yield
    except Exception as error:  # Orbax, TensorStore and the file system have no common base
        reason = no_room(error) or shorten(error)
        raise SaveError(
            f"a checkpoint could not be saved in {checkpoints.directory}: {reason}; the ones "
            "before it are whole"
        ) from error


@contextmanager
def finish_saves(checkpoints: ocp.CheckpointManager) -> Iterator[None]:
    """Finishes the saves that began in the block, whatever ends it.

    Only a KeyboardInterrupt, which a second Ctrl-C raises, ends immediately. A save that fails
    after another error is reported, and the other error is raised.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as ended:
        try:
            with plain_errors(checkpoints):
                checkpoints.wait_until_finished()
        except SaveError as error:
            if not isinstance(ended, SaveError):
                logger.warning(f"{error}")
        raise
    with plain_errors(checkpoints):
        checkpoints.wait_until_finished()


def restore(checkpoints: ocp.CheckpointManager, state: Any) -> Any:
    """Returns the newest checkpoint in the shape and placement of `state`, None if there is none.

    Corrupt checkpoints are renamed and the previous one is used. Raises ValueError if all are
    corrupt.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    reader = ocp.Checkpointer(ocp.StandardCheckpointHandler())
    arguments = ocp.args.StandardRestore(abstract)

    def read(step: int) -> Any:
        folder = arrays_folder(checkpoints, step)
        checksums.check_names(arrays_in(folder), abstract)
        restored = reader.restore(folder, args=arguments)
        checksums.check(restored, custom_metadata(checkpoints, step))
        return restored

    step, restored, damaged = first_readable(sorted(checkpoints.all_steps(), reverse=True), read)
    if restored is not None:
        rename_damaged(checkpoints, damaged, f"; training resumes from step {step}")
    elif message := all_damaged_message(checkpoints, damaged):
        raise ValueError(f"{message}: move that folder away to restart")
    return restored


def load_variables(workdir: Path, model: nn.Module | None = None) -> dict[str, Any]:
    """Returns the Flax variables of the best checkpoint of `workdir`; see `load_step`."""
    return load_step(workdir, model)[1]


def load_step(
    workdir: Path, model: nn.Module | None = None
) -> tuple[int, dict[str, Any], Mapping[str, Any]]:
    """Returns step, Flax variables and custom metadata of the best checkpoint of `workdir`.

    The variables are those of the moving average if it was kept. The step is logged, with the
    reason why it is used. If the checkpoint is corrupt, the newest readable one is used, with a
    warning. Raises FileNotFoundError if the folder holds no checkpoint, ValueError if none can be
    read or if the run trained another network than `model`.
    """
    config = read_config(workdir)
    if model is not None:
        check_model(workdir, config, model)
    if not (workdir / "checkpoints").is_dir():
        raise FileNotFoundError(f"{workdir} has no checkpoint yet: train first")
    task = find_task(config.task.name)
    checkpoints = open_checkpoints(workdir, task.score, reading=True)
    found, unscored = read_scores(checkpoints, task.score)
    step, variables, damaged = first_readable(
        best_first(checkpoints.all_steps(), found),
        lambda step: read_variables(checkpoints, step),
    )
    damaged = unscored | damaged
    if variables is not None:
        for other, reason in damaged.items():
            if other != step:  # of the step itself only the scores are damaged
                logger.warning(f"checkpoint {other} is damaged ({reason}); step {step} is used")
        logger.info(f"{workdir}: step {step}, {explain(step, found, task.score_name)}")
        return step, variables, custom_metadata(checkpoints, step) or {}
    if message := all_damaged_message(checkpoints, damaged):
        raise ValueError(message)
    raise FileNotFoundError(f"{workdir} has no checkpoint yet: train first")


def explain(step: int, scores: Mapping[int, float], name: str) -> str:
    """Returns why the checkpoint of `step` is used, by the scores of those that were evaluated."""
    if not scores:
        return "the last one: no checkpoint was evaluated"
    if step in scores and scores[step] == min(scores.values()):
        return f"the best one, by its {name} of {scores[step]:.4f}"
    return "the last one that can be read"


def check_model(workdir: Path, config: Any, model: nn.Module) -> None:
    """Raises ValueError if the run of `config` in `workdir` trains another network than `model`."""
    name = name_of(model)
    if config.name != name:
        raise ValueError(f"{workdir} holds {config.name}, not {name}")
    # As a module, since an older run did not save keywords that were added later.
    saved = create_model(name, **config.model)
    if saved != model:
        raise ValueError(
            f"{workdir} holds {name} with {differing_keywords(saved, model)}, "
            f"not with {differing_keywords(model, saved)}"
        )


def differing_keywords(model: nn.Module, other: nn.Module) -> str:
    """Returns the keywords of `model` that differ from those of `other`, as one types them."""
    values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return ", ".join(f"{k}={x!r}" for k, x in values.items() if x != getattr(other, k))


def first_readable(
    steps: Iterable[int], read: Callable[[int], Any]
) -> tuple[int | None, Any, dict[int, str]]:
    """Returns the first of `steps` that can be read, its content, and {step: reason} of the others.

    Both are None if none can be read.
    """
    damaged = {}
    for step in steps:
        try:
            return step, read(step), damaged
        except NOT_DAMAGE:
            raise
        except Exception as error:  # Orbax, TensorStore and JSON have no common base class
            damaged[step] = shorten(error)
    return None, None, damaged


def read_variables(checkpoints: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Reads the variables of one checkpoint, the moving average of the parameters if kept.

    Raises ValueError if weights are not finite, or not as they were saved.
    """
    folder = arrays_folder(checkpoints, step)
    reader, tree = ocp.PyTreeCheckpointer(), arrays_in(folder)
    wanted = {name: x for name, x in tree.items() if name not in ("step", "opt_state", "memory")}
    # As NumPy arrays, because the devices that saved them need not exist here.
    as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    state = reader.restore(
        folder, args=ocp.args.PyTreeRestore(wanted, restore_args=as_arrays, partial_restore=True)
    )
    checksums.check(state, custom_metadata(checkpoints, step))
    average = state.pop("ema", None)
    variables = state | {"params": average or state.get("params", {})}
    flat = traverse_util.flatten_dict(variables, sep="/")
    check_finite({name: np.asarray(x) for name, x in flat.items()}, str(step))
    return variables


def best_first(steps: Iterable[int], scores: Mapping[int, float]) -> list[int]:
    """Sorts steps: the one of the lowest score first, then from the newest to the oldest."""
    # Of equal scores the newest, which Orbax keeps.
    best = min(reversed(scores), key=scores.get, default=None)
    return sorted(steps, key=lambda step: (step != best, -step))


def read_scores(
    checkpoints: ocp.CheckpointManager, score: Score
) -> tuple[dict[int, float], dict[int, str]]:
    """Returns {step: score} of evaluated checkpoints, {step: reason} of unreadable scores."""
    found, damaged = {}, {}
    for step in checkpoints.all_steps():
        try:
            metrics = checkpoints.metrics(step)
            if metrics is not None:
                found[step] = float(score(metrics))
        except Exception as error:
            damaged[step] = shorten(error)
    return found, damaged


def custom_metadata(checkpoints: ocp.CheckpointManager, step: int) -> dict[str, Any] | None:
    """Returns what `save` wrote with the arrays of one step, None if it cannot be read."""
    try:
        return checkpoints.metadata(step).custom_metadata
    except Exception:  # damaged metadata are no reason to lose the arrays
        return None


def arrays_in(folder: Path) -> dict[str, Any]:
    """Returns what describes the arrays of a checkpoint; raises ValueError if that is missing."""
    metadata = ocp.PyTreeCheckpointer().metadata(folder).item_metadata
    if metadata is None:
        raise ValueError("its list of arrays is missing or damaged")
    return metadata.tree


def arrays_folder(checkpoints: ocp.CheckpointManager, step: int) -> Path:
    """Returns the folder that holds the arrays of one step."""
    return checkpoints.directory / str(step) / "default"
