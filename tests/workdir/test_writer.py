import json
import time

import numpy as np
import pytest
from PIL import Image

from matting_jax.workdir.writer import Writer


def read(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_scalars_are_lines_of_json_with_the_time(tmp_path):
    writer, before = Writer(tmp_path, 0), time.time()
    writer.scalars(1, {"loss": np.float32(0.5), "speed": 3})
    writer.scalars(2, {"loss": 0.25})
    writer.close()
    lines = read(tmp_path)
    first, second = (line.pop("time") for line in lines)
    assert before - 0.001 <= first <= second <= time.time() + 0.001
    assert lines == [{"step": 1, "loss": 0.5, "speed": 3.0}, {"step": 2, "loss": 0.25}]


def test_lines_after_the_step_of_the_resumed_run_are_removed(tmp_path):
    writer = Writer(tmp_path, 0)
    for step in (1, 2, 3, 4):
        writer.scalars(step, {"loss": step})
    writer.close()
    writer = Writer(tmp_path, 2)
    writer.scalars(3, {"loss": 30})
    writer.close()
    assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [(1, 1), (2, 2), (3, 30)]


@pytest.mark.parametrize("rest", ['{"step": 1, "lo', "{}", "", "nul"])
def test_damaged_line_is_removed(tmp_path, rest):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n' + rest)
    writer = Writer(tmp_path, 1)
    writer.scalars(2, {"loss": 0.25})
    writer.close()
    assert [line["step"] for line in read(tmp_path)] == [1, 2]


def test_log_is_complete_if_a_run_is_killed_while_removing_lines(tmp_path, monkeypatch):
    writer = Writer(tmp_path, 0)
    for step in (1, 2, 3):
        writer.scalars(step, {"loss": step})
    writer.close()

    def killed(*arguments):
        raise SystemExit

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(SystemExit):
        Writer(tmp_path, 1)
    assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]


def test_preview_is_a_png_of_the_step(tmp_path):
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    writer = Writer(tmp_path, 0)
    path = writer.preview(12, picture)
    writer.close()
    assert path == tmp_path / "previews" / "step_000012.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)


def test_events_hold_each_value_at_its_step_in_its_group(tmp_path):
    import tensorflow as tf

    writer = Writer(tmp_path, 0)
    values = {"loss": 0.5, "semantic": 0.25, "learning_rate": 2, "data_wait": 0, "test_iou_a": 4}
    writer.scalars(5, values)
    writer.close()
    (path,) = (tmp_path / "events").iterdir()
    values = {
        (event.step, value.tag, value.simple_value)
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert values == {
        (5, "loss/total", 0.5),
        (5, "loss/semantic", 0.25),
        (5, "rate", 2),
        (5, "speed/data_wait", 0),
        (5, "test/iou_a", 4),
    }
