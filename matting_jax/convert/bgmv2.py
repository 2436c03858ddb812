"""Names in BackgroundMattingV2's official checkpoints: a plain state dict.

Source: PeterL1n/BackgroundMattingV2, model/model.py. Backbones come from torchvision's classifiers,
or with the ASPP from DeepLabV3 as VainF/DeepLabV3Plus-Pytorch trains it, which the authors use.
"""

from __future__ import annotations

from flax import linen as nn

from matting_jax.convert.names import (
    Backbone,
    LeafPath,
    Names,
    OfficialFile,
    StateDict,
    dotted,
    torchvision_file,
    torchvision_mobilenet,
)

# The first convolution has six input channels, a classifier's three: it stays at its initial value.
FIRST = ("backbone.conv1.weight", "backbone.features.0.0.weight")
# Layers of a file that the network does not have.
HEADS = ("backbone.fc.", "backbone.classifier.", "backbone.features.18.", "classifier.")
# Prefixes of DeepLabV3's names, and the network's.
DEEPLAB = {
    "backbone.low_level_features.": "backbone.features.",
    "backbone.high_level_features.": "backbone.features.",
    "classifier.classifier.0.": "aspp.",
}

PAGE = "https://github.com/PeterL1n/BackgroundMattingV2/releases/tag/v1.0.0"


def official_file(file: str, backbone: str) -> OfficialFile:
    """Returns a file of the release, which holds both networks."""
    address = f"{PAGE.replace('/tag/', '/download/')}/{file}"
    return OfficialFile(file, PAGE, "MIT", address, keywords={"backbone": backbone})


FILES = {
    "resnet50": official_file("pytorch_resnet50.pth", "resnet50"),
    "resnet101": official_file("pytorch_resnet101.pth", "resnet101"),
    "mobilenet_v2": official_file("pytorch_mobilenetv2.pth", "mobilenet_v2"),
    "imagenet_resnet50": torchvision_file("resnet50-0676ba61.pth", {"backbone": "resnet50"}),
    "imagenet_resnet101": torchvision_file("resnet101-63fe2227.pth", {"backbone": "resnet101"}),
    "imagenet_mobilenet_v2": torchvision_file(
        "mobilenet_v2-b0353104.pth", {"backbone": "mobilenet_v2"}
    ),
}
VARIANTS = tuple(
    {"backbone": backbone, "refine": refine}
    for backbone in ("resnet50", "resnet101", "mobilenet_v2")
    for refine in (True, False)
)


def official_names(path: LeafPath) -> list[str]:
    """Returns the name of one Flax leaf in a file."""
    name = dotted(path)
    if not name.startswith("backbone.features."):
        return [name]
    return ["backbone." + torchvision_mobilenet(name.removeprefix("backbone."))]


def is_backbone(path: LeafPath) -> bool:
    """Returns whether a file of the backbone, or of DeepLabV3, may hold a Flax leaf."""
    return path[1] in ("backbone", "aspp") and official_names(path)[0] not in FIRST


def backbone_name(path: LeafPath, state_dict: StateDict) -> str | None:
    """Returns the name among `backbone_tensors`; None for the ASPP where the file has none."""
    held = path[1] == "backbone" or any(name.startswith("aspp.") for name in state_dict)
    return official_names(path)[0] if held else None


def backbone_tensors(state_dict: StateDict) -> StateDict:
    """Selects the layers that the network has, renamed to its names."""
    if not any(name.startswith("backbone.") for name in state_dict):
        state_dict = {f"backbone.{name}": x for name, x in state_dict.items()}
    tensors = {}
    for name, x in state_dict.items():
        for theirs, ours in DEEPLAB.items():
            if name.startswith(theirs):
                name = ours + name.removeprefix(theirs)
        if not name.startswith(HEADS) and name not in FIRST:
            tensors[name] = x
    return tensors


def names_of(model: nn.Module) -> Names:
    """Returns the names, which all variants share."""
    return Names(
        official_names,
        backbone=Backbone(backbone_name, backbone_tensors, is_backbone),
        variants=VARIANTS,
        files=FILES,
    )
