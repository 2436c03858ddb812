import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from matting_jax.commandline import main, parse
from matting_jax.files import WriteError
from matting_jax.training import sweep as program
from matting_jax.training.sweep import run_sweep, wait_for
from matting_jax.training.sweep_file import read_sweep
from matting_jax.training.sweep_jobs import Job, run_jobs
from matting_jax.training.sweep_table import mean_and_deviation, quote, write_table
from matting_jax.workdir import claim
from matting_jax.workdir.claim import LOCK
from tests.helpers import CONFIGS, ROOT
from tests.limits import file_limit
from tests.tiny import RECIPE

SWEEP = """
CONFIG = {recipe!r}
SEEDS = 2


def sweep(add):
    add("base")
    add("fast", **{{"optimizer.learning_rate": 0.05}})
    add("flat", **{{"task.detail_weight": 0.0, "data.crop.rescale": (36, 48)}})
"""


@pytest.fixture
def path(folders, compiled_once, tmp_path):
    """A sweep file of three rows and two seeds of the tiny network."""
    recipe = tmp_path / "tiny.py"
    recipe.write_text(RECIPE.format(folders=str(folders), cache=str(compiled_once)))
    path = tmp_path / "rows.py"
    path.write_text(SWEEP.format(recipe=str(recipe)))
    return path


