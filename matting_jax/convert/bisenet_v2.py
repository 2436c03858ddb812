"""Names in the official checkpoints of BiSeNet V2, `model_final_v2_{city,coco,ade20k}.pth`.

Source: CoinCheung/BiSeNet, lib/models/bisenetv2.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from matting_jax.convert.names import dotted

PREFIX = ""
CONSTANTS = {}

BRANCHES = ("detail", "segment", "bga")


def official_names(path: tuple[str, ...]) -> list[str]:
    """The name of one Flax leaf in a file."""
    name = dotted(path)
    # The stages 5_4 and 5_5 keep the line that elsewhere is a dot.
    for stage in ("S5", "aux5"):
        name = name.replace(f"{stage}.", f"{stage}_")
    return [name]


def is_backbone(path: tuple[str, ...]) -> bool:
    """Whether a file of the backbone alone may hold this Flax leaf: all but the heads."""
    return path[1] in BRANCHES


def check_names(state_dict: Mapping[str, np.ndarray], model: Any) -> None:
    """Raise ValueError for a checkpoint of the older code, whose network is another, and for one of
    another number of classes."""
    if "head.conv_out.weight" in state_dict:
        raise ValueError(
            "this checkpoint is of the older code (old/bisenetv2, model_final_v2.pth), whose heads "
            "and enlargements differ: take one of the current code (model_final_v2_city.pth, "
            "_coco or _ade20k), or start from this one's branches by --config.init.backbone=FILE"
        )
    biases = state_dict.get("head.conv_out.1.bias")
    if biases is not None and len(biases) != model.num_classes:
        raise ValueError(
            f"this checkpoint tells {len(biases)} classes apart, the network {model.num_classes}: "
            f"set num_classes={len(biases)}, or start from its branches by "
            "--config.init.backbone=FILE"
        )


def backbone_name(path: tuple[str, ...], state_dict: Mapping[str, np.ndarray]) -> str | None:
    """The name of a leaf in `backbone_v2.pth`, or in a whole checkpoint of either code; None for
    the aggregation where the file has none."""
    if path[1] == "bga" and not any(name.startswith("bga.") for name in state_dict):
        return None
    return official_names(path)[0]


def backbone_tensors(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a network of any number of classes takes of a file: all but the heads."""
    return {name: x for name, x in state_dict.items() if not name.startswith(("head.", "aux"))}
