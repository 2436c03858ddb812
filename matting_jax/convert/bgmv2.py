"""Names in BackgroundMattingV2's official checkpoints: a plain state dict.

Source: PeterL1n/BackgroundMattingV2, model/model.py. Backbones come from torchvision's classifiers,
or with the ASPP from DeepLabV3 as VainF/DeepLabV3Plus-Pytorch trains it, which the authors use.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from matting_jax.convert.names import dotted, torchvision_mobilenet

PREFIX = ""
CONSTANTS = {}

# The first convolution takes six channels; those of photos take three. It stays as it was drawn.
FIRST = ("backbone.conv1.weight", "backbone.features.0.0.weight")
# What a file holds beside what the network takes of it.
HEADS = ("backbone.fc.", "backbone.classifier.", "backbone.features.18.", "classifier.")
# DeepLabV3's names, and the network's.
DEEPLAB = {
    "backbone.low_level_features.": "backbone.features.",
    "backbone.high_level_features.": "backbone.features.",
    "classifier.classifier.0.": "aspp.",
}


def official_names(path: tuple[str, ...]) -> list[str]:
    """The name of one Flax leaf in a file."""
    name = dotted(path)
    if not name.startswith("backbone.features."):
        return [name]
    return ["backbone." + torchvision_mobilenet(name.removeprefix("backbone."))]


def is_backbone(path: tuple[str, ...]) -> bool:
    """Whether a file of the backbone, or of DeepLabV3, may hold this Flax leaf."""
    return path[1] in ("backbone", "aspp") and official_names(path)[0] not in FIRST


def backbone_name(path: tuple[str, ...], state_dict: Mapping[str, np.ndarray]) -> str | None:
    """The name of a leaf among `backbone_tensors`; None for the ASPP, where the file has none."""
    name = official_names(path)[0]
    held = path[1] == "backbone" or any(key.startswith("aspp.") for key in state_dict)
    return name if held else None


def backbone_tensors(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What BGMv2 takes of a backbone's file, or of DeepLabV3's, under the network's own names."""
    if not any(name.startswith("backbone.") for name in state_dict):
        state_dict = {f"backbone.{name}": x for name, x in state_dict.items()}
    tensors = {}
    for name, x in state_dict.items():
        for theirs, ours in DEEPLAB.items():
            if name.startswith(theirs):
                name = ours + name.removeprefix(theirs)
        if not name.startswith(HEADS) and name not in FIRST:
            tensors[name] = x
    return tensors
