"""Names in the official checkpoints of GCA Matting, and in that of the ResNet-34 it starts from.

Source: Yaoyi-Li/GCA-Matting, networks/ and its `model_best_resnet34_En_nomixup.pth`.
"""

from __future__ import annotations

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
)

PREFIX = "module."

PAGE = "https://github.com/Yaoyi-Li/GCA-Matting"
LICENCE = "for noncommercial purposes only, by the agreement of Adobe's data"
FILES = {
    "dist": OfficialFile("gca-dist.pth", PAGE, LICENCE),
    "all_data": OfficialFile("gca-dist-all-data.pth", PAGE, LICENCE),
    "imagenet": OfficialFile(
        "model_best_resnet34_En_nomixup.pth", PAGE, "not stated by its owners", backbone=True
    ),
}

# A spectrally normalised convolution is a submodule that also has two vectors.
SPECTRAL = {"kernel": "module.weight_bar", "u": "module.weight_u", "v": "module.weight_v"}
PLAIN = ("guidance_conv", "W_0")  # and the decoder's conv2

# Modules of the encoder that the ResNet-34 does not have.
ADDED = ("shortcut", "guidance_head", "gca")


def official_names(path: LeafPath) -> list[str]:
    """Returns the name of one Flax leaf in a file."""
    plain = path[-2] in PLAIN or path[1:3] == ("decoder", "conv2")
    return [dotted(path, LEAVES if plain else LEAVES | SPECTRAL)]


def check_names(state_dict: StateDict, model: nn.Module) -> None:
    """Raises ValueError for a file of GCA from another library."""
    if any(name.endswith("weight_orig") for name in state_dict):
        raise ValueError(
            "this file has the names of PyTorch's own spectral normalisation, like mmagic's GCA, "
            "which normalises differently and is not supported: use gca-dist.pth or "
            "gca-dist-all-data.pth of Yaoyi-Li/GCA-Matting"
        )


def is_backbone(path: LeafPath) -> bool:
    """Returns whether the file of the ResNet-34 holds a Flax leaf."""
    return path[1] == "encoder" and not path[2].startswith(ADDED)


def backbone_name(path: LeafPath, state_dict: StateDict) -> str:
    """Returns the name in the file of the ResNet-34."""
    return official_names(path)[0].removeprefix("encoder.")


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Drops the classifier, and adds zeros for the trimap to the first convolution.

    Raises ValueError for another network's file.
    """
    bare = {name.removeprefix(PREFIX): x for name, x in state_dict.items()}
    tensors = {name: x for name, x in bare.items() if name.startswith(("conv", "bn", "layer"))}
    kernel, vector = (tensors.get(f"conv1.module.weight_{x}") for x in ("bar", "v"))
    if kernel is None or vector is None:
        raise ValueError(
            "this is not GCA's own ResNet-34, model_best_resnet34_En_nomixup.pth of "
            "Yaoyi-Li/GCA-Matting: others, also torchvision's, have no spectral normalisation"
        )
    # Channels are the slowest axis of the vector, so the trimap's entries are its end.
    tensors["conv1.module.weight_bar"] = np.pad(kernel, ((0, 0), (0, 3), (0, 0), (0, 0)))
    tensors["conv1.module.weight_v"] = np.pad(vector, (0, vector.size))
    return tensors


def names_of(model: nn.Module) -> Names:
    """Returns the names, which all variants share."""
    return Names(
        official_names,
        prefix=PREFIX,
        check=check_names,
        backbone=Backbone(backbone_name, backbone_tensors, is_backbone),
        variants=({"attention": False}, {"guidance": False}),
        files=FILES,
    )
