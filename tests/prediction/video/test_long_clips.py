"""Clips of many frames in processes of their own: memory, and what a killed one leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.data.clips.reader import open_clip
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.clips import composites, moving_alpha, write_clip
from tests.helpers import ROOT
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def start(compiled_once, tmp_path_factory):
    """A function that starts launch.py on a clip, and returns the process."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("tiny")
    config.compilation_cache = str(compiled_once)
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "w.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)

    def run(clip, output):
        flags = [f"--workdir={folder / 'run'}", f"--checkpoint={folder / 'w.safetensors'}"]
        flags += ["--mode=predict", f"--input={clip}", f"--output={output}"]
        command = [sys.executable, "-m", "tests.launch_tiny", *flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        # A shell's background jobs ignore Ctrl-C.
        return subprocess.Popen(command, cwd=ROOT, env=environment, preexec_fn=heed_interrupt)

    return run


def heed_interrupt():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write_frames(path, count):
    frames = composites(moving_alpha(10, 180, 320))
    return write_clip(path, np.concatenate([frames] * (count // 10)), sound="aac")


@pytest.fixture(scope="module")
def thousand_frames(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("clip") / "in.mp4", 1000)


def has_begun(path):
    return path.exists() and path.stat().st_size > 20_000


def peak_of(process):
    """Returns the largest memory of a process until it ends, in kB."""
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(ValueError, IndexError, OSError):  # it has just ended
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
        time.sleep(0.02)
    return peak


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_length(start, thousand_frames, tmp_path):
    peaks = {}
    clips = {count: write_frames(tmp_path / f"{count}.mp4", count) for count in (10, 100)}
    for count, clip in {**clips, 1000: thousand_frames}.items():  # the first compiles
        process = start(clip, f"{tmp_path / f'{count}.webm'},{tmp_path / f'{count}_alpha.mp4'}")
        peaks[count] = peak_of(process)
        assert process.returncode == 0
        assert sum(1 for _ in open_clip(tmp_path / f"{count}_alpha.mp4").read()) == count
    # One program's peak varies by 30 MB; 900 frames would take 156 MB.
    assert peaks[1000] - peaks[100] < 80_000, peaks


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_a_killed_program_wrote_can_be_read(start, thousand_frames, tmp_path, number):
    names = ("alpha.mp4", "alpha.mkv")
    process = start(thousand_frames, ",".join(str(tmp_path / name) for name in names))
    parts = [tmp_path / f"alpha.part{name[5:]}" for name in names]
    while process.poll() is None and not all(map(has_begun, parts)):
        time.sleep(0.05)
    time.sleep(np.random.default_rng(number).random())
    process.send_signal(number)
    code = process.wait()
    killed = number == signal.SIGKILL
    assert code == (-number if killed else 128 + number)
    left = parts if killed else [tmp_path / name for name in names]
    counts = [sum(1 for _ in open_clip(path).read()) for path in left]
    assert all(20 <= count < 1000 for count in counts)
    if not killed:
        assert counts[0] == counts[1]
