"""Names in GFM's official checkpoints: a plain state dict.

The network registers the layers of its backbone twice, as torchvision's network and in its own
encoders; PyTorch's loader keeps the encoders'. Source: JizhiziLi/GFM, core/gfm.py.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np
from flax import linen as nn

from matting_jax.convert.names import (
    Backbone,
    LeafPath,
    Names,
    OfficialFile,
    StateDict,
    dotted,
    is_backbone,
    torchvision_file,
)

# Modules of this library that the official network does not have.
GROUPS = ("glance", "focus", "encoder")

# Names and shapes of the tensors in a file that the network does not use, by backbone.
NORM = ("weight", "bias", "running_mean", "running_var")
CLASSIFIERS = {
    "resnet34": {"resnet.fc.weight": (1000, 512), "resnet.fc.bias": (1000,)},
    "densenet121": {
        "densenet.classifier.weight": (1000, 1024),
        "densenet.classifier.bias": (1000,),
        "densenet.features.norm5.num_batches_tracked": (),
        **{f"densenet.features.norm5.{leaf}": (1024,) for leaf in NORM},
    },
    "resnet101": {"resnet.fc.weight": (1000, 2048), "resnet.fc.bias": (1000,)},
}
UNUSED = CLASSIFIERS | {
    "resnet34_2b": {
        **CLASSIFIERS["resnet34"],
        "resnet.conv1.weight": (64, 3, 7, 7),
        "resnet.bn1.num_batches_tracked": (),
        **{f"resnet.bn1.{leaf}": (64,) for leaf in NORM},
        "psp1.0.weight": (64, 512, 3, 3),
        "psp1.0.bias": (64,),
        "psp1.1.num_batches_tracked": (),
        **{f"psp1.1.{leaf}": (64,) for leaf in NORM},
    }
}

# "bt" has the tensors of "ft".
VARIANTS = tuple(
    {"backbone": name, "rosta": rosta} for name in UNUSED for rosta in ("tt", "ft", "rim")
)

PAGE = "https://github.com/JizhiziLi/GFM"


def official_file(name: str, backbone: str, rosta: str) -> OfficialFile:
    """Returns an official file of a variant."""
    return OfficialFile(f"{name}.pth", PAGE, "MIT", keywords={"backbone": backbone, "rosta": rosta})


FILES = {
    "r34_tt": official_file("gfm_r34_tt", "resnet34", "tt"),
    "r34_ft": official_file("gfm_r34_ft", "resnet34", "ft"),
    "r34_bt": official_file("gfm_r34_bt", "resnet34", "bt"),
    "r34_2b_tt": official_file("gfm_r34_2b_tt", "resnet34_2b", "tt"),
    "d121_tt": official_file("gfm_d121_tt", "densenet121", "tt"),
    "r101_tt": official_file("gfm_r101_tt", "resnet101", "tt"),
    "d121_rim": official_file("gfm_d121_rim", "densenet121", "rim"),
    "imagenet_r34": torchvision_file("resnet34-b627a593.pth", {"backbone": "resnet34"}),
    "imagenet_d121": torchvision_file("densenet121-a639ec97.pth", {"backbone": "densenet121"}),
    "imagenet_r101": torchvision_file("resnet101-63fe2227.pth", {"backbone": "resnet101"}),
}
# What the tensors of FT and BT do not determine.
TWO_CLASSES = "whether rosta is 'ft' or 'bt', which have the same tensors"

# A name in old files of DenseNet-121, which write norm.1 for norm1.
OLD_DENSENET = "features.denseblock1.denselayer1.norm.1.weight"


def official_names(path: LeafPath, backbone: str) -> list[str]:
    """Returns the names of one Flax leaf in a file."""
    if not is_backbone(path):
        collection, group, *rest = path
        return [dotted((collection, *rest) if group in GROUPS else path)]
    name = torchvision_name(path, backbone)
    return [encoder_name(name, backbone), f"{torchvision_network(backbone)}.{name}"]


def torchvision_network(backbone: str) -> str:
    """Returns the attribute of GFM that holds torchvision's network."""
    return "densenet" if backbone == "densenet121" else "resnet"


def torchvision_name(path: LeafPath, backbone: str) -> str:
    """Returns the name of a backbone leaf in torchvision's network."""
    name = dotted((path[0], *path[2:]))
    return f"features.{name}" if backbone == "densenet121" else name


def encoder_name(name: str, backbone: str) -> str:
    """Returns the name of torchvision's tensor `name` in GFM's encoders."""
    # encoder1 starts with the pooling, except in r34_2b.
    first = "encoder1." if backbone == "resnet34_2b" else "encoder1.1."
    rules = {
        r"^(features\.conv0|conv1)\.": "encoder0.0.",
        r"^(features\.norm0|bn1)\.": "encoder0.1.",
        r"^layer1\.": first,
        r"^layer(\d)\.": r"encoder\1.",
        r"^features\.denseblock(\d)\.": r"encoder\1.0.",
        r"^features\.transition(\d)\.": r"encoder\1.1.",
    }
    for pattern, replacement in rules.items():
        name = re.sub(pattern, replacement, name)
    return name


def constants(backbone: str) -> StateDict:
    """Returns the unused tensors of a file as zeros."""
    return {
        name: np.zeros(shape, np.float32 if shape else np.int64)
        for name, shape in UNUSED[backbone].items()
    }


def backbone_name(path: LeafPath, state_dict: StateDict, backbone: str) -> str:
    """Returns the name of a backbone leaf in torchvision's file, an old or new one."""
    name = torchvision_name(path, backbone)
    if OLD_DENSENET in state_dict:
        return re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", name)
    return name


def backbone_tensors(state_dict: StateDict, backbone: str) -> StateDict:
    """Drops the classifier and the layers that GFM replaces."""
    network = torchvision_network(backbone)
    unused = {name.removeprefix(f"{network}.") for name in UNUSED[backbone]}
    return {name: x for name, x in state_dict.items() if name not in unused}


def names_of(model: nn.Module) -> Names:
    """Returns the names in the files of the model's backbone."""
    backbone = model.backbone
    return Names(
        partial(official_names, backbone=backbone),
        constants=constants(backbone),
        backbone=Backbone(
            partial(backbone_name, backbone=backbone), partial(backbone_tensors, backbone=backbone)
        ),
        variants=VARIANTS,
        untold=TWO_CLASSES if model.rosta in ("ft", "bt") else "",
        files=FILES,
    )
