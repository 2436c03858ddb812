"""Names in PaddleSeg's checkpoints of MODNet.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/modnet.py and backbone/mobilenet_v2.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import numpy as np

from matting_jax.convert.names import PADDLE_LEAVES, dotted
from matting_jax.image.filters import BLUR
from matting_jax.models.backbones.mobilenet_v2 import STAGES

PREFIX = ""
# The blur of the semantic target lies among the weights, though nothing trains it.
CONSTANTS = {"blurer.op.1.weight": np.outer(BLUR, BLUR).astype(np.float32)[None, None]}

INSTANCE_NORM = PADDLE_LEAVES | {"scale": "scale"}

# Blocks of the backbone before each of its stages, which Paddle calls conv2 to conv8.
BEFORE = [0, *accumulate(blocks for _, _, blocks, _ in STAGES)]
PARTS = {0: "_expand_conv", 3: "_bottleneck_conv", 6: "_linear_conv"}


def official_names(path: tuple[str, ...]) -> list[str]:
    """The name of one Flax leaf in a file."""
    leaves = INSTANCE_NORM if "inorm" in path else PADDLE_LEAVES
    if path[1] != "backbone":
        return [f"head.{dotted(path, leaves)}"]
    _, _, *modules, leaf = path
    layer = "_conv" if leaf == "kernel" else "_batch_norm"
    return [f"backbone.{place(modules)}.{layer}.{leaves[leaf]}"]


def place(modules: list[str]) -> str:
    """Where a layer of the backbone lies: features_2, conv_0 is conv3._first_block._expand_conv."""
    index = int(modules[0].split("_")[1])
    if index == 0:
        return "conv1"
    if index > BEFORE[-1]:
        return "conv9"
    stage = max(i for i, before in enumerate(BEFORE) if before < index)
    number = index - BEFORE[stage]
    name = f"conv{stage + 2}"
    block = "_first_block" if number == 1 else f"{name}_{number}"
    # A convolution and its normalisation are one layer here, numbers 3 i and 3 i + 1 there.
    part = int(modules[1].split("_")[1]) // 3 * 3
    return f"{name}.{block}.{PARTS[part]}"


def is_backbone(path: tuple[str, ...]) -> bool:
    """Whether a file of the backbone alone holds this Flax leaf."""
    return path[1] == "backbone"


def backbone_name(path: tuple[str, ...], state_dict) -> str:
    """The name of a backbone leaf in Paddle's file of MobileNetV2 alone."""
    return official_names(path)[0].removeprefix("backbone.")


def backbone_tensors(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What MODNet takes of a backbone's file: all but the classifier."""
    return {name: x for name, x in state_dict.items() if not name.startswith("out.")}
