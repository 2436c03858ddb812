"""The weights that a training starts from: of the seed, of a backbone, of a checkpoint."""

import jax
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.convert import load_checkpoint, to_state_dict
from matting_jax.convert.files import write_state_dict
from matting_jax.convert.identity import recall
from matting_jax.training.state import initial_variables, training_model
from tests.helpers import MODNET, assert_same, differs, one_step


def test_seed_determines_the_initial_weights(config):
    model = training_model(config)
    one, same = (initial_variables(config, model) for _ in range(2))
    assert_same(one, same)
    config.seed += 1
    assert differs(one["params"], initial_variables(config, model)["params"])


def test_training_starts_from_exactly_the_weights_of_a_checkpoint(config, tmp_path):
    model = training_model(config)
    config.seed += 5
    variables = jax.device_get(initial_variables(config, model))
    variables["batch_stats"] = jax.tree.map(lambda x: x + 0.25, variables["batch_stats"])
    write_state_dict(tmp_path / "t.safetensors", to_state_dict("tiny", variables))
    config.seed -= 5
    config.init.checkpoint = str(tmp_path / "t.safetensors")
    first, _, _ = one_step(config)
    assert_same(first["params"], variables["params"])
    assert_same(first["batch_stats"], variables["batch_stats"])


def test_weights_of_a_run_are_not_known_as_its_own_in_the_next_one(finished, config):
    """Else another test-time rule than that of the first run would be warned of."""
    config.init.checkpoint = str(finished[0])
    loaded = load_checkpoint("tiny", finished[0])
    started = initial_variables(config, training_model(config))
    assert recall(loaded) and recall(started) is None
    assert_same(jax.device_get(started), jax.device_get(loaded))


@pytest.mark.slow
def test_smaller_network_initialises_the_modules_that_a_larger_one_shares_with_it(config, tmp_path):
    config.name, config.model = "tiny_trimap", {"refine": False}
    config.seed += 5
    smaller = jax.device_get(initial_variables(config, training_model(config)))
    smaller["counter"] = {"count": np.full(1, 7, np.float32)}
    state_dict = to_state_dict("tiny_trimap", smaller, refine=False)
    write_state_dict(tmp_path / "t.safetensors", state_dict)
    config.seed -= 5
    config.model = {"refine": True}
    model = training_model(config)
    drawn = jax.device_get(initial_variables(config, model))
    config.init.checkpoint = str(tmp_path / "t.safetensors")
    with pytest.raises(ValueError, match="missing refiner.weight"):
        initial_variables(config, model)
    config.init.model = {"refine": False}
    started = jax.device_get(initial_variables(config, model))
    refiner = started["params"].pop("refiner")
    assert_same(started, smaller)
    assert_same(refiner, drawn["params"]["refiner"])


def test_backbone_comes_from_its_file_and_the_rest_from_the_seed(config, tmp_path):
    model = training_model(config)
    drawn = jax.device_get(initial_variables(config, model))
    config.seed += 5
    other = jax.device_get(initial_variables(config, model))
    config.seed -= 5
    file = {
        name.removeprefix("module.backbone."): array
        for name, array in to_state_dict("tiny", other).items()
        if name.startswith("module.backbone.")
    }
    file["classifier.1.weight"] = np.zeros((3, 3), np.float32)
    write_state_dict(
        tmp_path / "b.safetensors",
        {f"backbone.{k}" if not k.startswith("classifier") else k: x for k, x in file.items()},
    )
    config.init.backbone = str(tmp_path / "b.safetensors")
    variables = jax.device_get(initial_variables(config, model))
    for module, tree in variables["params"].items():
        assert_same(tree, (other if module == "backbone" else drawn)["params"][module])


def test_official_checkpoint_starts_modnet(official, tmp_path):
    write_state_dict(tmp_path / "m.safetensors", official)
    config = load_config(MODNET, "")
    config.init.checkpoint = str(tmp_path / "m.safetensors")
    variables = initial_variables(config, training_model(config))
    assert to_state_dict("modnet", variables).keys() == official.keys()
    np.testing.assert_array_equal(
        variables["params"]["f_branch"]["conv_f_1"]["layers_0"]["bias"],
        official["module.f_branch.conv_f.1.layers.0.bias"],
    )
