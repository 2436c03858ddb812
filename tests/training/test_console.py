import contextlib
import io
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from matting_jax.training import console


def test_log_interval_measures_waits_and_excludes_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])

    def batches():
        while True:
            now[0] += 1.0
            yield {"index": np.zeros(4)}

    interval, source = console.LogInterval(), batches()
    for loss in (1.0, 2.0):
        interval.next_batch(source)
        now[0] += 3.0
        interval.add({"loss": np.float32(loss)})
        with interval.paused():
            now[0] += 100.0
    expected = {"loss": 1.5, "samples_per_second": 2 * 4 / 8.0, "data_wait": 0.25}
    assert interval.finish(batch_size=4) == pytest.approx(expected)

    now[0] += 5.0
    interval.add({"loss": np.float32(7.0)})
    expected = {"loss": 7.0, "samples_per_second": 4 / 5.0, "data_wait": 0.0}
    assert interval.finish(batch_size=4) == pytest.approx(expected)


def test_compilation_is_announced_and_excluded_from_the_speed(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    interval = console.LogInterval()
    with caplog.at_level(logging.INFO, logger="matting_jax"):
        with console.announced_compilation("the training step", interval):
            now[0] += 75.0
    for _ in range(3):
        now[0] += 2.0
        interval.add({"loss": np.float32(0)})
    assert [record.getMessage() for record in caplog.records] == [
        "compiling the training step, which may take minutes",
        "compiled the training step in 75.0 s",
    ]
    assert interval.finish(batch_size=4)["samples_per_second"] == pytest.approx(3 * 4 / 6.0)


def test_lines_of_steps_stay_above_the_bar_and_name_loss_rate_and_speed():
    """On a terminal the bar is drawn again below each line, which nothing replaces."""
    terminal = io.StringIO()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        terminal.isatty = lambda: True
        bar = console.progress(0, 2)
        for step in bar:
            values = {
                "loss": 1.5 / step,
                "learning_rate": 0.004,
                "samples_per_second": 12.34,
                "data_wait": 0.015,
            }
            console.say(bar, console.describe(step, values))
    shown = re.findall(r"step \d.*", terminal.getvalue())
    assert [line.split("\r")[-1] for line in shown] == [
        "step 1: loss 1.5000, rate 0.004, 12.3 samples/s, 1.5% waiting",
        "step 2: loss 0.7500, rate 0.004, 12.3 samples/s, 1.5% waiting",
    ]


@pytest.mark.parametrize(
    ("result", "command"),
    [
        ("alpha", "--mode predict --workdir runs/x --input PHOTO --background BACKGROUND"),
        ("trimap", "--mode predict --workdir RUN --trimap_from runs/x --input PHOTO"),
        ("classes", None),
    ],
)
def test_end_tells_how_to_use_what_the_run_predicts(capsys, result, command):
    console.print_end(Path("runs/x"), ["background"] if result == "alpha" else [], result)
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    text = " ".join(text.replace("\\\n", "").split())  # as the shell reads it
    assert "--mode evaluate --workdir runs/x" in text and "tensorboard --logdir runs/x" in text
    assert command in text if command else "--mode predict" not in text


def test_end_suggests_no_evaluation_without_images_to_score(capsys):
    console.print_end(Path("runs/x"), [], "alpha", scored=False)
    text = capsys.readouterr().out
    assert "evaluate" not in text
    assert "next         python launch.py --mode predict" in text


@pytest.mark.parametrize(
    ("program", "command"),
    [("/env/bin/matting_jax", "matting_jax"), ("launch.py", "python launch.py")],
)
def test_end_names_the_command_that_was_run(capsys, monkeypatch, program, command):
    monkeypatch.setattr(sys, "argv", [program])
    console.print_end(Path("runs/x"), [], "alpha")
    text = capsys.readouterr().out
    assert f"next         {command} --mode evaluate" in text
    assert text.count("launch.py") == (2 if program == "launch.py" else 0)
