"""Results that exist: refused, kept or replaced, and the record of a folder."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from matting_jax.commandline import main
from matting_jax.convert import to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.prediction import batches
from matting_jax.prediction import run as program
from matting_jax.prediction.record import append_line, read_lines
from matting_jax.training.state import initial_variables, training_model
from matting_jax.workdir.claim import claim
from tests.helpers import ROOT, use_folders
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def weights(folders, compiled_once, tmp_path_factory):
    """The flags of a checkpoint of the tiny network and a workdir with its config."""
    config = use_folders(tiny_config(), folders, compiled_once)
    folder = tmp_path_factory.mktemp("weights")
    variables = jax.device_get(initial_variables(config, training_model(config)))
    write_state_dict(folder / "tiny.safetensors", to_state_dict("tiny", variables))
    claim(folder / "run", config)
    return [f"--workdir={folder / 'run'}", f"--checkpoint={folder / 'tiny.safetensors'}"]


@pytest.fixture
def arguments(weights, tmp_path):
    """The arguments that predict tmp_path/photos, 6 photos and a broken one, into tmp_path/out."""
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, height in enumerate((33, 40, 33, 64, 40, 33)):
        image = Image.fromarray(rng.integers(0, 256, (height, 40, 3), np.uint8))
        image.save(tmp_path / "photos" / ("sub" if number % 2 else "") / f"{number}.png")
    (tmp_path / "photos" / "broken.jpg").write_text("no image")
    places = [f"--input={tmp_path / 'photos'}", f"--output={tmp_path / 'out'}"]
    return ["--mode=predict", *weights, *places]


@pytest.fixture
def predict(arguments):
    return lambda *more: main(["launch.py", *arguments, *more], "")


def contents(folder):
    """Returns the content of each PNG file, and that of the record without its times."""
    found = {str(x.relative_to(folder)): x.read_bytes() for x in folder.rglob("*.png")}
    return found, {name: (x["size"], x["fault"]) for name, x in read_lines(folder).items()}


def test_record_has_a_line_for_each_photo(predict, tmp_path, capsys):
    assert predict("--foreground=none") == 1
    record = (tmp_path / "out" / "predictions.jsonl").read_text()
    lines = {line["file"]: line for line in map(json.loads, record.splitlines())}
    assert len(lines) == record.count("\n") == 7
    assert all(0 < line["seconds"] < 60 for name, line in lines.items() if "broken" not in name)
    fault = lines.pop(str(tmp_path / "photos" / "broken.jpg"))
    assert fault["size"] is None and fault["fault"] in capsys.readouterr().err
    for name, line in lines.items():
        with Image.open(name) as photo:
            assert (line["size"], line["fault"]) == ([*photo.size], None)


def test_keep_completes_a_folder_that_was_interrupted(predict, tmp_path, monkeypatch, capsys):
    assert predict() == 1
    whole = contents(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "whole")

    written, write_files = [], program.write_files

    def stopping(files):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(files)
        write_files(files)

    monkeypatch.setattr(program, "write_files", stopping)
    assert predict() == 130
    monkeypatch.setattr(program, "write_files", write_files)
    out = tmp_path / "out"
    assert len(list(out.rglob("*.png"))) == 6
    # Of one photo a result is cut, of another one is missing, and a line is half written.
    cut, missing, first = (next(iter(files)) for files in written)
    cut.write_bytes(cut.read_bytes()[:-3])
    missing.unlink()
    stamp = first.stat().st_mtime_ns
    record = out / "predictions.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(x for x in lines if first.stem[0] not in x) + lines[-1][:20])
    assert predict() == 2 and "--existing keep" in capsys.readouterr().err
    assert predict("--existing=keep") == 1
    assert contents(out) == whole
    assert first.stat().st_mtime_ns == stamp
    text = capsys.readouterr().out
    assert "1 of 7 photos have their results already" in text and "5 of 6 photos" in text
    assert predict("--existing=keep") == 1  # the broken photo is tried again
    assert contents(out) == whole
    assert predict("--existing=overwrite") == 1
    assert contents(out) == whole and first.stat().st_mtime_ns > stamp


def test_batches_that_overlap_change_no_bit(predict, tmp_path, monkeypatch):
    assert predict("--bits=16") == 1
    one_by_one, _ = contents(tmp_path / "out")
    monkeypatch.setattr(program, "batches_at_a_time", lambda: 3)
    monkeypatch.setattr(batches, "photos_a_device", lambda *_: 4)
    assert predict("--bits=16", "--overwrite") == 1
    assert contents(tmp_path / "out")[0] == one_by_one


def test_all_kept_needs_no_network(predict, tmp_path, monkeypatch):
    (tmp_path / "photos" / "broken.jpg").unlink()
    assert predict("--foreground=none") == 0
    monkeypatch.setattr("matting_jax.prediction.predict.load_matter", None)
    assert predict("--foreground=none", "--existing=keep") == 0


@pytest.mark.parametrize(
    ("made", "now", "words"),
    [
        (["--bits=8"], ["--bits=16"], "bits 8, now 16"),
        (["--foreground=blur"], ["--foreground=multilevel"], "foreground blur, now multilevel"),
        (["--foreground=blur"], ["--foreground=none"], ""),
        (["--foreground=none"], ["--foreground=blur"], ""),
        ([], ["--config.test_time.reference_size=96"], "'reference_size': 96"),
    ],
)
def test_results_of_other_options_are_not_kept(predict, tmp_path, capsys, made, now, words):
    for photo in (tmp_path / "photos").rglob("*.*"):
        if photo.stem != "0":
            photo.unlink()
    assert predict(*made) == 0
    before = contents(tmp_path / "out")
    assert predict("--existing=keep", *now) == (2 if words else 0)
    error = capsys.readouterr().err
    assert words in error and ("were made with" in error) == bool(words)
    found = contents(tmp_path / "out")[0]
    assert all(found[name] == x for name, x in before[0].items())
    assert predict("--existing=keep", *made) == 0
    assert predict("--overwrite", *now) == 0 and predict("--existing=keep", *now) == 0


def test_flags_that_contradict_are_refused(predict, capsys):
    assert predict("--existing=keep", "--overwrite") == 2
    assert "--existing keep contradicts --overwrite" in capsys.readouterr().err
    assert predict("--existing=kept") == 2
    assert "did you mean 'keep'" in capsys.readouterr().err
    assert predict("--existing=overwrite", "--overwrite", "--foreground=none") == 1


def test_line_after_an_unfinished_one_is_whole(tmp_path):
    (tmp_path / "predictions.jsonl").write_text('{"file": "a.png", "si')
    append_line(tmp_path, tmp_path / "b.png", 0.25, "missing")
    append_line(tmp_path, tmp_path / "b.png", None, None)
    line = {"file": str(tmp_path / "b.png"), "size": None, "seconds": None, "fault": None}
    line["options"] = None
    assert read_lines(tmp_path) == {str(tmp_path / "b.png"): line}


@pytest.mark.slow
def test_keep_after_a_kill_completes_the_folder(arguments, tmp_path):
    """Killed once the first results exist; the rest is predicted by a second run."""
    command = [sys.executable, "-m", "tests.launch_tiny", *arguments]
    whole = subprocess.run(
        [*command[:-1], f"--output={tmp_path / 'whole'}"], cwd=ROOT, capture_output=True
    )
    assert whole.returncode == 1, whole.stderr[-2000:]
    killed = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "out").rglob("[!.]*.png")) and killed.poll() is None:
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    begun = len(list((tmp_path / "out").rglob("[!.]*.png")))
    assert 0 < begun
    again = subprocess.run([*command, "--existing=keep"], cwd=ROOT, capture_output=True)
    assert again.returncode == 1, again.stderr[-2000:]
    found, record = contents(tmp_path / "out")
    results = {name: x for name, x in found.items() if not os.path.basename(name).startswith(".")}
    expected = contents(tmp_path / "whole")
    assert results == expected[0] and record == expected[1]
