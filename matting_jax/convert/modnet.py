"""Names in MODNet's official checkpoints: a state dict of `DataParallel(MODNet)`.

The network registers its backbone twice, so a file holds each of its tensors twice; PyTorch's
loader ends with the second copy, under `lr_branch`. Source: ZHKKKe/MODNet, src/models/modnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from matting_jax.convert.names import dotted, torchvision_mobilenet

PREFIX = "module."
CONSTANTS = {}


def official_names(path: tuple[str, ...]) -> list[str]:
    """The names of one Flax leaf in a file, the one that counts first."""
    name = dotted(path)
    if path[1] != "backbone":
        return [name]
    name = name.removeprefix("backbone.")
    return [f"lr_branch.backbone.model.{name}", f"backbone.model.{name}"]


def is_backbone(path: tuple[str, ...]) -> bool:
    """Whether a file of the backbone alone holds this Flax leaf."""
    return path[1] == "backbone"


def backbone_name(path: tuple[str, ...], state_dict) -> str:
    """The name of a backbone leaf in `mobilenetv2_human_seg.ckpt` or torchvision's mobilenet_v2."""
    name = dotted(path).removeprefix("backbone.")
    return torchvision_mobilenet(name) if "features.1.conv.0.0.weight" in state_dict else name


def backbone_tensors(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What MODNet takes of a backbone's file: all but the classifier."""
    return {name: x for name, x in state_dict.items() if not name.startswith("classifier.")}
