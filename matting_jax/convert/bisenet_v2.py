"""Names in the official checkpoints of BiSeNet V2, `model_final_v2_{city,coco,ade20k}.pth`.

Source: CoinCheung/BiSeNet, lib/models/bisenetv2.py.
"""
from __future__ import annotations

from collections.abc import Mapping

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
