"""Names in PaddleSeg's checkpoints of MODNet.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/modnet.py and backbone/mobilenet_v2.py.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from matting_jax.convert.names import (
    PADDLE_LEAVES,
    Backbone,
    LeafPath,
    Names,
    StateDict,
    dotted,
    is_backbone,
)
from matting_jax.image.filters import BLUR
from matting_jax.models.backbones.mobilenet_v2 import STAGES

# PaddleSeg saves the fixed blur of the semantic target with the weights.
CONSTANTS = {"blurer.op.1.weight": np.outer(BLUR, BLUR).astype(np.float32)[None, None]}

INSTANCE_NORM = PADDLE_LEAVES | {"scale": "scale"}

# Number of blocks before each stage of the backbone, which Paddle calls conv2 to conv8.
BEFORE = [0, *accumulate(blocks for _, _, blocks, _ in STAGES)]
LAYERS = {0: "_expand_conv", 3: "_bottleneck_conv", 6: "_linear_conv"}


def official_names(path: LeafPath) -> list[str]:
    """Returns the name of one Flax leaf in a file."""
    leaves = INSTANCE_NORM if "inorm" in path else PADDLE_LEAVES
    if not is_backbone(path):
        return [f"head.{dotted(path, leaves)}"]
    _, _, *modules, leaf = path
    layer = "_conv" if leaf == "kernel" else "_batch_norm"
    return [f"backbone.{layer_name(modules)}.{layer}.{leaves[leaf]}"]


def layer_name(modules: list[str]) -> str:
    """Returns Paddle's name of a backbone layer.

    features_2, conv_0 is conv3._first_block._expand_conv.
    """
    index = int(modules[0].split("_")[1])
    if index == 0:
        return "conv1"
    if index > BEFORE[-1]:
        return "conv9"
    stage = max(i for i, before in enumerate(BEFORE) if before < index)
    number = index - BEFORE[stage]
    name = f"conv{stage + 2}"
    block = "_first_block" if number == 1 else f"{name}_{number}"
    # Paddle's layer is a convolution and its normalisation, MODNet's positions 3 i and 3 i + 1.
    position = int(modules[1].split("_")[1]) // 3 * 3
    return f"{name}.{block}.{LAYERS[position]}"


def backbone_name(path: LeafPath, state_dict: StateDict) -> str:
    """Returns the name in Paddle's file of MobileNetV2."""
    return official_names(path)[0].removeprefix("backbone.")


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Drops the classifier."""
    return {name: x for name, x in state_dict.items() if not name.startswith("out.")}


VARIANTS = ({"context": "easpp"}, {"context": "aspp"}, {"context": "none"}, {"flavour": "paddle"})
NAMES = Names(
    official_names,
    constants=CONSTANTS,
    backbone=Backbone(backbone_name, backbone_tensors),
    variants=VARIANTS,
)
