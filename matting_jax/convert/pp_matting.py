"""Names in PaddleSeg's checkpoints of PP-Matting, and of HRNet alone.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/ppmatting.py and backbone/hrnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from matting_jax.convert.names import PADDLE_LEAVES, dotted

PREFIX = ""
CONSTANTS = {}

# How the names of HRNet's layers begin; a file of HRNet alone has a classifier beside them.
LAYERS = ("conv_layer1_", "la1.", "tr1.", "tr2.", "tr3.", "st2.", "st3.", "st4.")


def official_names(path: tuple[str, ...]) -> list[str]:
    """The name of one Flax leaf in a file."""
    if not is_backbone(path):
        return [dotted(path, PADDLE_LEAVES)]
    # Numbers in the names of HRNet's layers are parts of them, no positions.
    _, *modules, leaf = path
    return [".".join([*modules, PADDLE_LEAVES[leaf]])]


def check_names(state_dict: Mapping[str, np.ndarray], model: Any) -> None:
    """ValueError in a sentence for a file of HRNet alone."""
    if any(name.startswith(LAYERS) for name in state_dict):
        raise ValueError(
            "this file holds HRNet alone, the backbone of PP-Matting: to train from it give it as "
            "--config.init.backbone"
        )


def is_backbone(path: tuple[str, ...]) -> bool:
    """Whether a file of the backbone alone holds this Flax leaf."""
    return path[1] == "backbone"


def backbone_name(path: tuple[str, ...], state_dict) -> str:
    """The name of a backbone leaf in Paddle's file of HRNet alone."""
    return official_names(path)[0].removeprefix("backbone.")


def backbone_tensors(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What PP-Matting takes of a backbone's file: all but the classifier.

    Raises ValueError for a file of all of PP-Matting.
    """
    if any(name.startswith("hrdb.") for name in state_dict):
        raise ValueError(
            "this file holds all of PP-Matting, not the backbone alone: give it as "
            "--config.init.checkpoint"
        )
    return {name: x for name, x in state_dict.items() if name.startswith(LAYERS)}
