"""Training of a network that takes a trimap and has other collections of statistics."""

import jax
import numpy as np
import pytest
from PIL import Image

from matting_jax.convert import load_checkpoint
from matting_jax.data import evaluation_images
from matting_jax.evaluation import previews
from matting_jax.prediction.matter import Matter
from matting_jax.training.state import variables_of
from matting_jax.training.train import train
from tests.helpers import assert_same, scores_of
from tests.tiny import tiny_trimap_config


@pytest.fixture
def config(folders, compiled_once):
    return tiny_trimap_config(folders, compiled_once)


@pytest.fixture(scope="module")
def whole(folders, compiled_once, tiny, tmp_path_factory):
    """(workdir, last state on the host) of a run of four steps."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    state = train(tiny_trimap_config(folders, compiled_once), workdir)
    return workdir, jax.device_get(state)


def test_resumed_run_equals_uninterrupted_one(config, whole, tmp_path):
    config.steps = 2
    train(config, tmp_path / "run")
    config.steps = 4
    resumed = jax.device_get(train(config, tmp_path / "run"))
    assert_same(resumed, whole[1])
    assert scores_of(tmp_path / "run") == scores_of(whole[0])


def test_statistics_of_any_name_are_trained_and_saved(whole):
    workdir, state = whole
    np.testing.assert_array_equal(state["counter"]["count"], [4])
    saved = load_checkpoint("tiny_trimap", workdir)
    assert saved.keys() == {"params", "counter", "spectral"}
    best = min(scores_of(workdir), key=lambda line: line["test_mad"])
    np.testing.assert_array_equal(saved["counter"]["count"], [best["step"]])


def test_scores_are_those_of_the_unknown_region(config, whole):
    workdir, state = whole
    matter = Matter("tiny_trimap", variables_of(jax.device_put(state)))
    errors = []
    for image in evaluation_images(config):
        error = np.abs(matter(image.image, trimap=image.trimap) - image.alpha / 255)
        np.testing.assert_array_equal(error[image.trimap != 128], 0)
        errors.append(error[image.trimap == 128].mean())
    last = scores_of(workdir)[-1]
    assert last["step"] == 4 and last["test_mad"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_previews_show_the_trimap(whole):
    picture = Image.open(whole[0] / "previews" / "step_000004.png")
    # photo, trimap, coarse alpha, alpha, truth, cut-out
    assert picture.width == 6 * previews.TILE
    trimap = np.asarray(picture)[30 : previews.TILE, previews.TILE : 2 * previews.TILE]
    assert {0, 128, 255} <= set(np.unique(trimap))
