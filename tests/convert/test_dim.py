"""Conversion of mmagic's names of Deep Image Matting, complete and both ways."""

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.convert import flat_shapes, load_backbone
from matting_jax.convert.dim import TORCHVISION
from matting_jax.convert.files import write_state_dict
from tests.goldens import synth
from tests.helpers import GOLDENS, vgg16_file

MANIFEST = str(GOLDENS / "dim.json")
ENCODER = "backbone.encoder."


@pytest.fixture(scope="module")
def whole():
    """Returns a file of the second or third stage."""
    return synth.state_dict(MANIFEST, 3)


def part(tensors, refine):
    """Returns what a file of the given stage holds."""
    return {name: x for name, x in tensors.items() if refine or not name.startswith("refiner.")}


@pytest.mark.parametrize("refine, count", [(True, 50), (False, 42)])
def test_every_official_name_is_read_once_and_written_back_bit_for_bit(whole, refine, count):
    tensors = part(whole, refine)
    variables = mj.from_state_dict("dim", tensors, refine=refine)
    assert len(tensors) == len(jax.tree.leaves(variables)) == count
    assert len(flat_shapes(mj.create_model("dim", refine=refine))) == count
    back = mj.to_state_dict("dim", variables, refine=refine)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


@pytest.mark.parametrize(
    "refine, words", [(True, "missing refiner.refine_conv1"), (False, "unexpected refiner.refine")]
)
def test_file_of_another_stage_is_rejected_with_the_mismatch(whole, refine, words):
    with pytest.raises(ValueError, match=words):
        mj.from_state_dict("dim", part(whole, not refine), refine=refine)


def mmagic_file(tensors):
    """Returns VGG-16 with mmagic's names; its first convolution has four input channels."""
    return {name.removeprefix(ENCODER): x for name, x in tensors.items() if ENCODER in name}


def test_torchvision_positions_are_those_of_its_convolutions():
    """A block is convolutions with ReLUs, and a pooling; mmagic counts inside each block."""
    expected, position = {}, 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(convolutions):
            expected[f"layer{block}.{2 * i}"] = position + 2 * i
        position += 2 * convolutions + 1
    assert TORCHVISION == expected


@pytest.mark.parametrize("rename, trimap", [(vgg16_file, False), (mmagic_file, True)])
def test_vgg_files_fill_only_the_encoder(whole, rename, trimap, tmp_path):
    start = mj.from_state_dict("dim", synth.state_dict(MANIFEST, 7))
    path = tmp_path / "vgg16.safetensors"
    write_state_dict(path, {name: np.ascontiguousarray(x) for name, x in rename(whole).items()})
    after = mj.to_state_dict("dim", load_backbone(mj.create_model("dim"), path, start))
    before = mj.to_state_dict("dim", start)
    for name in before:
        replaced = name.startswith(ENCODER) and "conv6" not in name
        expected = whole[name] if replaced else before[name]
        if name == ENCODER + "layer1.0.weight" and not trimap:
            expected = expected.copy()
            expected[:, 3] = 0
        np.testing.assert_array_equal(after[name], expected, err_msg=name)
