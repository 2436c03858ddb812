"""Names in the official checkpoints of GCA Matting, and in that of the ResNet-34 it starts from.

Source: Yaoyi-Li/GCA-Matting, networks/ and its `model_best_resnet34_En_nomixup.pth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from matting_jax.convert.names import LEAVES, dotted

PREFIX = "module."
CONSTANTS = {}

# A normalised convolution lies in a module of its own, beside its two vectors.
SPECTRAL = {"kernel": "module.weight_bar", "u": "module.weight_u", "v": "module.weight_v"}
PLAIN = ("guidance_conv", "W_0")  # and the decoder's conv2

# Parts of the encoder that the ResNet-34 does not have.
ADDED = ("shortcut", "guidance_head", "gca")


def official_names(path: tuple[str, ...]) -> list[str]:
    """The name of one Flax leaf in a file."""
    plain = path[-2] in PLAIN or path[1:3] == ("decoder", "conv2")
    return [dotted(path, LEAVES if plain else LEAVES | SPECTRAL)]


def check_names(state_dict: Mapping[str, np.ndarray], model: Any) -> None:
    """ValueError in a sentence for a file of GCA from another library."""
    if any(name.endswith("weight_orig") for name in state_dict):
        raise ValueError(
            "this file has the names of PyTorch's own spectral normalisation, as those of mmagic's "
            "GCA, which normalises otherwise and is not supported: take gca-dist.pth or "
            "gca-dist-all-data.pth of Yaoyi-Li/GCA-Matting"
        )


def is_backbone(path: tuple[str, ...]) -> bool:
    """Whether the file of the ResNet-34 holds this Flax leaf."""
    return path[1] == "encoder" and not path[2].startswith(ADDED)


def backbone_name(path: tuple[str, ...], state_dict: Mapping[str, np.ndarray]) -> str:
    """The name of a backbone leaf in the file of the ResNet-34."""
    return official_names(path)[0].removeprefix("encoder.")


def backbone_tensors(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What GCA takes of the ResNet-34's file: all but its classifier, and zeros for the trimap in
    the first convolution, which saw the photo alone. ValueError for another network's file."""
    bare = {name.removeprefix(PREFIX): x for name, x in state_dict.items()}
    tensors = {name: x for name, x in bare.items() if name.startswith(("conv", "bn", "layer"))}
    kernel, vector = (tensors.get(f"conv1.module.weight_{x}") for x in ("bar", "v"))
    if kernel is None or vector is None:
        raise ValueError(
            "this is not GCA's own ResNet-34, model_best_resnet34_En_nomixup.pth of "
            "Yaoyi-Li/GCA-Matting: others, torchvision's too, have no spectral normalisation"
        )
    # The vector's channels come first in its order, so that those of the trimap are its end.
    tensors["conv1.module.weight_bar"] = np.pad(kernel, ((0, 0), (0, 3), (0, 0), (0, 0)))
    tensors["conv1.module.weight_v"] = np.pad(vector, (0, vector.size))
    return tensors
