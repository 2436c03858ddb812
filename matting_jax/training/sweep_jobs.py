"""Runs the trainings of a sweep as jobs of a cluster, by submitit."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matting_jax.files import writing

TIMEOUT = 24 * 60  # minutes of a job; submitit's default is 5

logger = logging.getLogger("matting_jax")


class Job:
    """One training as submitit runs it: a command, which saves and is queued again if preempted."""

    def __init__(self, command: Sequence[str]):
        self.command = list(command)
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Trains until the end. Raises CalledProcessError if the training fails."""
        self.process = subprocess.Popen(self.command)
        if code := self.process.wait():
            raise subprocess.CalledProcessError(code, self.command)
        return code

    def checkpoint(self) -> Any:
        """Stops the training, which saves, and returns the job that resumes it."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.terminate()
            # This interrupts `wait`, which holds the lock that a second `wait` would need.
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Job(self.command))


def run_jobs(
    commands: Sequence[Sequence[str]], folder: Path, cluster: str, options: Mapping[str, Any]
) -> list[str]:
    """Submits commands as one array of jobs, and waits for them.

    Args:
        commands: one command line a job.
        folder: where submitit keeps its files and the logs of the jobs.
        cluster: "slurm", or "local", which starts all jobs as processes, together.
        options: parameters of submitit's executor, such as timeout_min or slurm_partition.

    Returns:
        For each command "", or what went wrong.

    Raises:
        ImportError: submitit is not installed.
        ValueError: `options` has a parameter that submitit does not know.
        WriteError: the files of the jobs cannot be written.
    """
    try:
        import submitit
    except ImportError as error:
        raise ImportError("--cluster needs submitit: pip install 'matting_jax[cluster]'") from error

    if not commands:
        return []
    with writing(folder):
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        try:
            executor.update_parameters(**{"timeout_min": TIMEOUT, **options})
        except (NameError, TypeError) as error:
            raise ValueError(f"CLUSTER of the sweep file: {error}") from error
        with executor.batch():
            jobs = [executor.submit(Job(command)) for command in commands]
    logger.info(f"{len(jobs)} jobs, {jobs[0].job_id} the first; their logs are in {folder}")
    errors = []
    for job in jobs:
        error = job.exception()
        errors.append("" if error is None else f"see {job.paths.stderr}")
    return errors
