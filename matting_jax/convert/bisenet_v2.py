"""Names in the official checkpoints of BiSeNet V2, `model_final_v2_{city,coco,ade20k}.pth`.

Source: CoinCheung/BiSeNet, lib/models/bisenetv2.py.
"""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from matting_jax.convert.names import (
    Backbone,
    LeafPath,
    Names,
    OfficialFile,
    StateDict,
    dotted,
)

BRANCHES = ("detail", "segment", "bga")

PAGE = "https://github.com/CoinCheung/BiSeNet/releases/tag/0.0.0"
NONCOMMERCIAL = "MIT for the repository; the data are for noncommercial purposes"


def release_file(file: str, licence: str, **fields: Any) -> OfficialFile:
    """Returns a file of the release."""
    address = f"{PAGE.replace('/tag/', '/download/')}/{file}"
    return OfficialFile(file, PAGE, licence, address, **fields)


COCO = {"num_classes": 171, "statistics": "coco"}
ADE20K = {"num_classes": 150, "statistics": "ade20k"}
FILES = {
    "cityscapes": release_file(
        "model_final_v2_city.pth",
        NONCOMMERCIAL,
        config={
            "data.train.dataset": "cityscapes",
            "data.test.dataset": "cityscapes",
            "data.test.split": "validation",
        },
    ),
    "coco": release_file(
        "model_final_v2_coco.pth",
        "MIT; the photos have the licences of their owners",
        keywords=COCO,
    ),
    "ade20k": release_file("model_final_v2_ade20k.pth", NONCOMMERCIAL, keywords=ADE20K),
    "imagenet": release_file(
        "backbone_v2.pth", "MIT; no licence is stated for the weights", backbone=True
    ),
}
# A file without a config holds classes that its owner numbered, scored at their own size.
CONFIG = {"task.labels": "given", "task.evaluation": "ss", "task.window": 1024}


def official_names(path: LeafPath) -> list[str]:
    """Returns the name of one Flax leaf in a file."""
    name = dotted(path)
    # The stages 5_4 and 5_5 keep their underscore.
    for stage in ("S5", "aux5"):
        name = name.replace(f"{stage}.", f"{stage}_")
    return [name]


def check_names(state_dict: StateDict, model: nn.Module) -> None:
    """Raises ValueError for the network of the older code, or another number of classes."""
    if "head.conv_out.weight" in state_dict:
        raise ValueError(
            "this checkpoint belongs to the older code (old/bisenetv2, model_final_v2.pth), whose "
            "heads and upsampling differ: use one of the current code (model_final_v2_city.pth, "
            "_coco or _ade20k), or only its branches by --config.init.backbone=FILE"
        )
    biases = state_dict.get("head.conv_out.1.bias")
    if biases is not None and len(biases) != model.num_classes:
        raise ValueError(
            f"this checkpoint has {len(biases)} classes, the network {model.num_classes}: "
            f"set num_classes={len(biases)}, or start from its branches by "
            "--config.init.backbone=FILE"
        )


def is_backbone(path: LeafPath) -> bool:
    """Returns whether a file of the backbone may hold a Flax leaf: all but the heads."""
    return path[1] in BRANCHES


def backbone_name(path: LeafPath, state_dict: StateDict) -> str | None:
    """Returns the name in `backbone_v2.pth`, or in a whole checkpoint of either code.

    None for the aggregation where the file has none.
    """
    if path[1] == "bga" and not any(name.startswith("bga.") for name in state_dict):
        return None
    return official_names(path)[0]


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Drops the heads, which depend on the number of classes."""
    return {name: x for name, x in state_dict.items() if not name.startswith(("head.", "aux"))}


def names_of(model: nn.Module) -> Names:
    """Returns the names, which all variants share."""
    return Names(
        official_names,
        check=check_names,
        backbone=Backbone(backbone_name, backbone_tensors, is_backbone),
        variants=(COCO, ADE20K),
        files=FILES,
        config=CONFIG,
    )
