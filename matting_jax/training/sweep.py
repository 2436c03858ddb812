"""Sweeps: several trainings of one recipe, each with overrides of its own, and their table."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from matting_jax.choices import one_of
from matting_jax.files import file_above
from matting_jax.stopping import stop_signal
from matting_jax.training.sweep_file import Run, Sweep
from matting_jax.training.sweep_table import write_table
from matting_jax.workdir.claim import check_claim, wait_until_free

CLUSTERS = ("slurm", "local")
POLL = 0.2  # seconds between two looks at a running training

logger = logging.getLogger("matting_jax")


def run_sweep(sweep: Sweep, folder: Path, cluster: str | None = None) -> int:
    """Trains all runs that are not finished, and writes the table of all.

    Without `cluster` runs follow one another, each a process of its own. A run that fails is
    reported, and the others continue. A signal stops the running training, which saves, and the
    sweep; the same command resumes both. FOLDER gets sweep.csv, a line a run; sweep.md, a line a
    row of the sweep with mean and deviation over the seeds; and sweep.png.

    Args:
        sweep: the runs.
        folder: where the table goes.
        cluster: "slurm" submits one job array through submitit, "local" starts all runs here.

    Returns:
        Exit code: 0, 1 if a run failed, 128 + N after signal N.

    Raises:
        ValueError: a workdir holds a run of another config, or `cluster` is unknown.
        NotADirectoryError: `folder` cannot be a folder.
    """
    if cluster:
        one_of(cluster, CLUSTERS, "cluster")
    if file := file_above(folder / "sweep.csv"):
        raise NotADirectoryError(f"--workdir {folder}: {file} is a file, not a folder")
    for run in sweep.runs:
        check_claim(run.workdir, run.config)
    waiting = [run for run in sweep.runs if not run.is_finished()]
    finished = len(sweep.runs) - len(waiting)
    logger.info(f"{folder}: {len(sweep.runs)} runs, of which {finished} are finished")
    stopped = 0
    if cluster:
        failed = run_as_jobs(sweep, waiting, folder, cluster)
    else:
        failed, stopped = run_in_turn(sweep, waiting, folder)
    write_table(sweep.runs, folder, failed)
    for workdir, reason in failed.items():
        logger.warning(f"{workdir} failed: {reason}")
    print((folder / "sweep.md").read_text(), end="")
    return 128 + stopped if stopped else int(bool(failed))


def run_as_jobs(
    sweep: Sweep, waiting: Sequence[Run], folder: Path, cluster: str
) -> dict[Path, str]:
    """Trains the runs `waiting` as jobs; returns {workdir: reason} of those that failed."""
    from matting_jax.training.sweep_jobs import run_jobs

    commands = [run.command(sweep.recipe) for run in waiting]
    errors = run_jobs(commands, folder / "jobs", cluster, sweep.cluster_options)
    return {run.workdir: error for run, error in zip(waiting, errors, strict=True) if error}


def run_in_turn(sweep: Sweep, waiting: Sequence[Run], folder: Path) -> tuple[dict[Path, str], int]:
    """Trains the runs `waiting` one after the other, and writes the table after each.

    Returns {workdir: reason} of those that failed, and the number of the signal that stopped the
    sweep, or 0.
    """
    failed = {}
    for number, run in enumerate(waiting, len(sweep.runs) - len(waiting) + 1):
        # The training of a sweep that was killed outlives it.
        wait_until_free(run.workdir)
        if run.is_finished():
            continue
        logger.info(f"run {number} of {len(sweep.runs)}: {run.name}, seed {run.seed}")
        code, stopped = wait_for(run.command(sweep.recipe))
        if stopped:
            logger.warning("stopped; the same command resumes the sweep")
            return failed, stopped
        if code:
            failed[run.workdir] = f"exit code {code}"
        write_table(sweep.runs, folder, failed)
    return failed, 0


def wait_for(command: Sequence[str]) -> tuple[int, int]:
    """Runs a training until it ends, and passes the first SIGTERM or Ctrl-C on to it.

    Returns its exit code and the number of the signal, or 0. A second signal kills it.
    """
    # A group of its own, so that a Ctrl-C in a terminal reaches it once.
    process = subprocess.Popen(command, start_new_session=True)
    stopped = 0
    try:
        with stop_signal() as asked_to_stop:
            while process.poll() is None:
                if not stopped and (stopped := asked_to_stop(0)):
                    process.send_signal(stopped)
                time.sleep(POLL)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return process.returncode, stopped
