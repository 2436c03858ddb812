"""The table of a network's names in official checkpoints, and what all tables share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import linen as nn

LeafPath = tuple[str, ...]
StateDict = Mapping[str, np.ndarray]

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
PADDLE_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "_mean",
    "var": "_variance",
}

# Positions in a block of torchvision's MobileNetV2, by this library's; block 1 has no expansion.
TORCHVISION_FIRST = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
TORCHVISION = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}


def accept(state_dict: StateDict, model: nn.Module) -> None:
    """Accepts every file."""


def is_backbone(path: LeafPath) -> bool:
    """Returns whether a Flax leaf belongs to the module `backbone`."""
    return path[1] == "backbone"


@dataclass(frozen=True)
class Backbone:
    """The names in a file that holds only the backbone.

    `name(path, state_dict)` is the name of one Flax leaf among `tensors(state_dict)`, or None where
    this file does not have it but others do. `tensors(state_dict)` selects what the network takes
    of a file, in the network's shapes. `is_held(path)` is whether such files hold a leaf.
    """

    name: Callable[[LeafPath, StateDict], str | None]
    tensors: Callable[[StateDict], StateDict]
    is_held: Callable[[LeafPath], bool] = is_backbone


@dataclass(frozen=True)
class OfficialFile:
    """A published file of weights, which is known by a short name.

    Attributes:
        file: its name.
        page: where its owners link it.
        licence: under which it is published, as far as that is known.
        address: where it can be fetched; "" if a person must download it.
        sha256: the published SHA-256 or its first digits; "" if there is none.
        keywords: keywords of its network.
        test_time: options of the test-time rule that it was published with.
        config: further fields of the config, by dotted name.
        backbone: whether it holds the backbone only.
    """

    file: str
    page: str
    licence: str
    address: str = ""
    sha256: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    test_time: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    backbone: bool = False


def torchvision_file(file: str, keywords: Mapping[str, Any] | None = None) -> OfficialFile:
    """Returns the file of a classifier that torchvision trained on ImageNet, as a backbone.

    Args:
        file: its name, which ends with the first digits of its SHA-256.
        keywords: keywords of the network whose backbone it is.
    """
    digits = file.removesuffix(".pth").rpartition("-")[2]
    return OfficialFile(
        file,
        "https://github.com/pytorch/vision",
        "BSD 3-clause",
        f"https://download.pytorch.org/models/{file}",
        digits,
        keywords=keywords or {},
        backbone=True,
    )


@dataclass(frozen=True)
class Names:
    """The names in a network's official checkpoints.

    Attributes:
        official: `official(path)` lists the names of one Flax leaf; where copies differ, the first
            is read.
        prefix: prefix of all names, which a file may omit.
        constants: tensors of a file that no leaf holds; a file may omit them.
        check: raises ValueError for files that need a better message than a list of mismatches.
        backbone: the names in files that hold only the backbone; None: there are no such files.
        variants: keywords of variants that have other tensors than the default, to recognise their
            files.
        untold: what the tensors do not determine of this variant, for the error message; "" for
            nothing.
        files: published files by short name.
        config: fields of the config by dotted name that general code needs for a file without a
            config.
    """

    official: Callable[[LeafPath], list[str]]
    prefix: str = ""
    constants: StateDict = field(default_factory=dict)
    check: Callable[[StateDict, nn.Module], None] = accept
    backbone: Backbone | None = None
    variants: tuple[Mapping[str, Any], ...] = ()
    untold: str = ""
    files: Mapping[str, OfficialFile] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def dotted(path: LeafPath, leaves: Mapping[str, str] = LEAVES) -> str:
    """Returns PyTorch's name of a Flax leaf.

    ("params", "features_1", "conv_0", "kernel") is features.1.conv.0.weight: the collection is
    dropped, and `leaves` maps the last part.
    """
    *modules, leaf = path[1:]
    modules = [re.sub(r"_(\d+)(?=_|$)", r".\1", module) for module in modules]
    return ".".join([*modules, leaves.get(leaf, leaf)])


def torchvision_mobilenet(name: str) -> str:
    """Returns torchvision's name in MobileNetV2 for this library's.

    features.2.conv.3.weight is features.2.conv.1.0.weight.
    """
    features, index, *rest = name.split(".")
    if rest[0] != "conv":
        return name
    positions = TORCHVISION_FIRST if index == "1" else TORCHVISION
    return ".".join([features, index, "conv", positions[rest[1]], *rest[2:]])
