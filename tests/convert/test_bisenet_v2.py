"""Conversion of BiSeNet V2's official names, complete and both ways."""

import jax
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from tests.goldens import synth
from tests.helpers import GOLDENS

MANIFESTS = {19: str(GOLDENS / "bisenet_v2.json"), 3: str(GOLDENS / "bisenet_v2_c3.json")}
BRANCHES = ("detail", "segment", "bga")


@pytest.fixture(scope="module")
def state_dict():
    return synth.state_dict(MANIFESTS[19], 3)


@pytest.mark.parametrize("classes", MANIFESTS)
def test_every_official_name_is_read_once_and_written_back_bit_for_bit(classes):
    state_dict = synth.state_dict(MANIFESTS[classes], 3)
    variables = mj.from_state_dict("bisenet_v2", state_dict, num_classes=classes)
    tensors = [name for name in state_dict if not name.endswith("num_batches_tracked")]
    assert len(jax.tree.leaves(variables)) == len(tensors)
    back = mj.to_state_dict("bisenet_v2", variables, num_classes=classes)
    assert back.keys() == state_dict.keys()
    for name, tensor in state_dict.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_checkpoint_with_other_classes_is_rejected(state_dict):
    with pytest.raises(ValueError, match="has 19 classes, the network 3: set num_clas"):
        mj.from_state_dict("bisenet_v2", state_dict, num_classes=3)


@pytest.mark.parametrize(
    "keywords, missing",
    [
        ({"booster": False}, "missing aux2.conv.bn.running_mean"),
        ({"heads": "paper"}, "missing aux2.conv_out.0.1.bn.running_mean"),
        ({"aggregation": "sum"}, "missing bga.left1.0.weight"),
        ({"aggregation": "concat"}, "missing bga.conv.1.running_mean"),
        ({"channel_ratio": 0.5}, r"segment.S1S2.conv.bn.running_mean has shape \(32,\)"),
    ],
)
def test_unreleased_variants_have_names_too(keywords, missing):
    shapes = flat_shapes(mj.create_model("bisenet_v2", **keywords))
    rng = np.random.default_rng(0)
    flat = {path: rng.random(x.shape).astype(np.float32) for path, x in shapes.items()}
    variables = traverse_util.unflatten_dict(flat)
    tensors = mj.to_state_dict("bisenet_v2", variables, **keywords)
    back = mj.from_state_dict("bisenet_v2", tensors, **keywords)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    with pytest.raises(ValueError, match=missing):
        mj.from_state_dict("bisenet_v2", tensors)


def older(state_dict):
    """Returns the file as the older code would write it: heads of two convolutions."""
    renamed = {}
    for name, tensor in state_dict.items():
        if ".conv_out.0." not in name:
            renamed[name.replace("conv_out.1.", "conv_out.")] = tensor
    return renamed


def test_older_checkpoint_is_rejected_as_such(state_dict):
    with pytest.raises(ValueError, match="older code .* use one of the current code") as error:
        mj.from_state_dict("bisenet_v2", older(state_dict))
    assert "missing" not in str(error.value)


def nested(state_dict, children):
    """Returns {child: its state dict}, as in `backbone_v2.pth`."""
    return {
        child: {
            name.removeprefix(f"{child}."): tensor
            for name, tensor in state_dict.items()
            if name.startswith(f"{child}.")
        }
        for child in children
    }


@pytest.mark.parametrize(
    "content, held",
    [
        (lambda tensors: nested(tensors, BRANCHES), BRANCHES),
        (lambda tensors: nested(tensors, BRANCHES[:2]), BRANCHES[:2]),
        (lambda tensors: tensors, BRANCHES),
        (older, BRANCHES),
    ],
    ids=["three branches", "two branches", "whole", "older"],
)
def test_backbone_files_fill_the_branches_that_they_hold(state_dict, content, held, tmp_path):
    """For any number of classes; the other branches and the heads keep their weights."""
    torch = pytest.importorskip("torch")
    file = jax.tree.map(torch.from_numpy, content(state_dict))
    torch.save(file, tmp_path / "backbone_v2.pth")
    start = mj.from_state_dict("bisenet_v2", synth.state_dict(MANIFESTS[3], 7), num_classes=3)
    loaded = load_backbone(
        mj.create_model("bisenet_v2", num_classes=3), tmp_path / "backbone_v2.pth", start
    )
    full = mj.from_state_dict("bisenet_v2", state_dict)
    for collection in start:
        for module in start[collection]:
            expected = full if module in held else start
            jax.tree.map(
                np.testing.assert_array_equal,
                loaded[collection][module],
                expected[collection][module],
            )


def test_backbone_file_without_a_branch_is_rejected(state_dict, tmp_path):
    torch = pytest.importorskip("torch")
    file = jax.tree.map(torch.from_numpy, nested(state_dict, ["detail"]))
    torch.save(file, tmp_path / "backbone_v2.pth")
    start = mj.from_state_dict("bisenet_v2", state_dict)
    with pytest.raises(ValueError, match="missing segment.S1S2.conv.bn.running_mean"):
        load_backbone(mj.create_model("bisenet_v2"), tmp_path / "backbone_v2.pth", start)
