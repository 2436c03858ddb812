"""configs/soc.py: each variant adapts its network, by the fields that name its outputs."""

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.config import flatten, load_config
from matting_jax.convert.files import write_state_dict
from matting_jax.tasks import soc
from matting_jax.training.state import training_model, variables_from_seed
from matting_jax.training.train import train
from tests.helpers import CONFIGS, MODNET_SOC, use_folders

SOC = CONFIGS / "soc.py"
VARIANTS = ("modnet", "pp_matting", "gfm")


def config_of(variant):
    config = load_config(SOC, variant)
    config.init.checkpoint = "x"
    if variant == "pp_matting":
        config.model.backbone = "hrnet_w18"
    return config


@pytest.mark.parametrize("variant", VARIANTS)
def test_fields_of_each_variant_fit_its_network(variant):
    soc.check(config_of(variant))


def test_variant_of_modnet_equals_its_own_recipe():
    assert flatten(load_config(SOC, "modnet")) == flatten(load_config(MODNET_SOC, "official"))
    assert flatten(load_config(SOC, "")) == flatten(load_config(SOC, "modnet"))


@pytest.mark.parametrize("path, variant", [(SOC, "modnet"), (SOC, "gfm"), (MODNET_SOC, "")])
def test_name_of_another_network_raises_with_its_variant(path, variant, tmp_path):
    config = load_config(path, variant)
    config.name, config.init.checkpoint = "pp_matting", "x"
    config.compilation_cache = ""
    with pytest.raises(ValueError, match="take the fields of configs/soc.py:pp_matting"):
        train(config, tmp_path / "run")


def test_output_that_the_network_lacks_raises_with_the_closest():
    config = config_of("modnet")
    config.task.semantic = "semantics"
    with pytest.raises(ValueError, match="task.semantic, .*did you mean 'semantic'"):
        soc.check(config)
    config = config_of("pp_matting")
    config.task.classes = (1.0,)
    with pytest.raises(ValueError, match="1 numbers, but the network's semantics have 3 channels"):
        soc.check(config)


def test_scores_of_classes_are_shares_of_their_sum():
    """GFM's are separate sigmoids, which do not sum to 1."""
    scores = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
    scores[0, 0, 0] = 0
    subject = soc.reduce_semantic(scores, (0.0, 0.5, 1.0), 64)
    expected = (scores[..., 1] / 2 + scores[..., 2]) / np.maximum(scores.sum(-1), 1e-6)
    np.testing.assert_allclose(subject[..., 0], expected, rtol=1e-6)
    assert subject.min() == 0 and subject.max() <= 1
    single = 2 * scores[..., :1]  # of one channel nothing is divided
    np.testing.assert_array_equal(soc.reduce_semantic(single, (1.0,), 64), single)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_steps_change_only_the_parameters(variant, folders, compiled_once, tmp_path):
    config = use_folders(config_of(variant), folders, compiled_once)
    config.steps, config.task.refresh = 2, "never"
    config.data.crop.update(dict(size=64, rescale=(64, 72)))
    config.data.workers, config.preview_images, config.allocator = 1, 1, False
    config.log_every, config.evaluate_every, config.save_every = 1, 0, 0
    config.data.test.images = ""
    start = jax.device_get(variables_from_seed(config, training_model(config)))
    if variant == "pp_matting":  # alpha is the detail where transition is likely
        bias = start["params"]["scb"]["scb_stages_5"]["2"]["bias"]
        start["params"]["scb"]["scb_stages_5"]["2"]["bias"] = bias + np.float32([0, 1, 0])
    tensors = mj.to_state_dict(variant, start, **config.model)
    write_state_dict(tmp_path / "start.safetensors", tensors)
    config.init.checkpoint = str(tmp_path / "start.safetensors")
    state = jax.device_get(train(config, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, state["batch_stats"], start["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, state["memory"], start)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state["params"], start["params"])
    assert set(moved) == set(config.optimizer.module_rates)
    for name, distances in moved.items():
        # Adam moves a parameter by at most about its rate at each of the two steps.
        assert 1e-6 < max(jax.tree.leaves(distances)) < 2.5e-5, name
