"""Names in MODNet's official checkpoints: a state dict of `DataParallel(MODNet)`.

The network registers its backbone twice, so a file holds each of its tensors twice; PyTorch's
loader keeps the second copy, under `lr_branch`. Source: ZHKKKe/MODNet, src/models/modnet.py.
"""

from __future__ import annotations

from dataclasses import replace

from flax import linen as nn

from matting_jax.convert import modnet_paddle
from matting_jax.convert.names import (
    Backbone,
    LeafPath,
    Names,
    OfficialFile,
    StateDict,
    dotted,
    is_backbone,
    torchvision_file,
    torchvision_mobilenet,
)

PAGE = "https://github.com/ZHKKKe/MODNet"
LICENCE = "Apache 2.0 (CC BY-NC-SA 4.0 until 2021: see the README of your copy)"
FILES = {
    "photographic": OfficialFile("modnet_photographic_portrait_matting.ckpt", PAGE, LICENCE),
    "webcam": OfficialFile("modnet_webcam_portrait_matting.ckpt", PAGE, LICENCE),
    "paddle": OfficialFile(
        "modnet-mobilenetv2.pdparams",
        "https://github.com/PaddlePaddle/PaddleSeg",
        "Apache 2.0",
        keywords={"flavour": "paddle"},
    ),
    "human_seg": OfficialFile("mobilenetv2_human_seg.ckpt", PAGE, LICENCE, backbone=True),
    "imagenet": torchvision_file("mobilenet_v2-b0353104.pth"),
}


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
    files=FILES,
)


def names_of(model: nn.Module) -> Names:
    """Returns the names of the model's flavour."""
    return replace(modnet_paddle.NAMES, files=FILES) if model.flavour == "paddle" else NAMES
