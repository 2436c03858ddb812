"""Steps whose loss or gradient is not a finite number: found, kept to be looked into, reported."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from matting_jax.files import written_whole

Arrays = dict[str, np.ndarray]


class LastStep:
    """The last step of a run, whose terms are still to be looked at.

    They are looked at once the next step is under way, so that the device is never waited for, or
    before anything is made of the state.
    """

    def __init__(self, workdir: Path, checkpoints: ocp.CheckpointManager):
        self.workdir, self.checkpoints = workdir, checkpoints
        self.step, self.batch, self.terms = 0, {}, {}

    def follow(self, step: int, batch: Arrays, terms: dict[str, jax.Array]) -> None:
        """Look at the step before `step`, which has begun.

        This waits for that one, so that no more than one step is ever under way.
        """
        self.look()
        self.step, self.batch, self.terms = step, batch, terms

    def look(self) -> None:
        """Raise FloatingPointError where a term of the last step is not finite."""
        terms = {name: float(value) for name, value in jax.device_get(self.terms).items()}
        if np.isfinite(list(terms.values())).all():
            return
        path = write_step(self.workdir, self.step, self.batch, terms)
        self.checkpoints.wait_until_finished()
        kept = self.checkpoints.latest_step()
        found = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        raise FloatingPointError(
            f"step {self.step} is not finite: {found}; its batch is in {path}; the last checkpoint "
            f"kept is {'none' if kept is None else f'of step {kept}'}; try, in another workdir, a "
            "lower --config.optimizer.learning_rate, --config.optimizer.clip_norm=1 or, where the "
            "network normalises, --config.freeze_statistics"
        )


def write_step(workdir: Path, step: int, batch: Arrays, terms: dict[str, float]) -> Path:
    """This process's batch of a step and its terms as `not_finite/step_NNNNNN.npz`.

    Holds `batch/NAME` and `terms/NAME`; of several processes each writes a file of its own.
    """
    part = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = workdir / "not_finite" / f"step_{step:06d}{part}.npz"
    arrays = {f"batch/{name}": array for name, array in batch.items()}
    arrays |= {f"terms/{name}": np.float32(value) for name, value in terms.items()}
    with written_whole(path) as file:
        np.savez(file, **arrays)
    return path
