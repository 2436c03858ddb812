"""Conversion of MODNet's official names, complete and both ways."""

import warnings

import jax
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from matting_jax.convert.files import write_state_dict
from tests.goldens import synth
from tests.helpers import GOLDENS

MANIFEST = str(GOLDENS / "modnet.json")
FIRST, SECOND = "module.lr_branch.backbone.model.", "module.backbone.model."


@pytest.fixture(scope="module")
def state_dict():
    """A file as released: both copies of the backbone are equal."""
    tensors = synth.state_dict(MANIFEST, 3)
    for name in tensors:
        if name.startswith(SECOND):
            tensors[name] = tensors[name.replace(SECOND, FIRST)]
    return tensors


def test_every_official_name_is_read_and_written_back_bit_for_bit(state_dict):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = mj.to_state_dict("modnet", mj.from_state_dict("modnet", state_dict))
    assert list(back.keys() ^ state_dict.keys()) == []
    for name, tensor in state_dict.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_every_official_name_is_read_once(state_dict):
    """There is one leaf per tensor except copies; unread tensors would be an error."""
    variables = mj.from_state_dict("modnet", state_dict)
    leaves = len(jax.tree.leaves(variables))
    assert leaves == len(flat_shapes(mj.create_model("modnet")))
    tensors = [name for name in state_dict if not name.endswith("num_batches_tracked")]
    copies = sum(name.startswith(SECOND) for name in tensors)
    assert leaves == len(tensors) - copies


@pytest.mark.parametrize("context", ["easpp", "aspp", "none"])
def test_unreleased_contexts_have_names_too(context):
    shapes = flat_shapes(mj.create_model("modnet", context=context))
    rng = np.random.default_rng(0)
    flat = {path: rng.standard_normal(x.shape).astype(np.float32) for path, x in shapes.items()}
    variables = traverse_util.unflatten_dict(flat)
    tensors = mj.to_state_dict("modnet", variables, context=context)
    assert not any("se_block" in name for name in tensors)
    back = mj.from_state_dict("modnet", tensors, context=context)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    with pytest.raises(ValueError, match="missing lr_branch.se_block.fc.0.weight"):
        mj.from_state_dict("modnet", tensors)


def test_module_prefix_may_be_missing(state_dict):
    bare = {name.removeprefix("module."): x for name, x in state_dict.items()}
    ours, theirs = (mj.from_state_dict("modnet", x) for x in (bare, state_dict))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_counters_may_be_missing(state_dict):
    rest = {k: x for k, x in state_dict.items() if not k.endswith("num_batches_tracked")}
    ours, theirs = (mj.from_state_dict("modnet", x) for x in (rest, state_dict))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_differing_copies_warn_and_the_one_of_the_official_loader_wins():
    tensors = synth.state_dict(MANIFEST, 0)
    with pytest.warns(UserWarning, match="260 tensors differ"):
        variables = mj.from_state_dict("modnet", tensors)
    kernel = variables["params"]["backbone"]["features_0_0"]["kernel"]
    taken = tensors[FIRST + "features.0.0.weight"]
    np.testing.assert_array_equal(kernel, taken.transpose(2, 3, 1, 0))


def test_all_mismatches_are_listed_together(state_dict):
    faulty = dict(state_dict)
    del faulty["module.f_branch.conv_f.1.layers.0.bias"]
    del faulty[SECOND + "features.0.0.weight"]
    faulty["module.extra"] = np.zeros(3)
    faulty["module.lr_branch.se_block.fc.0.weight"] = np.zeros((4, 4))
    with pytest.raises(ValueError) as error:
        mj.from_state_dict("modnet", faulty)
    for part in (
        "missing f_branch.conv_f.1.layers.0.bias",
        "missing backbone.model.features.0.0.weight",
        "unexpected extra",
        "lr_branch.se_block.fc.0.weight has shape (4, 4), expected (320, 1280)",
    ):
        assert part in str(error.value)
    assert len(str(error.value).splitlines()) == 5


def test_variables_of_another_network_are_rejected(state_dict):
    variables = mj.from_state_dict("modnet", state_dict)
    del variables["params"]["f_branch"]
    with pytest.raises(ValueError, match="not the variables of modnet"):
        mj.to_state_dict("modnet", variables)


def torchvision_names(state_dict):
    """Returns the backbone of `state_dict` with torchvision's names and a classifier."""
    renamed = {}
    for name, tensor in state_dict.items():
        if not name.startswith(FIRST):
            continue
        name = name.removeprefix(FIRST)
        block, conv, rest = name.partition(".conv.")
        if conv:
            position, _, leaf = rest.partition(".")
            first = block == "features.1"
            names = (
                ["0.0", "0.1", None, "1", "2"]
                if first
                else ["0.0", "0.1", None, "1.0", "1.1", None, "2", "3"]
            )
            name = f"{block}.conv.{names[int(position)]}.{leaf}"
        renamed[name] = tensor
    return renamed | {
        "classifier.1.weight": np.zeros((1000, 1280), np.float32),
        "classifier.1.bias": np.zeros(1000, np.float32),
    }


@pytest.mark.parametrize("torchvision", [True, False])
def test_backbone_files_fill_only_the_backbone(state_dict, torchvision, tmp_path):
    start = mj.from_state_dict("modnet", state_dict)
    other = synth.state_dict(MANIFEST, 7)
    path = tmp_path / "backbone.safetensors"
    names = (
        torchvision_names(other)
        if torchvision
        else {name.removeprefix(FIRST): x for name, x in other.items() if name.startswith(FIRST)}
    )
    write_state_dict(path, names)
    loaded = load_backbone(mj.create_model("modnet"), path, start)
    for collection in ("params", "batch_stats"):
        for branch in start[collection]:
            trees = loaded[collection][branch], start[collection][branch]
            same = jax.tree.leaves(jax.tree.map(np.array_equal, *trees))
            assert all(same) if branch != "backbone" else not any(same)
    kernel = loaded["params"]["backbone"]["features_5"]["conv_6"]["kernel"]
    taken = other[FIRST + "features.5.conv.6.weight"]
    np.testing.assert_array_equal(kernel, taken.transpose(2, 3, 1, 0))
