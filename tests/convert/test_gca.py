"""Conversion of GCA's official names, complete and both ways."""

import jax
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from matting_jax.convert.files import write_state_dict
from tests.goldens import synth
from tests.helpers import GOLDENS, resnet34_file

MANIFEST = str(GOLDENS / "gca.json")
ENCODER = "module.encoder."
BACKBONE = ("conv", "bn", "layer")


@pytest.fixture(scope="module")
def state_dict():
    return synth.state_dict(MANIFEST, 3)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_every_official_name_is_read_and_written_back_bit_for_bit(state_dict, prefix):
    given = {name.replace("module.", prefix, 1): x for name, x in state_dict.items()}
    back = mj.to_state_dict("gca", mj.from_state_dict("gca", given))
    assert list(back.keys() ^ state_dict.keys()) == []
    for name, tensor in state_dict.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_every_tensor_is_one_leaf(state_dict):
    tensors = [name for name in state_dict if not name.endswith("num_batches_tracked")]
    assert len(tensors) == len(flat_shapes(mj.create_model("gca")))


@pytest.mark.parametrize("keywords", [{"attention": False}, {"guidance": False}])
def test_ablated_networks_have_the_shared_names(state_dict, keywords):
    gone = ("gca.", "guidance_head.") if "attention" in keywords else ("guidance_head.",)
    rest = {k: x for k, x in state_dict.items() if not k.split(".", 2)[2].startswith(gone)}
    assert len(rest) < len(state_dict)
    back = mj.to_state_dict("gca", mj.from_state_dict("gca", rest, **keywords), **keywords)
    assert back.keys() == rest.keys()
    with pytest.raises(ValueError, match="unexpected encoder.guidance_head.1.module.weight_u"):
        mj.from_state_dict("gca", state_dict, **keywords)


def test_mmagic_files_are_rejected_in_one_line():
    tensors = {"backbone.encoder.conv1.conv.weight_orig": np.zeros((32, 6, 3, 3), np.float32)}
    with pytest.raises(ValueError, match="mmagic's GCA.* is not supported: use gca-dist.pth") as e:
        mj.from_state_dict("gca", tensors)
    assert len(str(e.value).splitlines()) == 1


def test_backbone_file_fills_only_the_backbone(state_dict, tmp_path):
    start = mj.from_state_dict("gca", state_dict)
    other = resnet34_file(synth.state_dict(MANIFEST, 7))
    path = tmp_path / "backbone.safetensors"
    write_state_dict(path, other)
    loaded = traverse_util.flatten_dict(load_backbone(mj.create_model("gca"), path, start))
    for leaf, before in traverse_util.flatten_dict(start).items():
        of_backbone = leaf[1] == "encoder" and leaf[2].startswith(BACKBONE)
        assert np.array_equal(loaded[leaf], before) != of_backbone, leaf
    kernel = loaded["params", "encoder", "layer2_0", "downsample_1", "kernel"]
    taken = other["module.layer2.0.downsample.1.module.weight_bar"]
    np.testing.assert_array_equal(kernel, taken.transpose(2, 3, 1, 0))


def test_first_convolution_of_the_backbone_does_not_see_the_trimap(state_dict, tmp_path):
    """Nor does its spectral norm: the trimap's channels are zero, the photo's are first in v."""
    other = resnet34_file(state_dict)
    path = tmp_path / "backbone.safetensors"
    write_state_dict(path, other)
    loaded = traverse_util.flatten_dict(
        load_backbone(
            mj.create_model("gca"), path, mj.from_state_dict("gca", synth.state_dict(MANIFEST, 7))
        )
    )
    kernel = loaded["params", "encoder", "conv1", "kernel"]
    u, v = (loaded["spectral", "encoder", "conv1", x] for x in "uv")
    bar = other["module.conv1.module.weight_bar"]
    np.testing.assert_array_equal(kernel[:, :, :3], bar.transpose(2, 3, 1, 0))
    assert not np.any(kernel[:, :, 3:])
    sigma = u @ kernel.transpose(3, 2, 0, 1).reshape(32, 54) @ v
    own = u @ bar.reshape(32, 27) @ other["module.conv1.module.weight_v"]
    assert sigma == pytest.approx(own, rel=1e-5)


def test_another_resnet_is_rejected_in_one_line(state_dict, tmp_path):
    path = tmp_path / "resnet34.safetensors"
    write_state_dict(path, {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    with pytest.raises(ValueError, match="not GCA's own ResNet-34") as error:
        load_backbone(
            mj.create_model("gca"),
            path,
            jax.tree.map(np.copy, mj.from_state_dict("gca", state_dict)),
        )
    assert len(str(error.value).splitlines()) == 1
