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
    assert "--mode evaluate --workdir runs/x" in text
    assert command in text if command else "--mode predict" not in text