def scores(folder):
    """Returns the rows of sweep.csv."""
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def finish(run, mad, steps=4):
    """Writes what a finished run leaves of its scores; the best step is 2."""
    (run.workdir / "checkpoints" / str(steps)).mkdir(parents=True)
    lines = [
        {"step": 0, "test_mad": 0.0},
        {"step": 2, "test_mad": mad, "test_sad": 10 * mad},
        {"step": 3, "loss": 1.0},
        {"step": 4, "test_mad": mad + 0.1, "test_sad": 1.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 5, "test_m'
    (run.workdir / "metrics.jsonl").write_text(text)
    (run.workdir / "config.json").write_text(run.config.to_json())


def test_rows_and_seeds_become_runs_of_the_recipe(path, tmp_path):
    sweep = read_sweep(path, tmp_path / "out", ["--config.steps=7", "--config.seed=5"])
    names = [(run.name, run.seed, run.workdir) for run in sweep.runs]
    assert names[:3] == [
        ("base", 5, tmp_path / "out" / "base" / "seed_5"),
        ("base", 6, tmp_path / "out" / "base" / "seed_6"),
        ("fast", 5, tmp_path / "out" / "fast" / "seed_5"),
    ]
    last = sweep.runs[-1]
    assert (len(sweep.runs), last.config.steps, last.config.seed) == (6, 7, 6)
    assert last.config.data.crop.rescale == (36, 48) and last.config.task.detail_weight == 0
    assert sweep.runs[0].config.task.detail_weight != 0
    # The command means the same config.
    values = parse(["matting_jax", *last.command(sweep.recipe)[3:]])
    assert values.config == last.config and values.workdir == str(last.workdir)
    assert len(read_sweep(path, tmp_path, seeds=1).runs) == 3
    with pytest.raises(ValueError, match="--seeds must be at least 1, got 0"):
        read_sweep(path, tmp_path, seeds=0)


def test_seed_and_network_of_a_row_count_more(tmp_path):
    path = tmp_path / "s.py"
    path.write_text(
        "CONFIG = 'modnet'\ndef sweep(add):\n add('a', seed=5)\n add('b', name='gfm')\n"
    )
    runs = read_sweep(path, tmp_path, ["--config.seed=9"], 2).runs
    assert [(x.seed, x.config.seed) for x in runs] == [(5, 5), (6, 6), (9, 9), (10, 10)]
    assert [x.config.name for x in runs] == ["modnet", "modnet", "gfm", "gfm"]
    for run in runs:
        assert parse(["matting_jax", *run.command("modnet")[3:]]).config == run.config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CONFIG = 'modnet'\n", "is no sweep: it must define CONFIG and sweep"),
        ("CONFIG = 'modnet'\ndef sweep(add): pass\n", "adds no row"),
        ("CONFIG = 'modnet'\ndef sweep(add): add('a/b')\n", "'a/b' cannot be that of a folder"),
        ("CONFIG = 'modnet'\ndef sweep(add):\n add('a')\n add('a')\n", "two rows have the name"),
        ("CONFIG = 'modnet'\ndef sweep(add): add('a', stepz=1)\n", "row 'a' .*did you mean 'step"),
        (
            "CONFIG = 'modnet'\ndef sweep(add): add('a', steps=0)\n",
            r"row 'a' of .*--config.steps must be in \[1, inf\)",
        ),
        (
            "CONFIG = 'modnet'\ndef sweep(add): add('a', **{'data.test.images': 'gs://b/x'})\n",
            "row 'a' .*--config.data.test.images must be a local file or folder, got gs://b/x",
        ),
        ("CONFIG = 'modnett'\ndef sweep(add): add('a')\n", "did you mean 'modnet'"),
        ("CONFIG = 5\ndef sweep(add): add('a')\n", "CONFIG of .* must be the text of --config"),
        ("CONFIG = 'modnet'\nSEEDS = '3'\ndef sweep(add): add('a')\n", "SEEDS of .* whole number"),
        ("CONFIG = 'modnet'\nCLUSTER = 5\ndef sweep(add): add('a')\n", "CLUSTER of .* a dict"),
        ("CONFIG = 'modnet'\ndef sweep(add): add(5)\n", "name of a row must be text, got 5"),
        ("CONFIG = 'modnet'\ndef sweep(add): add('sweep.csv')\n", "cannot be that of a folder"),
        ("CONFIG = 'modnet'\ndef sweep(add): add('a|b')\n", "cannot stand in a table"),
        ("CONFIG = 'modnet'\nSEEDS = 0\ndef sweep(add): add('a')\n", "--seeds must be at least 1"),
    ],
)
def test_wrong_sweep_file_is_one_message(tmp_path, text, message, capsys):
    path = tmp_path / "s.py"
    path.write_text(text)
    assert main(["launch.py", "--mode=sweep", f"--sweep={path}"], "") == 2
    with pytest.raises(ValueError, match=message):
        read_sweep(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_table_has_the_best_scores_and_their_mean_over_the_finished_seeds(path, tmp_path):
    runs = read_sweep(path, tmp_path / "out").runs
    for run, mad in zip(runs[:3], (0.1, 0.3, 0.2), strict=True):
        finish(run, mad)
    (runs[3].workdir).mkdir(parents=True)
    (runs[3].workdir / "metrics.jsonl").write_text('{"step": 3, "loss": 1}\n')
    write_table(runs, tmp_path / "out", {runs[4].workdir: "exit code 1"})
    rows = scores(tmp_path / "out")
    assert [row["state"] for row in rows] == [*["finished"] * 3, "step 3", "failed", "step 0"]
    assert [(row["step"], row["mad"], row["sad"]) for row in rows[:2]] == [
        ("2", "0.1", "1.0"),
        ("2", "0.3", "3.0"),
    ]
    lines = (tmp_path / "out" / "sweep.md").read_text().splitlines()
    assert lines[0] == "| row | seeds | mad | sad | overrides |"
    assert lines[2].startswith("| base | 2 | 0.2 ± 0.14 | 2 ± 1.4 |")
    assert lines[3].startswith("| fast | 1, seed 4: step 3 | 0.2 | 2 |")
    assert "seed 3: failed, seed 4: step 0" in lines[4] and "detail_weight=0.0" in lines[4]
    assert len(lines) == 5  # no override is shared by all rows
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 1000
    assert mean_and_deviation([]) == "" and mean_and_deviation([0.5]) == "0.5"


def test_overrides_are_quoted_as_a_shell_needs_it():
    assert quote(["--config.steps=7", "--config.a=(1,2)"]) == (
        "`--config.steps=7` `'--config.a=(1,2)'`"
    )


def test_overrides_of_all_rows_stand_below_the_table_and_in_each_line_of_the_csv(path, tmp_path):
    flags = ["--config.steps=7", "--config.log_every=2"]
    write_table(read_sweep(path, tmp_path / "out", flags).runs, tmp_path / "out", {})
    lines = (tmp_path / "out" / "sweep.md").read_text().splitlines()
    assert lines[-2:] == ["", "All rows: `--config.steps=7` `--config.log_every=2`"]
    assert lines[3].endswith("| `--config.optimizer.learning_rate=0.05` |")
    assert all(row["overrides"].startswith(" ".join(flags)) for row in scores(tmp_path / "out"))


def test_finished_runs_are_skipped_and_failed_ones_reported(path, tmp_path, monkeypatch, capsys):
    sweep = read_sweep(path, tmp_path / "out")
    for run in sweep.runs[:4]:
        finish(run, 0.1)
    started = []

    def wait(command):
        started.append(next(x for x in command if x.startswith("--workdir=")))
        return (1 if len(started) == 1 else 0), 0

    monkeypatch.setattr(program, "wait_for", wait)
    assert run_sweep(sweep, tmp_path / "out") == 1
    assert started == [f"--workdir={run.workdir}" for run in sweep.runs[4:]]
    assert scores(tmp_path / "out")[4]["state"] == "failed"
    assert "| flat | 0, seed 3: failed" in capsys.readouterr().out


def test_run_that_a_killed_sweep_left_behind_is_waited_for(path, tmp_path, monkeypatch):
    """One such run finishes meanwhile, the other is stopped and resumed."""
    sweep = read_sweep(path, tmp_path / "out")
    for run in sweep.runs[2:]:
        finish(run, 0.1)
    finished, stopped = sweep.runs[:2]
    held = {run.workdir: threading.Event() for run in (finished, stopped)}
    ended = {run.workdir: threading.Event() for run in (finished, stopped)}

    def train(run):
        with FileLock(run.workdir / LOCK):
            held[run.workdir].set()
            ended[run.workdir].wait()

    for run in (finished, stopped):
        run.workdir.mkdir(parents=True)
        threading.Thread(target=train, args=(run,), daemon=True).start()
        held[run.workdir].wait()
    waits, started = [], []

    def hear(text):
        [run] = (x for x in (finished, stopped) if f"training in {x.workdir}:" in text)
        waits.append(run)
        if run is finished:
            finish(run, 0.2)
        ended[run.workdir].set()

    def wait(command):
        assert waits == [finished, stopped]
        with FileLock(stopped.workdir / LOCK, timeout=0):
            started.append(next(x for x in command if x.startswith("--workdir=")))
        return 0, 0

    monkeypatch.setattr(program, "wait_for", wait)
    # Both modules have the same logger.
    monkeypatch.setattr(
        claim.logger, "info", lambda text: hear(text) if "waiting" in text else None
    )
    assert run_sweep(sweep, tmp_path / "out") == 0
    assert started == [f"--workdir={stopped.workdir}"]


def test_run_of_other_overrides_is_refused_before_anything_starts(path, tmp_path, monkeypatch):
    sweep = read_sweep(path, tmp_path / "out")
    monkeypatch.setattr(program, "wait_for", lambda command: pytest.fail("it starts"))
    finish(sweep.runs[3], 0.1)
    config = sweep.runs[3].config.copy_and_resolve_references()
    config.optimizer.learning_rate = 0.5
    (sweep.runs[3].workdir / "config.json").write_text(config.to_json())
    with pytest.raises(ValueError, match=r"learning_rate is 0.5 there, 0.05 here"):
        run_sweep(sweep, tmp_path / "out")


def test_signal_is_passed_on_once_and_a_second_one_kills():
    waits = "import signal, time, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
    command = [sys.executable, "-c", waits + "print('ready', flush=True); time.sleep(60)"]
    start = f"import sys; from {wait_for.__module__} import wait_for; print(wait_for({command!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", start], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == f"(7, {signal.SIGTERM.value})\n"


