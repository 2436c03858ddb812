"""Conversion of the names of PaddleSeg's PP-Matting, complete and both ways."""

import jax
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from matting_jax.convert.files import write_state_dict
from tests.goldens import synth
from tests.helpers import GOLDENS

W18 = {"backbone": "hrnet_w18"}


def state_dict(width, seed=0):
    return synth.state_dict(str(GOLDENS / f"pp_matting_{width}.json"), seed)


@pytest.fixture(scope="module")
def tensors():
    return state_dict("w18")


@pytest.fixture(scope="module")
def variables(tensors):
    return mj.from_state_dict("pp_matting", tensors, **W18)


@pytest.mark.parametrize("width", ["w18", pytest.param("w48", marks=pytest.mark.slow)])
def test_every_official_name_is_read_once_and_written_back_bit_for_bit(width):
    tensors, keywords = state_dict(width), {"backbone": f"hrnet_{width}"}
    variables = mj.from_state_dict("pp_matting", tensors, **keywords)
    assert len(jax.tree.leaves(variables)) == len(tensors) == 1764
    back = mj.to_state_dict("pp_matting", variables, **keywords)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_file_of_another_width_is_rejected(tensors):
    with pytest.raises(ValueError, match=r"has shape \(18,\), expected \(48,\)"):
        mj.from_state_dict("pp_matting", tensors)


def test_paddle_file_may_hold_names_with_its_arrays(tensors, variables, tmp_path):
    path = tmp_path / "model.pdparams"
    for content in (tensors, {name: (name, x) for name, x in tensors.items()}):
        write_state_dict(path, content)
        loaded = mj.load_checkpoint("pp_matting", path, **W18)
        jax.tree.map(np.testing.assert_array_equal, loaded, variables)


@pytest.mark.slow
@pytest.mark.parametrize("lacks", [("guidance", "pyramid_pooling"), ("detail",)])
def test_ablated_networks_have_names_too(lacks):
    keywords = W18 | dict.fromkeys(lacks, False)
    shapes = flat_shapes(mj.create_model("pp_matting", **keywords))
    rng = np.random.default_rng(0)
    ablated = jax.tree.map(
        lambda x: rng.standard_normal(x.shape).astype(np.float32),
        traverse_util.unflatten_dict(shapes),
    )
    tensors = mj.to_state_dict("pp_matting", ablated, **keywords)
    assert len(tensors) < 1764
    back = mj.from_state_dict("pp_matting", tensors, **keywords)
    jax.tree.map(np.testing.assert_array_equal, back, ablated)
    with pytest.raises(ValueError, match="missing (hrdb|scb.psp_module)"):
        mj.from_state_dict("pp_matting", tensors, **W18)


def test_hrnet_file_fills_only_the_backbone(variables, tmp_path):
    other = state_dict("w18", 7)
    names = {
        name.removeprefix("backbone."): x
        for name, x in other.items()
        if name.startswith("backbone.")
    }
    classifier = {"last_cls.conv.weight": np.zeros((8, 4, 1, 1), "f4"), "out.bias": np.zeros(9)}
    path = tmp_path / "model.pdparams"
    write_state_dict(path, names | classifier)
    loaded = load_backbone(mj.create_model("pp_matting", **W18), path, variables)
    for collection in ("params", "batch_stats"):
        for branch in variables[collection]:
            trees = loaded[collection][branch], variables[collection][branch]
            same = jax.tree.leaves(jax.tree.map(np.array_equal, *trees))
            assert all(same) if branch != "backbone" else not any(same)
    kernel = loaded["params"]["backbone"]["st3"]["stage_st3_2"]["fuse_func"]
    kernel = kernel["residual_st3_2_layer_3_1_2"]["_conv"]["kernel"]
    taken = other["backbone.st3.stage_st3_2.fuse_func.residual_st3_2_layer_3_1_2._conv.weight"]
    np.testing.assert_array_equal(kernel, taken.transpose(2, 3, 1, 0))


def test_file_of_another_backbone_is_rejected_with_the_missing_names(variables, tmp_path):
    path = tmp_path / "model.safetensors"
    write_state_dict(path, {"features.0.0.weight": np.zeros((32, 3, 3, 3), np.float32)})
    with pytest.raises(ValueError, match=r"the backbone of pp_matting.*:\n  missing conv_l"):
        load_backbone(mj.create_model("pp_matting", **W18), path, variables)


def test_network_and_backbone_files_given_as_each_other_are_rejected(tensors, variables, tmp_path):
    path = tmp_path / "model.safetensors"
    write_state_dict(path, tensors)
    with pytest.raises(ValueError, match="all of PP-Matting.* pass it as --config.init.checkpoint"):
        load_backbone(mj.create_model("pp_matting", **W18), path, variables)
    start = "backbone."
    alone = {name[len(start) :]: x for name, x in tensors.items() if name.startswith(start)}
    with pytest.raises(ValueError, match="only HRNet.* pass it as --config.init.backbone"):
        mj.from_state_dict("pp_matting", alone, **W18)
