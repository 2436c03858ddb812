"""The branches of BiSeNet V2: width, depth and expansion."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.config import load_config
from matting_jax.models.backbones import bilateral
from matting_jax.models.bisenet_v2 import BOOSTERS
from matting_jax.models.cost import forward_cost
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.initialisers import he_normal_fan_out
from matting_jax.models.layers.norms import BatchNorm
from tests.goldens import synth
from tests.helpers import CONFIGS

CONFIG = CONFIGS / "bisenet_v2.py"


def count(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def shapes_of(**keywords):
    model = mj.create_model("bisenet_v2", **keywords)
    return model, jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


@pytest.mark.parametrize("ratio, channels", [(0.5, (32, 64)), (0.125, (8, 16)), (1 / 16, (4, 8))])
def test_channel_ratio_narrows_only_the_first_two_stages(ratio, channels):
    _, shapes = shapes_of(channel_ratio=ratio)
    branch = shapes["params"]["segment"]
    widths = [branch[stage]["conv1"]["conv"]["kernel"].shape[2] for stage in ("S3_0", "S4_0")]
    assert tuple(widths) == channels
    _, official = shapes_of()
    rest = [name for name in branch if name not in ("S1S2", "S3_0", "S3_1", "S4_0")]
    assert rest == ["S4_1", "S5_4_0", "S5_4_1", "S5_4_2", "S5_4_3", "S5_5"]
    assert all(branch[name] == official["params"]["segment"][name] for name in rest)


def inference_by_hand(width, depth, expansion=6, ratio=1 / 4, classes=19):
    """Parameters and multiply-adds for 512 x 1024 pixels, counted from the tables of the spec."""
    parameters = products = 0

    def conv(features, channels, size, shrink, groups=1, norm=True):
        nonlocal parameters, products
        weights = size**2 * channels // groups * features
        parameters += weights + 2 * features * norm
        products += weights * (512 // shrink) * (1024 // shrink) if shrink else weights

    wide, last, narrow = 64 * width, 128 * width, int(64 * width * ratio)
    detail = [(3, wide, 2), (wide, wide, 2), (wide, wide, 4), (wide, wide, 4), (wide, wide, 4)]
    detail += [(wide, last, 8), (last, last, 8), (last, last, 8)]
    for channels, features, shrink in detail:
        conv(features, channels, 3, shrink)
    conv(narrow, 3, 3, 2)
    conv(narrow // 2, narrow, 1, 2)
    conv(narrow, narrow // 2, 3, 4)
    conv(narrow, 2 * narrow, 3, 4)
    stages = ((narrow, 2 * narrow, 8, 2), (2 * narrow, wide, 16, 2), (wide, last, 32, 4))
    for channels, features, shrink, blocks in stages:
        middle = expansion * channels
        conv(channels, channels, 3, shrink // 2)
        conv(middle, channels, 3, shrink, groups=channels)
        conv(middle, middle, 3, shrink, groups=middle)
        conv(features, middle, 1, shrink)
        conv(channels, channels, 3, shrink, groups=channels)
        conv(features, channels, 1, shrink)
        for _ in range(blocks * depth - 1):
            conv(features, features, 3, shrink)
            conv(expansion * features, features, 3, shrink, groups=features)
            conv(features, expansion * features, 1, shrink)
    parameters += 2 * last  # the normalisation of the mean
    conv(last, last, 1, 0)
    conv(last, last, 3, 32)
    for shrink in (8, 32):  # separable, then dense, of either branch
        conv(last, last, 3, shrink, groups=last)
        conv(last, last, 1, shrink, norm=False)
    conv(last, last, 3, 16)
    conv(last, last, 3, 32)
    conv(last, last, 3, 8)
    conv(1024 * width, last, 3, 8)
    conv(classes, 1024 * width, 1, 8, norm=False)
    return parameters + classes, products


@pytest.mark.parametrize(
    "keywords, parameters, products",
    [
        ({}, 3_358_627, 24.60),
        ({"width": 2}, 13_273_907, 97.39),
        ({"depth": 3}, 5_730_467, 26.73),
        ({"width": 2, "depth": 3}, 22_564_147, 105.67),
        ({"expansion": 1}, 2_994_787, 24.28),
        ({"channel_ratio": 0.5}, 3_491_891, 26.26),
        ({"width": 2, "channel_ratio": 0.125, "expansion": 4}, None, None),
    ],
)
def test_width_depth_and_expansion_cost_what_is_counted_by_hand(keywords, parameters, products):
    ratio = keywords.get("channel_ratio", 1 / 4)
    sizes = {name: keywords.get(name, 1) for name in ("width", "depth")}
    expected = inference_by_hand(**sizes, ratio=ratio, expansion=keywords.get("expansion", 6))
    model, shapes = shapes_of(**keywords)
    image = jax.ShapeDtypeStruct((1, 512, 1024, 3), jnp.float32)
    inference = {x: y for x, y in shapes["params"].items() if x not in BOOSTERS}
    assert (count(inference), forward_cost(model, shapes, {"image": image})) == expected
    if parameters:  # the table of docs/bisenet_v2.md
        assert expected[0] == parameters and expected[1] / 1e9 == pytest.approx(products, abs=5e-3)


def test_large_variant_has_the_width_and_depth_of_the_paper():
    config = load_config(CONFIG, "large")
    _, shapes = shapes_of(**config.model)
    assert count(shapes["params"]) == 23_691_647
    blocks = [name for name in shapes["params"]["segment"] if name.startswith("S5_4")]
    assert {*blocks} == {f"S5_4_{i}" for i in range(12)}
    assert config.test.way == "half" and config.model.heads == "paper"
    assert load_config(CONFIG, "cityscapes").model.width == 1


def test_expansion_block_equals_its_equation():
    """y = relu(x + W relu(depth-wise(relu(conv x)))), with the normalisations at their start."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 5, 2)).astype(np.float32)
    block = bilateral.GatherExpansion(official_layers(), expansion=3)
    variables = block.init(jax.random.key(0), x)
    variables["params"]["conv2_1"]["scale"] = jnp.ones(2)
    params = jax.tree.map(np.float64, variables["params"])
    norm = 1 / np.sqrt(1 + 1e-5)

    def windows(x):
        padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))  # [H, W, C, 3, 3]

    y = np.einsum("hwcij,ijcd->hwd", windows(x), params["conv1"]["conv"]["kernel"])
    y = np.maximum(norm * y, 0)[None]
    kernel = params["dwconv_0"]["kernel"][:, :, 0].reshape(3, 3, 2, 3)  # 3 features per channel
    y = np.einsum("hwcij,ijce->hwce", windows(y), kernel).reshape(4, 5, 6)
    y = np.maximum(norm * y, 0) @ params["conv2_0"]["kernel"][0, 0]
    expected = np.maximum(x + norm * y, 0)
    np.testing.assert_allclose(block.apply(variables, x), expected, atol=1e-5)
    assert np.abs(expected - np.maximum(x, 0)).max() > 0.1


def test_initialisation_equals_official():
    """Each block is initially its shortcut; kernels are normal with variance 2 / fan_out."""
    block = bilateral.GatherExpansion(official_layers())
    x = synth.image(8, 8, 16, 1, 0)
    variables = block.init(jax.random.key(0), x)
    np.testing.assert_allclose(block.apply(variables, x), x, atol=1e-6)
    kernel = variables["params"]["dwconv_0"]["kernel"]
    assert kernel.shape == (3, 3, 1, 96)
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 96)), rel=0.1)
    assert np.abs(kernel).max() > 2.4 * np.std(kernel)  # not truncated at two deviations


def official_layers():
    return bilateral.Layers(
        partial(Conv, use_bias=False, kernel_init=he_normal_fan_out),
        partial(DepthwiseConv, kernel_init=he_normal_fan_out),
        partial(BatchNorm, use_running_average=True),
    )
