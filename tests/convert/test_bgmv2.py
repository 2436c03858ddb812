"""Conversion of BackgroundMattingV2's official names, complete and both ways."""

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.convert import load_backbone
from matting_jax.convert.files import read_state_dict, write_state_dict
from tests.goldens import bgmv2 as checkpoints
from tests.goldens import synth
from tests.helpers import bgmv2_backbone_file

NETWORKS = [
    ({"backbone": "resnet50"}, 394),
    ({"backbone": "resnet101"}, 700),
    ({"backbone": "mobilenet_v2"}, 382),
    ({"backbone": "mobilenet_v2", "kernel_size": 1}, 382),
    ({"backbone": "resnet50", "refine": False}, 374),
    ({"backbone": "mobilenet_v2", "refine": False}, 362),
]


@pytest.mark.parametrize(("keywords", "count"), NETWORKS)
def test_every_official_name_is_read_and_written_back_bit_for_bit(keywords, count):
    tensors = synth.state_dict(checkpoints.manifest(**keywords), 3)
    assert len(tensors) == count
    variables = mj.from_state_dict("bgmv2", tensors, **keywords)
    counters = sum(name.endswith("num_batches_tracked") for name in tensors)
    assert len(jax.tree.leaves(variables)) == count - counters
    back = mj.to_state_dict("bgmv2", variables, **keywords)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_base_file_is_not_loaded_into_a_refined_network():
    """The official programs would silently keep the refiner at its initial value."""
    tensors = synth.state_dict(checkpoints.manifest("mobilenet_v2", refine=False), 0)
    with pytest.raises(ValueError, match="missing refiner.conv1.weight"):
        mj.from_state_dict("bgmv2", tensors, backbone="mobilenet_v2")


def drawn(backbone):
    """Returns variables of a base network with a different value in each leaf."""
    tensors = synth.state_dict(checkpoints.manifest(backbone, refine=False), 1)
    return mj.from_state_dict("bgmv2", tensors, backbone=backbone, refine=False)


@pytest.mark.parametrize(
    ("kind", "backbone", "count"),
    [
        ("torchvision", "resnet50", 317),
        ("torchvision", "mobilenet_v2", 305),
        ("DeepLabV3", "resnet50", 353),
        ("DeepLabV3", "mobilenet_v2", 341),
    ],
)
def test_other_networks_fill_all_but_the_first_convolution(kind, backbone, count, tmp_path):
    """It has six input channels, a classifier three: as officially, it keeps its initial value."""
    tensors, held = bgmv2_backbone_file(kind, backbone)
    assert len(held) == count
    write_state_dict(tmp_path / "backbone.safetensors", tensors)
    start = drawn(backbone)
    keywords = {"backbone": backbone, "refine": False}
    loaded = load_backbone(
        mj.create_model("bgmv2", **keywords), tmp_path / "backbone.safetensors", start
    )
    before, after = (mj.to_state_dict("bgmv2", x, **keywords) for x in (start, loaded))
    for name, tensor in after.items():
        expected = held.get(name, before[name])
        np.testing.assert_array_equal(tensor, expected, err_msg=name)


def test_missing_backbone_tensors_are_listed(tmp_path):
    tensors, _ = bgmv2_backbone_file("DeepLabV3", "resnet50")
    del tensors["classifier.classifier.0.convs.1.0.weight"], tensors["backbone.bn1.bias"]
    write_state_dict(tmp_path / "backbone.safetensors", tensors)
    keywords = {"backbone": "resnet50", "refine": False}
    with pytest.raises(ValueError, match="not a checkpoint of the backbone of bgmv2") as error:
        load_backbone(
            mj.create_model("bgmv2", **keywords),
            tmp_path / "backbone.safetensors",
            drawn("resnet50"),
        )
    assert "missing aspp.convs.1.0.weight" in str(error.value)
    assert "missing backbone.bn1.bias" in str(error.value)


def test_deeplab_files_may_also_hold_a_score(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "deeplab.pth"
    state = {"backbone.conv1.weight": torch.ones(2, 3)}
    torch.save({"cur_itrs": 3, "model_state": state, "best_score": np.float64(0.7)}, path)
    read = read_state_dict(path)
    assert list(read) == list(state)
    np.testing.assert_array_equal(read["backbone.conv1.weight"], np.ones((2, 3)))
