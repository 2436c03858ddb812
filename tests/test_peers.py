"""Processes of a job learn that another one ended or never came, with one error message."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from matting_jax import parallel
from tests.helpers import ROOT, lines_of
from tests.processes import job_of_two, start
from tests.tiny import RECIPE

JOIN = """
import sys, time
from matting_jax import peers
peers.join(sys.argv[1], int(sys.argv[2]), 3, wait=float(sys.argv[3]))
print("joined", flush=True)
time.sleep(60 if sys.argv[4] == "stay" else 0)
if sys.argv[4] == "fail":
    sys.stdin.readline()
1 / (sys.argv[4] != "fail")
"""
AGAIN = "start all processes again with the same command"


def three(*ways, wait=30):
    """Starts processes 0, 1, ... of a job of three, without JAX."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [
        subprocess.Popen(
            [sys.executable, "-c", JOIN, address, str(index), str(wait), way],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, way in enumerate(ways)
    ]


@pytest.mark.parametrize("ends", range(3))
@pytest.mark.parametrize("way", ["stay", "fail"])
def test_all_end_with_the_one_that_was_killed_or_failed(ends, way):
    started = three(*(way if index == ends else "stay" for index in range(3)))
    for process in started:
        assert process.stdout.readline() == "joined\n"
    if way == "stay":
        started[ends].kill()
    else:
        started[ends].stdin.write("\n")
        started[ends].stdin.flush()
    for index, process in enumerate(started):
        _, errors = process.communicate(timeout=30)
        if index != ends:
            assert process.returncode == 1
            assert errors.count("\n") == 2 and "Traceback" not in errors
            assert f": process {ends} of 3 ended before the others: see its output, and" in errors
            assert AGAIN in errors


def test_orderly_ends_are_no_failures():
    for process in three("end", "end", "end"):
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and not errors


@pytest.mark.parametrize("comes", [0, 1])
def test_processes_end_if_one_never_comes(comes):
    started = three("stay", "stay", wait=1)
    if comes:  # process 0 is the one that is missing
        started[0].kill()
        expected = "process 0 of 3 "
    else:
        expected = "2 of 3 processes joined within 1 s, without 2: see the output of those, and"
    for process in started[comes:]:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1 and expected in errors and AGAIN in errors


def test_slurm_names_the_job_before_jax_starts(monkeypatch):
    variables = {"JOB_ID": "7", "STEP_NODELIST": "node3", "NTASKS": "2", "PROCID": "1"}
    for name, value in variables.items() | {("LOCALID", "0"), ("STEP_NUM_TASKS", "2")}:
        monkeypatch.setenv(f"SLURM_{name}", value)
    address, count, index = parallel.detected_job()
    assert address.startswith("node3:") and (count, index) == (2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_training_resumes_after_one_of_two_processes_was_killed(killed, folders, tmp_path):
    recipe, workdir = tmp_path / "tiny.py", tmp_path / "run"
    recipe.write_text(RECIPE.format(folders=str(folders), cache=""))
    fields = ("batch_size=4", "save_every=2", "log_every=1", "evaluate_every=0")

    def run(steps):
        words = [f"--config={recipe}", f"--workdir={workdir}", f"--config.steps={steps}"]
        words += [f"--config.{field}" for field in (*fields, "evaluate_first=none")]
        return [start(words, **variables) for variables in job_of_two()]

    def saved():
        folder = workdir / "checkpoints"
        return (
            [int(x.name) for x in folder.iterdir() if x.name.isdigit()] if folder.exists() else []
        )

    started = run(4000)
    while not saved():
        assert all(process.poll() is None for process in started)
        time.sleep(0.1)
    started[killed].send_signal(signal.SIGKILL)
    _, errors = started[1 - killed].communicate(timeout=60)
    assert started[1 - killed].returncode == 1, errors[-4000:]
    message = errors.splitlines()[-1]
    assert f"process {killed} of 2 ended before the others" in message and AGAIN in message
    assert "Traceback" not in errors and "Check failure" not in errors, errors[-4000:]
    started[killed].communicate()
    last = max(saved()) + 2
    for process in run(last):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-4000:]
    assert [line["step"] for line in lines_of(workdir)] == list(range(1, last + 1))
