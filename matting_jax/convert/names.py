"""What the names in all official checkpoints have in common, of PyTorch's and of Paddle's."""

from __future__ import annotations

import re
from collections.abc import Mapping

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
PADDLE_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "_mean",
    "var": "_variance",
}

# Positions in a block of torchvision's MobileNetV2, by MODNet's; block 1 has no expansion.
TORCHVISION_FIRST = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
TORCHVISION = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}


def dotted(path: tuple[str, ...], leaves: Mapping[str, str] = LEAVES) -> str:
    """PyTorch's name of a Flax leaf: ("params", "features_1", "conv_0", "kernel") is
    features.1.conv.0.weight; the collection is dropped. `leaves`: what its last part becomes."""
    *modules, leaf = path[1:]
    modules = [re.sub(r"_(\d+)(?=_|$)", r".\1", module) for module in modules]
    return ".".join([*modules, leaves.get(leaf, leaf)])


def torchvision_mobilenet(name: str) -> str:
    """torchvision's name in MobileNetV2 for MODNet's: features.2.conv.3.weight is
    features.2.conv.1.0.weight."""
    features, index, *rest = name.split(".")
    if rest[0] != "conv":
        return name
    positions = TORCHVISION_FIRST if index == "1" else TORCHVISION
    return ".".join([features, index, "conv", positions[rest[1]], *rest[2:]])
