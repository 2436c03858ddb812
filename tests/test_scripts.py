"""The scripts that break something, at a small count; each says how to run it at its full one."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT

WRITERS = ("train", "prepare a data set", "predict", "predict alpha.mp4", "evaluate")
WRITERS += ("convert .safetensors", "export w.onnx", "fetch")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, arguments, said",
    [
        ("full_disk", ["--tries=1", "--only", *WRITERS], "0 complete, 8 plain, 0 other"),
        ("data_faults", ["--faults=2", "--seed=1"], "2 as promised, 0 other"),
        ("devices", ["--changes=1"], "largest relative difference"),
        ("deadlines", ["--stops=2", "--deadline=120"], "2 stops, 0 problems"),
    ],
)
def test_script_finds_nothing(script, arguments, said):
    command = [sys.executable, "-m", f"tests.{script}", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0 and said in ended.stdout, ended.stdout + ended.stderr[-2000:]
