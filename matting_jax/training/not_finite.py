"""Steps whose losses or gradients are not finite: found, saved for inspection, and reported."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from matting_jax.files import write_atomically

Arrays = dict[str, np.ndarray]


class FiniteCheck:
    """Checks each step's losses one step late, so that the host never waits for the device.

    Before anything is made of a state, `check` checks its step immediately.
    """

    def __init__(self, workdir: Path, checkpoints: ocp.CheckpointManager):
        self.workdir, self.checkpoints = workdir, checkpoints
        self.step, self.batch, self.terms = 0, {}, {}

    def add(self, step: int, batch: Arrays, terms: dict[str, jax.Array]) -> None:
        """Checks the step before `step`, which has been started, and remembers `step`.

        This waits for the earlier step, so that at most one step is in progress.
        """
        self.check()
        self.step, self.batch, self.terms = step, batch, terms

    def check(self) -> None:
        """Raises FloatingPointError if a term of the last added step is not finite."""
        terms = {name: float(value) for name, value in jax.device_get(self.terms).items()}
        if np.isfinite(list(terms.values())).all():
            return
        path = write_step(self.workdir, self.step, self.batch, terms)
        self.checkpoints.wait_until_finished()
        last = self.checkpoints.latest_step()
        found = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        raise FloatingPointError(
            f"step {self.step} is not finite: {found}; its batch is in {path}; the last checkpoint "
            f"kept is {'none' if last is None else f'of step {last}'}; try, in another workdir, a "
            "lower --config.optimizer.learning_rate, --config.optimizer.clip_norm=1 or, if the "
            "network has batch normalisation, --config.freeze_statistics"
        )


def write_step(workdir: Path, step: int, batch: Arrays, terms: dict[str, float]) -> Path:
    """Writes this process's batch of a step and its terms to `not_finite/step_NNNNNN.npz`.

    Args:
        workdir: folder of the run.
        step: number of the step.
        batch: arrays of the batch, saved as `batch/NAME`.
        terms: losses and gradient norm, saved as `terms/NAME`.

    Returns:
        The path of the file, which names the process if there are several.
    """
    part = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = workdir / "not_finite" / f"step_{step:06d}{part}.npz"
    arrays = {f"batch/{name}": array for name, array in batch.items()}
    arrays |= {f"terms/{name}": np.float32(value) for name, value in terms.items()}
    with write_atomically(path) as file:
        np.savez(file, **arrays)
    return path
