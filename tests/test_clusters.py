"""The scripts of docs/clusters.md: valid, and their commands train as one in two processes."""

import re
import shlex
import signal
import subprocess
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
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    found = [shlex.split(line) for line in re.findall(r"python (launch\.py [^\n\"]*)", text)]
    [job] = blocks("yaml")
    [container] = yaml.safe_load(job)["spec"]["template"]["spec"]["containers"]
    return [*found, container["command"][1:]]


def test_scripts_are_valid_shell():
    for script in blocks("bash"):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_commands_are_valid_and_their_batch_fits_the_devices():
    assert len(commands()) == 3
    for words, devices in zip(commands(), (16, 1, 16), strict=True):
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


@pytest.mark.parametrize("name", PROCESS_COUNTS)
def test_page_lists_what_is_detected(name):
    assert f"`{name}`" in PAGE
