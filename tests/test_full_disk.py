import subprocess
import sys

import pytest

from tests.helpers import ROOT

PROGRAMS = ("train", "prepare a data set", "predict", "predict alpha.mp4", "evaluate")
PROGRAMS += ("convert .safetensors", "export w.onnx")


@pytest.mark.slow
def test_full_disk_ends_programs_with_one_sentence_and_whole_files():
    command = [sys.executable, "-m", "tests.full_disk", "--tries=1", "--only", *PROGRAMS]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(" plain") == len(PROGRAMS) + 1, ended.stdout  # the last is the sum
