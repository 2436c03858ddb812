"""Clips that are stopped, damaged, would replace a file, or are refused."""

import os
import signal

import av
import numpy as np
import pytest
from PIL import Image

from matting_jax.data.clips.reader import open_clip
from matting_jax.prediction.video.run import Loader
from tests.clips import TIMES, composites, moving_alpha, sound_of, write_clip
from tests.limits import file_limit
from tests.prediction.video.commands import predict, read


def test_nothing_is_replaced_unless_asked(tiny_run, clip, tmp_path, capsys):
    output = tmp_path / "alpha.mp4"
    output.write_bytes(b"precious")
    assert predict(tiny_run, clip, f"{tmp_path / 'alpha.mkv'},{output}") == 2
    assert "alpha.mp4 exists already: pass --overwrite" in capsys.readouterr().err
    assert output.read_bytes() == b"precious" and os.listdir(tmp_path) == ["alpha.mp4"]
    assert predict(tiny_run, clip, output, "--overwrite") == 0
    assert len(read(output)) == 12
    assert predict(tiny_run, output, output, "--overwrite") == 2
    assert "would replace" in capsys.readouterr().err and len(read(output)) == 12


def test_no_input_is_replaced(tiny_run, clip, tmp_path, capsys):
    """Not even by a file that is still being written, nor by the new background."""
    frames = clip.read_bytes()
    for name, output, more in (
        ("a.part.mp4", "a.mp4", ["--composite=green"]),
        ("a.mp4", "b.mp4", [f"--composite={tmp_path / 'b.mp4'}"]),
    ):
        for path in (tmp_path / name, tmp_path / "b.mp4"):
            path.write_bytes(frames)
        assert predict(tiny_run, tmp_path / name, tmp_path / output, *more, "--overwrite") == 2
        assert "would replace" in capsys.readouterr().err
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {frames}
    (tmp_path / "alpha.mkv").mkdir()
    assert predict(tiny_run, clip, f"{tmp_path / 'c.mp4'},{tmp_path / 'alpha.mkv'}") == 2
    assert "alpha.mkv: it is a folder" in capsys.readouterr().err
    assert not (tmp_path / "c.mp4").exists()


def test_overwritten_folder_keeps_no_frame_of_the_clip_before(tiny_run, tmp_path):
    frames, output = composites(moving_alpha(3)), tmp_path / "out"
    write_clip(tmp_path / "long.mkv", frames)
    write_clip(tmp_path / "short.mkv", frames[:1])
    assert predict(tiny_run, tmp_path / "long.mkv", output) == 0
    (output / "notes.png").write_text("mine")
    assert (
        predict(tiny_run, tmp_path / "short.mkv", output, "--overwrite", "--foreground=none") == 0
    )
    assert sorted(os.listdir(output)) == ["000000_alpha.png", "notes.png"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_what_was_written_and_says_so(
    tiny_run, clip, tmp_path, monkeypatch, capsys, number
):
    original = Loader.__call__

    def load(self, item):
        if item == 6:
            os.kill(os.getpid(), number)
        return original(self, item)

    monkeypatch.setattr(Loader, "__call__", load)
    outputs = [tmp_path / "alpha.mp4", tmp_path / "alpha.mkv"]
    code = predict(tiny_run, clip, ",".join(map(str, outputs)))
    assert code == 128 + number
    text = capsys.readouterr()
    written = int(text.out.split()[0])
    assert 1 <= written < 12 and f"{written} frames are kept in" in text.err
    for output in outputs:
        assert len(read(output)) == written
        assert sound_of(output)[1] < TIMES[written] / 10 + 0.15


def test_full_disk_leaves_what_fitted_and_names_the_file(tiny_run, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (90, 48, 64, 3), np.uint8)
    write_clip(tmp_path / "in.mkv", frames, "ffv1", "bgra")
    with file_limit(60_000):
        code = predict(tiny_run, tmp_path / "in.mkv", tmp_path / "alpha.mp4")
    assert code == 2
    message = capsys.readouterr().err
    assert f"cannot write {tmp_path / 'alpha.mp4'}: the file would be larger" in message
    assert sum(1 for _ in open_clip(tmp_path / "alpha.mp4").read()) >= 40
    assert sorted(os.listdir(tmp_path)) == ["alpha.mp4", "in.mkv"]


def test_file_without_a_frame_that_can_be_played_is_removed(tiny_run, tmp_path, capsys):
    frames = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)
    write_clip(tmp_path / "in.mkv", frames, "ffv1", "bgra")
    with file_limit(600):
        code = predict(tiny_run, tmp_path / "in.mkv", tmp_path / "alpha.mp4")
    message = capsys.readouterr().err
    assert code == 2 and f"cannot write {tmp_path / 'alpha.mp4'}: " in message
    assert "can be played" not in message and os.listdir(tmp_path) == ["in.mkv"]


def test_damaged_frame_is_reported_and_the_clip_goes_on(tiny_run, tmp_path, capsys):
    path = write_clip(tmp_path / "in.mov", composites(moving_alpha(6)), "png", "rgb24")
    with av.open(str(path)) as container:
        packet = [x for x in container.demux() if x.size][3]
    content = bytearray(path.read_bytes())
    middle = packet.pos + packet.size // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    assert predict(tiny_run, path, tmp_path / "alpha.mkv") == 1
    assert "0.300 s" in capsys.readouterr().err
    assert len(read(tmp_path / "alpha.mkv", "gray16le")) >= 5


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--trimap=x"], "--trimap is for photos"),
        (["--smooth=dealy"], "did you mean 'delay'"),
        (["--smooth_threshold=2"], "in [0, 1]"),
        (["--foreground=multilevel"], "for a clip pass blur"),
        (["--foreground=network"], "predicts no foreground colours"),
        (["--composite=greeen", "--output=new.mp4"], "no colour and no file"),
        (["--composite=green"], "no --output shows it"),
        (["--output=out.avi"], "unknown kind of file"),
        (["--output=alpha.webm"], "cannot hold the alpha"),
        (["--output=a.mp4,./a.mp4"], "twice"),
        (["--foreground=none", "--output=out.webm"], "makes no cut-out"),
        (["--background=x.png"], "takes no background"),
        (["--batch=-1"], "--batch must be at least 0, got -1"),
        (["--composite=", "--output=new.mp4"], "no colour and no file"),
        (["--composite=rgb(300,0,0)", "--output=new.mp4"], "no colour and no file"),
        (["--composite=gs://b/a.jpg", "--output=new.mp4"], "--composite must be a local file"),
        (["--output=,"], "names no result"),
        (["--smooth_threshold=0.2"], "for --smooth delay"),
        (["--frame_rate=10"], "times of its own"),
        (["--frame_rate=1e-9"], "--frame_rate must be in"),
        (["--frame_rate=nan"], "--frame_rate must be in"),
        (["--bits=16", "--output=alpha.mp4"], "has 8 bits"),
        (["--input=camera:9"], "cannot open"),
        (["--input=missing.mp4"], "missing.mp4"),
        (["--input=missing.MTS", "--output=folder"], "there is no clip missing.MTS"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_written(
    tiny_run, clip, tmp_path, monkeypatch, capsys, flags, words
):
    monkeypatch.chdir(tmp_path)
    assert predict(tiny_run, clip, "alpha.mkv", *flags) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_flags_of_clips_are_refused_for_photos(tiny_run, tmp_path, capsys):
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    assert predict(tiny_run, tmp_path / "a.png", tmp_path / "out", "--smooth=delay") == 2
    assert "--smooth is for clips" in capsys.readouterr().err
