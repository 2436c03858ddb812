"""Conversion of GFM's official names, complete and both ways."""

import json
import re
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from matting_jax.convert.files import write_state_dict
from matting_jax.convert.gfm import encoder_name, names_of
from tests.goldens import synth
from tests.helpers import GOLDENS

VARIANTS = {
    "r34": {},
    "r34_ft": dict(rosta="ft"),
    "r34_bt": dict(rosta="bt"),
    "r34_2b": dict(backbone="resnet34_2b"),
    "d121": dict(backbone="densenet121"),
    "d121_rim": dict(backbone="densenet121", rosta="rim"),
    "r101": dict(backbone="resnet101"),
}


def manifest(variant):
    return str(GOLDENS / f"gfm_{variant}.json")


def released(variant, seed=3):
    """Returns a file as released: both copies of the backbone are equal, unused tensors are 0."""
    backbone = VARIANTS[variant].get("backbone", "resnet34")
    constants = names_of(mj.create_model("gfm", **VARIANTS[variant])).constants
    tensors = synth.state_dict(manifest(variant), seed)
    for name in tensors:
        network, _, rest = name.partition(".")
        if name in constants:
            tensors[name] = constants[name]
        elif network in ("resnet", "densenet"):
            tensors[name] = tensors[encoder_name(rest, backbone)]
    return tensors


@pytest.mark.parametrize("variant", ["r34", "d121", "r34_2b"])
def test_every_official_name_is_read_and_written_back_bit_for_bit(variant):
    tensors = released(variant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        variables = mj.from_state_dict("gfm", tensors, **VARIANTS[variant])
    back = mj.to_state_dict("gfm", variables, **VARIANTS[variant])
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


@pytest.mark.slow
def test_network_with_a_summed_pyramid_is_written_and_read_back_bit_for_bit():
    """Official names, shapes of its own."""
    tensors = {
        name: x[:, : x.shape[1] // 2] if re.match(r"decoder\d_g\.0\.weight", name) else x
        for name, x in released("r34").items()
    }
    variables = mj.from_state_dict("gfm", tensors, pyramid="sum")
    back = mj.to_state_dict("gfm", variables, pyramid="sum")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)
    with pytest.raises(ValueError, match=r"decoder4_g.0.weight has shape \(512, 1024, 3, 3\)"):
        mj.from_state_dict("gfm", released("r34"), pyramid="sum")


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes_are_those_of_the_official_file(variant):
    """One leaf writes each name, except counters; copies have two names."""
    model = mj.create_model("gfm", **VARIANTS[variant])
    names = names_of(model)
    ours = {name: x.shape for name, x in names.constants.items()}
    for path, leaf in flat_shapes(model).items():
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(leaf.shape), range(len(leaf.shape)))
        written = names.official(path)
        assert len(written) == 1 + (path[1] == "backbone")
        for name in written:
            assert name not in ours
            ours[name] = tuple(leaf.shape[axis] for axis in axes)
            if name.endswith("running_mean"):
                ours[name.replace("running_mean", "num_batches_tracked")] = ()
    official = json.loads(Path(manifest(variant)).read_text())
    assert ours == {name: tuple(shape) for name, shape in official}


@pytest.mark.parametrize("rosta", ["ft", "bt"])
def test_files_of_two_classes_fit_either_representation_and_no_other(rosta):
    tensors = released("r34_ft")
    mj.from_state_dict("gfm", tensors, rosta=rosta)
    with pytest.raises(ValueError, match=r"decoder0_g.6.weight has shape \(2, 64, 3, 3\)"):
        mj.from_state_dict("gfm", tensors)


def test_file_of_another_backbone_is_rejected_with_the_expected_network():
    with pytest.raises(
        ValueError, match=r"not a checkpoint of gfm \(backbone='resnet34', rosta='tt'.*\):\n"
    ):
        mj.from_state_dict("gfm", released("d121"), backbone="resnet34")


def test_differing_copies_warn_and_the_encoders_win():
    tensors = synth.state_dict(manifest("r34"), 0)
    with pytest.warns(UserWarning, match="180 tensors differ.*: resnet.* is the first"):
        variables = mj.from_state_dict("gfm", tensors)
    kernel = variables["params"]["backbone"]["layer1_0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(
        kernel, tensors["encoder1.1.0.conv1.weight"].transpose(2, 3, 1, 0)
    )


def test_unused_tensors_may_be_missing():
    tensors = released("r34_2b")
    rest = {
        name: x
        for name, x in tensors.items()
        if not name.startswith(("psp1.", "resnet.conv1.", "resnet.bn1.", "resnet.fc."))
        and not name.endswith("num_batches_tracked")
    }
    assert len(rest) < len(tensors) - 12
    ours, theirs = (mj.from_state_dict("gfm", x, backbone="resnet34_2b") for x in (rest, tensors))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("ablation", ["pyramid_pooling", "bridge_block"])
def test_ablated_networks_have_names_too(ablation):
    keywords = {ablation: False}
    rng = np.random.default_rng(0)
    shapes = flat_shapes(mj.create_model("gfm", **keywords))
    flat = {path: rng.standard_normal(x.shape).astype(np.float32) for path, x in shapes.items()}
    variables = traverse_util.unflatten_dict(flat)
    tensors = mj.to_state_dict("gfm", variables, **keywords)
    absent = {"pyramid_pooling": "psp", "bridge_block": "bridge_block"}[ablation]
    assert not any(name.startswith(absent) for name in tensors)
    back = mj.from_state_dict("gfm", tensors, **keywords)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def torchvision_file(variant, old):
    """Returns a random backbone (seed 7) with torchvision's names, old or new for DenseNets."""
    tensors = {}
    for name, x in released(variant, 7).items():
        network, _, name = name.partition(".")
        if network in ("resnet", "densenet"):
            if old:
                name = re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", name)
            tensors[name] = x
    return tensors


@pytest.mark.parametrize(
    ("variant", "old"), [("r34", False), ("r34_2b", False), ("d121", False), ("d121", True)]
)
def test_backbone_files_fill_only_the_backbone(variant, old, tmp_path):
    start = mj.from_state_dict("gfm", released(variant), **VARIANTS[variant])
    tensors = torchvision_file(variant, old)
    write_state_dict(tmp_path / "backbone.safetensors", tensors)
    loaded = load_backbone(
        mj.create_model("gfm", **VARIANTS[variant]), tmp_path / "backbone.safetensors", start
    )
    for collection in ("params", "batch_stats"):
        for part in start[collection]:
            trees = loaded[collection][part], start[collection][part]
            same = jax.tree.leaves(jax.tree.map(np.array_equal, *trees))
            assert not any(same) if part == "backbone" else all(same)
    place, name = {
        "d121": (
            ("denseblock2", "denselayer3", "conv2"),
            "features.denseblock2.denselayer3.conv2.weight",
        ),
    }.get(variant, (("layer2_3", "conv2"), "layer2.3.conv2.weight"))
    kernel = loaded["params"]["backbone"]
    for module in place:
        kernel = kernel[module]
    if old:
        name = name.replace("conv2.weight", "conv.2.weight")
    np.testing.assert_array_equal(kernel["kernel"], tensors[name].transpose(2, 3, 1, 0))
