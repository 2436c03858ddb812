"""The records of the tasks, and what the tasks share."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from matting_jax import tasks
from matting_jax.config import load_config
from tests.helpers import CONFIGS

TASK_FILE = """
from matting_jax.tasks.task import Task

TASK = Task(synthesize=lambda keys, batch, config: (batch, {}), loss=None)
"""


def test_task_is_found_by_its_file_name_in_a_further_folder(tmp_path, monkeypatch):
    (tmp_path / "furthest.py").write_text(TASK_FILE)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    task = tasks.find_task("furthest")
    assert task.synthesize(None, 1, None) == (1, {})
    assert task.evaluate is None and task.state is None
    assert task.stage("model", None, 1) == ("model",)
    assert task.score({"mad": 3.0, "mse": 1.0}) == 3.0
    config = ConfigDict()
    assert task.check(config) is None
    assert task.result(config) == "alpha"
    assert not task.denoised(config) and not task.labelled(config)


@pytest.mark.parametrize("name", ["modnt", "task"])
def test_unknown_task_raises(name):
    with pytest.raises(ValueError, match=r"modnet|dim|soc"):
        tasks.find_task(name)


@pytest.mark.parametrize(
    "variant, result, labelled",
    [("sample", "trimap", False), ("trimap", "trimap", False), ("cityscapes", "classes", True)],
)
def test_segmentation_says_what_it_predicts_and_reads(variant, result, labelled):
    config = load_config(CONFIGS / "bisenet_v2.py", variant)
    task = tasks.find_task(config.task.name)
    assert (task.result(config), task.labelled(config)) == (result, labelled)
    assert task.score({"miou": 0.75, "iou_0": 0.5}) == 0.25


@pytest.mark.parametrize("name", ["modnet", "pp_matting", "gfm", "dim", "gca"])
def test_denoised_copies_are_needed_with_their_probability(name):
    config = load_config(CONFIGS / f"{name}.py", "")
    task = tasks.find_task(config.task.name)
    assert not task.denoised(config)
    config.synthesis.rssn.denoise = 0.5
    assert task.denoised(config)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_samples_are_floats_with_integer_labels_and_without_index(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    rng = np.random.default_rng(0)
    batch = {name: rng.integers(0, 256, (3, 4, 5, 1), np.uint8) for name in ("alpha", "label")}
    batch["index"] = np.arange(3)
    keys = jax.random.split(jax.random.key(0), 3)
    seen = tasks.each_sample(lambda key, arrays: arrays | {"key": key}, keys, batch)
    assert seen.keys() == {"alpha", "label", "key"}
    np.testing.assert_allclose(seen["alpha"], batch["alpha"] / np.float32(255), rtol=1e-6)
    assert seen["label"].dtype == np.uint8
    np.testing.assert_array_equal(seen["label"], batch["label"])
    assert np.all(seen["key"] == keys)


def test_random_flip_flips_all_arrays_or_none():
    x = np.arange(24).reshape(2, 4, 3)
    keys = jax.random.split(jax.random.key(0), 400)
    first, second = jax.vmap(lambda key: tasks.random_flip(key, 0.25, (x, 2 * x)))(keys)
    flipped = np.array([np.array_equal(image, x[:, ::-1]) for image in first])
    assert 0.18 < flipped.mean() < 0.32
    for mirrored, image, other in zip(flipped, first, second, strict=True):
        np.testing.assert_array_equal(image, x[:, ::-1] if mirrored else x)
        np.testing.assert_array_equal(other, 2 * image)


def test_function_is_applied_with_its_probability():
    keys = jax.random.split(jax.random.key(1), 400)
    changed = jax.vmap(lambda key: tasks.apply_randomly(key, 0.25, lambda x: x + 1, 0.0))(keys)
    assert set(np.unique(changed)) == {0, 1} and 0.18 < changed.mean() < 0.32