@pytest.mark.parametrize("file", sorted((CONFIGS / "sweeps").glob("*.py")), ids=lambda x: x.stem)
def test_sweeps_of_the_library_are_valid(file, tmp_path):
    assert len(read_sweep(file, tmp_path).runs) >= 3


def test_page_shows_a_valid_file_and_valid_parameters_of_jobs(tmp_path):
    text = (ROOT / "docs" / "sweeps.md").read_text()
    blocks = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "page.py"
    path.write_text("\n".join(blocks))
    sweep = read_sweep(path, tmp_path)
    names = [run.name for run in sweep.runs[::3]]
    assert names == ["baseline", "detail_0", "detail_1", "detail_20"]
    job = [[sys.executable, "-c", "pass"]]
    assert run_jobs(job, tmp_path / "jobs", "local", sweep.cluster_options) == [""]
    with pytest.raises(ValueError, match="CLUSTER .*'partitions'"):
        run_jobs(job, tmp_path / "jobs", "local", {"slurm_partitions": "gpu"})


def test_failed_job_is_reported_with_its_log(tmp_path):
    fails = [sys.executable, "-c", "raise SystemExit('no data')"]
    [error] = run_jobs([fails], tmp_path, "local", {})
    assert "no data" in Path(error.removeprefix("see ")).read_text()


