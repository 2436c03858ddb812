"""The mirror at Weights & Biases, in its offline mode."""

import json
import os
import struct
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from matting_jax.workdir.mirror import Mirror, identity
from tests.helpers import ROOT

# Logs as two programs do, the second of which resumes the run.
PROGRAM = """
import sys
from pathlib import Path

import numpy as np
from matting_jax.workdir.writer import Writer

workdir = Path(sys.argv[1])
workdir.mkdir(exist_ok=True)
(workdir / "config.json").write_text('{"steps": 4}')
writer = Writer(workdir, int(sys.argv[2]), "matting")
writer.scalars(2, {"loss": 0.25, "test_mad": 0.125})
writer.preview(2, np.full((4, 6, 3), 7, np.uint8))
writer.close()
"""


def records(path):
    """Yields the records of a .wandb file, a log of LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


@pytest.mark.slow
def test_curves_and_previews_are_mirrored_and_a_resumed_run_is_the_same_one(tmp_path):
    pytest.importorskip("wandb")
    workdir = tmp_path / "run"
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    environment["PYTHONPATH"] = str(ROOT)
    for first_step in ("-1", "2"):
        command = [sys.executable, "-c", PROGRAM, str(workdir), first_step]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    runs = sorted((workdir / "wandb").glob("offline-run-*"))
    assert len({run.name.rpartition("-")[2] for run in runs}) == 1 and len(runs) == 2
    [file] = runs[0].glob("*.wandb")
    logged = {}
    for record in records(file):
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            logged[name] = json.loads(item.value_json)
    assert (logged["step"], logged["loss/total"], logged["test/mad"]) == (2, 0.25, 0.125)
    assert logged["preview/width"] == 6
    [picture] = (runs[0] / "files" / "media" / "images").iterdir()
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), np.full((4, 6, 3), 7, np.uint8))


def test_identity_stays(tmp_path):
    first = identity(tmp_path / "wandb.txt")
    assert len(first) == 12 and identity(tmp_path / "wandb.txt") == first
    assert identity(tmp_path / "other.txt") != first


def test_start_without_a_key_says_what_to_do(tmp_path, monkeypatch):
    def fail(**_):
        raise RuntimeError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=fail, Image=None))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="WANDB_API_KEY or run `wandb login`; WANDB_MODE=offline"):
        Mirror(tmp_path, "matting")


def test_error_of_a_started_run_is_said_once_and_the_training_goes_on(
    tmp_path, monkeypatch, caplog
):
    run = Mock()
    run.log.side_effect = [None, OSError("the service has ended")]
    wandb = SimpleNamespace(init=lambda **_: run, Image=lambda picture: picture)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    (tmp_path / "config.json").write_text("{}")
    mirror = Mirror(tmp_path, "matting")
    for step in range(4):
        mirror.log(step, {"loss/total": 0.5})
    mirror.preview(4, np.zeros((2, 2, 3), np.uint8))
    mirror.close()
    assert [call.args[0]["step"] for call in run.log.call_args_list] == [0, 1]
    assert caplog.text.count("the service has ended") == 1 and "metrics.jsonl" in caplog.text


def test_missing_package_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"needs wandb: pip install 'matting_jax\[wandb\]'"):
        Mirror(tmp_path, "matting")
