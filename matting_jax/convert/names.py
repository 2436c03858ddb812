"""What the names in all official PyTorch checkpoints have in common."""
from __future__ import annotations

import re

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def dotted(path: tuple[str, ...]) -> str:
    """PyTorch's name of a Flax leaf: ("params", "features_1", "conv_0", "kernel") is
    features.1.conv.0.weight; the collection is dropped."""
    *modules, leaf = path[1:]
    modules = [re.sub(r"_(\d+)(?=_|$)", r".\1", module) for module in modules]
    return ".".join([*modules, LEAVES.get(leaf, leaf)])
