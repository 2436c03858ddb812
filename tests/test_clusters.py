"""The scripts of docs/clusters.md: valid, and their commands train as one in two processes."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from matting_jax.commandline import parse
from matting_jax.parallel import PROCESS_COUNTS
from tests.helpers import ROOT, lines_of
from tests.processes import job_of_two, start
from tests.tiny import RECIPE

PAGE = (ROOT / "docs" / "clusters.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def commands():
    """Returns the command lines of all scripts, as lists of words from launch.py on."""
    text = "\n".join(blocks("bash")).replace("\\\n", " ").replace('"$workdir"', "WORKDIR")
    found = [shlex.split(line) for line in re.findall(r"python (launch\.py [^\n\"&]*)", text)]
    [job] = blocks("yaml")
    [container] = yaml.safe_load(job)["spec"]["template"]["spec"]["containers"]
    return [*found, container["command"][1:]]


def test_scripts_are_valid_shell():
    for script in blocks("bash"):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_commands_are_valid_and_their_batch_fits_the_devices():
    assert len(commands()) == 4
    for words, devices in zip(commands(), (16, 16, 1, 16), strict=True):
        config = parse(words).config
        assert config.name == "modnet" and config.batch_size % devices == 0


def test_indexed_job_has_what_its_processes_need_to_find_each_other():
    [job] = map(yaml.safe_load, blocks("yaml"))
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert spec["template"]["spec"]["subdomain"] == job["metadata"]["name"]


@pytest.mark.slow
def test_command_of_the_script_trains_and_stops_as_one_in_two_processes(folders, tmp_path):
    """SIGTERM to one process ends both with the exit code that the script waits for."""
    recipe = tmp_path / "tiny.py"
    recipe.write_text(RECIPE.format(folders=str(folders), cache=""))
    words = [x for x in commands()[0][1:] if not x.startswith("--config.data.")]
    for name, value in (("--config", str(recipe)), ("--workdir", str(tmp_path / "run"))):
        words[words.index(name) + 1] = value
    assert "--config.batch_size=64" in words
    words += ["--config.batch_size=4", "--config.steps=400", "--config.save_every=0"]
    words += ["--config.log_every=1", "--config.evaluate_every=0", "--config.evaluate_first=none"]

    def run(*more):
        quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        return [start([*words, *more], **quick, **variables) for variables in job_of_two()]

    started = run()
    while not (tmp_path / "run" / "metrics.jsonl").is_file():
        assert all(process.poll() is None for process in started)
        time.sleep(0.1)
    started[1].send_signal(signal.SIGTERM)
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 143, errors[-4000:]
    [saved] = (x for x in (tmp_path / "run" / "checkpoints").iterdir() if x.name.isdigit())
    last = int(saved.name) + 2
    for process in run(f"--config.steps={last}"):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-4000:]
    steps = [line["step"] for line in lines_of(tmp_path / "run")]
    assert steps == list(range(1, last + 1))


# `gcloud storage ls` and `rsync` for a folder in place of the bucket. A copied file may vanish.
GCLOUD = """#!{python}
import re, shutil, sys
from pathlib import Path

def local(name):
    return Path({buckets!r}, name[5:]) if name.startswith("gs://") else Path(name)

def files(folder):
    names = {{str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file()}}
    return {{x for x in names if not re.fullmatch(exclude, x)}}

assert sys.argv[1] == "storage"
if sys.argv[2] == "ls":
    sys.exit(not local(sys.argv[3]).exists())
assert sys.argv[2:4] == ["rsync", "--recursive"]
exclude = next((x[10:] for x in sys.argv if x.startswith("--exclude=")), "^")
source, target = map(local, sys.argv[-2:])
code, found = 0, files(source)
for name in sorted(found):
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copy(source / name, target / name)
    except FileNotFoundError:
        code = 1
if "--delete-unmatched-destination-objects" in sys.argv:
    for name in files(target) - found:
        (target / name).unlink()
sys.exit(code)
"""


@pytest.mark.slow
def test_script_of_buckets_resumes_from_the_copy_on_another_machine(
    folders, compiled_once, tmp_path
):
    recipe, bucket, workdir = tmp_path / "tiny.py", tmp_path / "buckets", tmp_path / "machine"
    recipe.write_text(RECIPE.format(folders=str(folders), cache=str(compiled_once)))
    [script] = (x for x in blocks("bash") if "rsync" in x)
    for old, new in (
        ("configs/modnet.py:paper", str(recipe)),
        ("runs/modnet\n\n", f"{workdir}\n\n"),
        ("timeout 300", "timeout 0.5"),
        ("python launch.py", f"{sys.executable} -m tests.launch_tiny"),
    ):
        assert script.count(old) == 1
        script = script.replace(old, new)
    script, count = re.subn(r"--config\.data\.\S+", "", script)
    assert count == 3
    fields = "--config.log_every=1 --config.evaluate_every=0 --config.evaluate_first=none "
    fields += "--config.save_every=100 --config.steps="
    gcloud = tmp_path / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text(GCLOUD.format(python=sys.executable, buckets=str(bucket)))
    gcloud.chmod(0o755)
    variables = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PATH": f"{gcloud.parent}:{os.defpath}"}

    def run(steps):
        lines = script.replace('--workdir "$workdir"', f'--workdir "$workdir" {fields}{steps}')
        return subprocess.Popen(["bash", "-c", lines], cwd=ROOT, env=os.environ | variables)

    assert run(10).wait() == 1  # no bucket: nothing is trained
    assert not workdir.exists()
    copied = bucket / "BUCKET" / "runs" / "modnet"
    bucket.joinpath("BUCKET").mkdir(parents=True)
    started = run(100_000)
    while not (copied / "metrics.jsonl").is_file():  # copied while the training runs
        assert started.poll() is None
        time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=300) == 143
    before = lines_of(copied)
    last = before[-1]["step"]
    assert (copied / "checkpoints" / str(last)).is_dir()
    shutil.rmtree(workdir)
    assert run(last + 2).wait(timeout=300) == 0
    lines = lines_of(copied)
    assert lines[:last] == before  # with their times: it did not start from the beginning
    assert [line["step"] for line in lines] == list(range(1, last + 3))


@pytest.mark.parametrize("name", PROCESS_COUNTS)
def test_page_lists_what_is_detected(name):
    assert f"`{name}`" in PAGE