def test_full_disk_names_the_folder_of_the_jobs(tmp_path):
    with file_limit(0), pytest.raises(WriteError, match=f"cannot write {tmp_path}/jobs: "):
        run_jobs([[sys.executable, "-c", "pass"]], tmp_path / "jobs", "local", {})


def test_preempted_job_saves_and_is_queued_again(tmp_path):
    """Its training gets SIGTERM and is waited for, while the job waits for it too."""
    saves = (
        "import pathlib, signal, sys, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "def save(*_):\n"
        "    time.sleep(0.3)\n"
        "    (folder / 'saved').touch()\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "(folder / 'started').touch()\n"
        "time.sleep(60)\n"
    )
    job = Job([sys.executable, "-c", saves])
    again = []

    def preempt(*_):
        again.append(job.checkpoint())
        assert (tmp_path / "saved").exists()

    before = signal.signal(signal.SIGUSR2, preempt)
    try:
        threading.Thread(target=signal_when, args=(tmp_path / "started", signal.SIGUSR2)).start()
        with pytest.raises(subprocess.CalledProcessError, match="143"):
            job()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert again[0].function.command == job.command


def signal_when(path, number):
    """Sends this process a signal once a file exists."""
    while not path.exists():
        time.sleep(0.05)
    os.kill(os.getpid(), number)


def launch(path, folder, *flags):
    """Starts a sweep as a user does, and returns the process."""
    command = [sys.executable, "-m", "matting_jax", "--mode=sweep", f"--sweep={path}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.Popen(
        [*command, f"--workdir={folder}", *flags], cwd=folder.parent, env=environment
    )


@pytest.mark.slow
def test_stopped_sweep_and_one_of_jobs_give_the_table_of_an_unbroken_one(path, tmp_path):
    whole, stopped, jobs = (tmp_path / name for name in ("whole", "stopped", "jobs"))
    assert launch(path, whole).wait() == 0
    expected = scores(whole)
    assert {row["state"] for row in expected} == {"finished"}
    assert len({row["mad"] for row in expected}) == 6

    process = launch(path, stopped)
    while not (stopped / "fast" / "seed_3" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert [row["state"] for row in scores(stopped)][:2] == ["finished", "finished"]
    assert scores(stopped)[-1]["state"] == "step 0"
    assert launch(path, stopped).wait() == 0
    assert scores(stopped) == expected
    assert (stopped / "sweep.md").read_text() == (whole / "sweep.md").read_text()

    assert launch(path, jobs, "--cluster=local", "--seeds=1").wait() == 0
    assert scores(jobs) == [row for row in expected if row["seed"] == "3"]
