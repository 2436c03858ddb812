"""Names in mmagic's checkpoints of Deep Image Matting, of the first stage or with the refiner.

Source: open-mmlab/mmagic, models/editors/dim and models/archs/vgg.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import linen as nn

from matting_jax.convert.names import (
    LEAVES,
    Backbone,
    LeafPath,
    Names,
    OfficialFile,
    StateDict,
    dotted,
    torchvision_file,
)

FOLDER = "https://download.openmmlab.com/mmediting/mattors/dim/"
PAGE = "https://github.com/open-mmlab/mmagic"
LICENCE = "Apache 2.0; trained on Adobe's data, whose agreement excludes commercial use"


def mmagic_file(file: str, **fields: Any) -> OfficialFile:
    """Returns a file of mmagic, whose name ends with the first digits of its SHA-256."""
    digits = file.removesuffix(".pth").rpartition("-")[2]
    return OfficialFile(file, PAGE, LICENCE, FOLDER + file, digits, **fields)


FILES = {
    "stage1": mmagic_file(
        "dim_stage1_v16_1x1_1000k_comp1k_SAD-53.8_20200605_140257-979a420f.pth",
        keywords={"refine": False},
    ),
    "stage2": mmagic_file(
        "dim_stage2_v16_pln_1x1_1000k_comp1k_SAD-52.3_20200607_171909-d83c4775.pth"
    ),
    "stage3": mmagic_file(
        "dim_stage3_v16_pln_1x1_1000k_comp1k_SAD-50.6_20200609_111851-647f24b6.pth"
    ),
    "vgg": OfficialFile("vgg_state_dict.pth", PAGE, "not stated by its owners", backbone=True),
    "imagenet": torchvision_file("vgg16-397923af.pth"),
}

# Positions of the convolutions in `features` of torchvision's VGG-16, by mmagic's names.
TORCHVISION = {
    "layer1.0": 0,
    "layer1.2": 2,
    "layer2.0": 5,
    "layer2.2": 7,
    "layer3.0": 10,
    "layer3.2": 12,
    "layer3.4": 14,
    "layer4.0": 17,
    "layer4.2": 19,
    "layer4.4": 21,
    "layer5.0": 24,
    "layer5.2": 26,
    "layer5.4": 28,
}
# The first convolution, in torchvision's file and in mmagic's.
FIRST = ("features.0.weight", "layer1.0.weight")


def official_names(path: LeafPath) -> list[str]:
    """Returns the name of one Flax leaf in a file."""
    if "encoder" in path:
        return [dotted(path)]
    *modules, leaf = path[1:]  # deconv5_1 is one name, not position 1 of deconv5
    return [".".join([*modules, LEAVES.get(leaf, leaf)])]


def is_backbone(path: LeafPath) -> bool:
    """Returns whether a file of VGG-16 holds a Flax leaf: a convolution of its five blocks."""
    return "encoder" in path and "conv6" not in path


def backbone_name(path: LeafPath, state_dict: StateDict) -> str:
    """Returns the name in torchvision's VGG-16 or mmagic's `vgg_state_dict.pth`."""
    name = dotted(path).removeprefix("backbone.encoder.")
    if FIRST[0] not in state_dict:
        return name
    convolution, leaf = name.rsplit(".", 1)
    return f"features.{TORCHVISION[convolution]}.{leaf}"


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Selects the convolutions of VGG-16's blocks.

    Where the first one takes only colours, as torchvision's does, zeros are added for the trimap.
    """
    tensors = {name: x for name, x in state_dict.items() if name.startswith(("features", "layer"))}
    for name in FIRST:
        if name in tensors and tensors[name].shape[1] == 3:
            tensors[name] = np.pad(tensors[name], ((0, 0), (0, 1), (0, 0), (0, 0)))
    return tensors


def names_of(model: nn.Module) -> Names:
    """Returns the names, which all variants share."""
    return Names(
        official_names,
        backbone=Backbone(backbone_name, backbone_tensors, is_backbone),
        variants=({"refine": False},),
        files=FILES,
    )
