"""Names in PaddleSeg's checkpoints of PP-Matting, and of HRNet only.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/ppmatting.py and backbone/hrnet.py.
"""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from matting_jax.convert.names import (
    PADDLE_LEAVES,
    Backbone,
    LeafPath,
    Names,
    OfficialFile,
    StateDict,
    dotted,
    is_backbone,
)

# Prefixes of HRNet's layers; a file of HRNet also holds a classifier.
LAYERS = ("conv_layer1_", "la1.", "tr1.", "tr2.", "tr3.", "st2.", "st3.", "st4.")

FOLDER = "https://paddleseg.bj.bcebos.com/matting/models/"
PAGE = "https://github.com/PaddlePaddle/PaddleSeg"


def paddleseg_file(file: str, licence: str = "Apache 2.0", **fields: Any) -> OfficialFile:
    """Returns a file of PaddleSeg."""
    return OfficialFile(file, PAGE, licence, FOLDER + file, **fields)


W18 = {"backbone": "hrnet_w18"}
FILES = {
    "composition": paddleseg_file(
        "ppmatting-hrnet_w48-composition.pdparams",
        "Apache 2.0; Adobe's agreement excludes commercial use of its data",
    ),
    "distinctions": paddleseg_file(
        "ppmatting-hrnet_w48-distinctions.pdparams",
        "Apache 2.0; the data have terms of their own",
    ),
    "human_512": paddleseg_file("ppmatting-hrnet_w18-human_512.pdparams", keywords=W18),
    "human_1024": paddleseg_file(
        "ppmatting-hrnet_w18-human_1024.pdparams", keywords=W18, test_time={"max_short": 1024}
    ),
}


def official_names(path: LeafPath) -> list[str]:
    """Returns the name of one Flax leaf in a file."""
    if not is_backbone(path):
        return [dotted(path, PADDLE_LEAVES)]
    # Numbers belong to the names of HRNet's layers, so `dotted` would split them wrongly.
    _, *modules, leaf = path
    return [".".join([*modules, PADDLE_LEAVES[leaf]])]


def check_names(state_dict: StateDict, model: nn.Module) -> None:
    """Raises ValueError for a file of HRNet only."""
    if any(name.startswith(LAYERS) for name in state_dict):
        raise ValueError(
            "this file holds only HRNet, the backbone of PP-Matting: to train from it pass it as "
            "--config.init.backbone"
        )


def backbone_name(path: LeafPath, state_dict: StateDict) -> str:
    """Returns the name in Paddle's file of HRNet."""
    return official_names(path)[0].removeprefix("backbone.")


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Drops the classifier; raises ValueError for a file of the whole PP-Matting."""
    if any(name.startswith("hrdb.") for name in state_dict):
        raise ValueError(
            "this file holds all of PP-Matting, not only the backbone: pass it as "
            "--config.init.checkpoint"
        )
    return {name: x for name, x in state_dict.items() if name.startswith(LAYERS)}


def names_of(model: nn.Module) -> Names:
    """Returns the names, which all variants share."""
    return Names(
        official_names,
        check=check_names,
        backbone=Backbone(backbone_name, backbone_tensors),
        variants=(W18,),
        files=FILES,
    )
