"""Metrics, previews, events and the config, as a run writes and prints them."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from matting_jax.config import read_config
from matting_jax.convert import load_checkpoint
from matting_jax.evaluation.previews import HEADER, tile_size
from matting_jax.training.train import train
from tests.helpers import lines_of, scores_of


def test_metrics_hold_losses_and_the_time_waited_for_data(finished):
    lines = [line for line in lines_of(finished[0]) if "loss" in line]
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        assert line.keys() >= {"loss", "semantic", "detail", "matte", "samples_per_second", "time"}
        assert line["learning_rate"] == pytest.approx(0.02)
        assert 0 <= line["data_wait"] <= 1
        assert line["samples_per_second"] > 0
        parts = line["semantic"] + line["detail"] + line["matte"]
        assert line["loss"] == pytest.approx(parts, rel=1e-5)


def test_scores_of_the_test_data_are_those_of_the_saved_network(finished):
    from matting_jax.data import evaluation_images
    from matting_jax.prediction.matter import Matter

    workdir, config, last = finished
    best = min(scores_of(workdir)[1:], key=lambda line: line["test_mad"])
    matter = Matter("tiny", load_checkpoint("tiny", workdir), test_time=config.test_time)
    errors = [
        np.abs(matter(image).astype(float) - alpha / 255).mean()
        for _, image, alpha, *_ in evaluation_images(config)
    ]
    assert best["test_mad"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert {"test_sad", "test_mse", "test_mad"} <= best.keys()


def test_previews_show_a_row_of_six_pictures_for_each_photo(finished):
    workdir, config, _ = finished
    names = sorted(path.name for path in (workdir / "previews").iterdir())
    assert names == ["step_000000.png", "step_000002.png", "step_000004.png"]
    with Image.open(workdir / "previews" / names[-1]) as picture:
        picture.load()
        assert picture.mode == "RGB"
        assert picture.width == 6 * 192
        heights = [tile_size(40, 48)[1], tile_size(48, 40)[1]]
        assert config.preview_images == len(heights)
        assert picture.height == HEADER + sum(heights)
        assert len(set(picture.getdata())) > 100


def test_events_hold_scalars_and_previews(finished):
    import tensorflow as tf

    (path,) = (finished[0] / "events").iterdir()
    events = list(tf.compat.v1.train.summary_iterator(str(path)))
    values = {(event.step, value.tag) for event in events for value in event.summary.value}
    assert {
        (2, "loss/total"),
        (4, "loss/semantic"),
        (4, "rate"),
        (0, "test/mad"),
        (4, "test/mad"),
        (4, "speed/data_wait"),
        (4, "preview"),
    } <= values


def test_workdir_keeps_the_config(finished):
    workdir, config, _ = finished
    assert read_config(workdir) == config
    assert json.loads((workdir / "config.json").read_text())["steps"] == 4


def test_start_and_end_are_printed(config, tmp_path, capsys):
    config.steps = 2
    config.log_every = config.evaluate_every = config.save_every = 0
    train(config, tmp_path / "run")
    text = capsys.readouterr().out
    for words in (
        "parameters",
        "multiply-adds",
        "4 foregrounds, 3 backgrounds",
        "3 images",
        "sgd",
        "2 steps of 2",
        str(tmp_path / "run"),
        "--mode evaluate",
    ):
        assert words in text
    assert scores_of(tmp_path / "run")[0]["step"] == 0
    assert f"1 of {jax.device_count()} x" in text
