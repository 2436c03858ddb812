"""What all tables of official names share."""

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.convert import describe, load_backbone, to_official, to_variables
from matting_jax.convert.files import write_state_dict
from matting_jax.convert.names import dotted, torchvision_mobilenet


def test_functions_of_a_module_equal_those_of_a_name():
    model = mj.create_model("tiny_background")
    variables = {"params": {"gain": np.full(1, 3, np.float32)}}
    tensors = to_official(model, variables)
    assert tensors == mj.to_state_dict("tiny_background", variables)
    assert list(tensors) == ["module.gain"]
    for back in (to_variables(model, tensors), mj.from_state_dict("tiny_background", tensors)):
        jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_network_without_a_backbone_is_reported_with_what_to_do(tmp_path):
    write_state_dict(tmp_path / "backbone.safetensors", {"gain": np.ones(1, np.float32)})
    model = mj.create_model("tiny_background")
    with pytest.raises(ValueError, match="tiny_background has no files of its backbone only: sta"):
        load_backbone(model, tmp_path / "backbone.safetensors", {})


@pytest.mark.parametrize(
    "name, keywords, text",
    [
        ("dim", {}, "dim (correction='logits')"),
        ("dim", {"refine": False}, "dim (refine=False, correction='logits')"),
        ("modnet", {"axis_name": "batch"}, "modnet (context='se', flavour='official')"),
        ("tiny", {"frozen_statistics": True}, "tiny (flavour='official')"),
    ],
)
def test_variant_of_a_network_is_described_without_how_it_runs(name, keywords, text):
    assert describe(mj.create_model(name, **keywords)) == text


@pytest.mark.parametrize(
    "path, name",
    [
        (("params", "features_1", "conv_0", "kernel"), "features.1.conv.0.weight"),
        (("batch_stats", "bn1", "var"), "bn1.running_var"),
        (("params", "layer1_0", "bn_2_3", "scale"), "layer1.0.bn.2.3.weight"),
    ],
)
def test_leaves_have_the_names_of_pytorch(path, name):
    assert dotted(path) == name


@pytest.mark.parametrize(
    "name, expected",
    [
        ("features.1.conv.3.weight", "features.1.conv.1.weight"),
        ("features.2.conv.3.weight", "features.2.conv.1.0.weight"),
        ("features.18.0.weight", "features.18.0.weight"),
    ],
)
def test_mobilenet_has_the_names_of_torchvision(name, expected):
    assert torchvision_mobilenet(name) == expected
