"""Names in MODNet's official checkpoints: a state dict of `DataParallel(MODNet)`.

The network registers its backbone twice, so a file holds each of its tensors twice; PyTorch's
loader keeps the second copy, under `lr_branch`. Source: ZHKKKe/MODNet, src/models/modnet.py.
"""

from __future__ import annotations

from flax import linen as nn

from matting_jax.convert import modnet_paddle
from matting_jax.convert.names import (
    Backbone,
    LeafPath,
    Names,
    StateDict,
    dotted,
    is_backbone,
    torchvision_mobilenet,
)


def official_names(path: LeafPath) -> list[str]:
    """Returns the names of one Flax leaf in a file."""
    name = dotted(path)
    if not is_backbone(path):
        return [name]
    name = name.removeprefix("backbone.")
    return [f"lr_branch.backbone.model.{name}", f"backbone.model.{name}"]


def backbone_name(path: LeafPath, state_dict: StateDict) -> str:
    """Returns the name in `mobilenetv2_human_seg.ckpt` or torchvision's mobilenet_v2."""
    name = dotted(path).removeprefix("backbone.")
    return torchvision_mobilenet(name) if "features.1.conv.0.0.weight" in state_dict else name


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Drops the classifier."""
    return {name: x for name, x in state_dict.items() if not name.startswith("classifier.")}


NAMES = Names(
    official_names,
    prefix="module.",
    backbone=Backbone(backbone_name, backbone_tensors),
    variants=modnet_paddle.VARIANTS,
)


def names_of(model: nn.Module) -> Names:
    """Returns the names of the model's flavour."""
    return modnet_paddle.NAMES if model.flavour == "paddle" else NAMES
