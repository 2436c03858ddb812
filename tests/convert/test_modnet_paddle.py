"""Conversion of the names of PaddleSeg's MODNet, complete and both ways."""

import json
import pickle

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from matting_jax.convert.files import read_state_dict, write_state_dict
from tests.goldens import synth
from tests.helpers import GOLDENS

MANIFEST = GOLDENS / "modnet_paddle.json"
BLUR = "blurer.op.1.weight"


@pytest.fixture(scope="module")
def state_dict():
    tensors = synth.state_dict(str(MANIFEST), 3)
    tensors[BLUR] = np.load(GOLDENS / "modnet_losses.npz")["blur_kernel"][None, None]
    return tensors


@pytest.fixture(scope="module")
def variables(state_dict):
    return mj.from_state_dict("modnet", state_dict, flavour="paddle")


def test_every_official_name_is_read_once_and_written_back(state_dict, variables):
    back = mj.to_state_dict("modnet", variables, flavour="paddle")
    assert back.keys() == state_dict.keys() and len(back) == 410
    assert len(jax.tree.leaves(variables)) == len(
        flat_shapes(mj.create_model("modnet", flavour="paddle"))
    )
    assert len(jax.tree.leaves(variables)) == 409
    for name, tensor in state_dict.items():
        assert back[name].dtype == np.float32 and back[name].shape == tensor.shape
        if name != BLUR:
            np.testing.assert_array_equal(back[name], tensor, err_msg=name)
    np.testing.assert_allclose(back[BLUR], state_dict[BLUR], atol=2e-8)


def test_paddle_file_is_written_and_read_back_bit_for_bit(variables, tmp_path):
    path = tmp_path / "model.pdparams"
    write_state_dict(path, mj.to_state_dict("modnet", variables, flavour="paddle"))
    loaded = mj.load_checkpoint("modnet", path, flavour="paddle")
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    with path.open("rb") as file:
        table = pickle.load(file)["StructuredToParameterName@@"]
    assert table.keys() == dict(json.loads(MANIFEST.read_text())).keys()


def test_file_saved_by_paddle_is_read():
    tensors = read_state_dict(GOLDENS / "modnet_paddle_few.pdparams")
    manifest = dict(json.loads(MANIFEST.read_text()))
    assert len(tensors) == 4
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, synth.tensor(name, manifest[name], 0))


def test_file_of_the_other_flavour_is_rejected(state_dict):
    with pytest.raises(ValueError, match=r"looks like .* modnet \(.*flavour='paddle'\)"):
        mj.from_state_dict("modnet", state_dict)
    with pytest.raises(ValueError, match=r"looks like .* modnet \(.*flavour='official'\)"):
        official = synth.state_dict(str(GOLDENS / "modnet.json"), 0)
        mj.from_state_dict("modnet", official, flavour="paddle")


def test_blur_may_be_missing(state_dict, variables):
    rest = {name: x for name, x in state_dict.items() if name != BLUR}
    again = mj.from_state_dict("modnet", rest, flavour="paddle")
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_paddle_backbone_fills_only_the_backbone(variables, tmp_path):
    other = synth.state_dict(str(MANIFEST), 7)
    names = {
        name.removeprefix("backbone."): tensor
        for name, tensor in other.items()
        if name.startswith("backbone.")
    }
    classifier = {"out.weight": np.zeros((1280, 1000), "f4"), "out.bias": np.zeros(1000, "f4")}
    path = tmp_path / "MobileNetV2_pretrained.pdparams"
    write_state_dict(path, names | classifier)
    loaded = load_backbone(mj.create_model("modnet", flavour="paddle"), path, variables)
    for collection in ("params", "batch_stats"):
        for branch in variables[collection]:
            trees = loaded[collection][branch], variables[collection][branch]
            same = jax.tree.leaves(jax.tree.map(np.array_equal, *trees))
            assert all(same) if branch != "backbone" else not any(same)
    kernel = loaded["params"]["backbone"]["features_5"]["conv_6"]["kernel"]
    taken = other["backbone.conv4.conv4_2._linear_conv._conv.weight"]
    np.testing.assert_array_equal(kernel, taken.transpose(2, 3, 1, 0))
    first = loaded["params"]["backbone"]["features_1"]["conv_1"]["scale"]
    expected = other["backbone.conv2._first_block._expand_conv._batch_norm.weight"]
    np.testing.assert_array_equal(first, expected)
