"""What the names in all official checkpoints have in common, of PyTorch's and of Paddle's."""
from __future__ import annotations

import re
from collections.abc import Mapping

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
PADDLE_LEAVES = {
    "kernel": "weight", "scale": "weight", "bias": "bias", "mean": "_mean", "var": "_variance",
}  # fmt: skip


def dotted(path: tuple[str, ...], leaves: Mapping[str, str] = LEAVES) -> str:
    """PyTorch's name of a Flax leaf: ("params", "features_1", "conv_0", "kernel") is
    features.1.conv.0.weight; the collection is dropped. `leaves`: what its last part becomes."""
    *modules, leaf = path[1:]
    modules = [re.sub(r"_(\d+)(?=_|$)", r".\1", module) for module in modules]
    return ".".join([*modules, leaves.get(leaf, leaf)])
