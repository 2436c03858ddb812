"""Names in GFM's official checkpoints: a plain state dict.

The network registers the layers of its backbone twice, as torchvision's network and in encoders of
its own; PyTorch's loader ends with the encoders. Source: JizhiziLi/GFM, core/gfm.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from flax import linen as nn

from matting_jax.convert.names import dotted

# Groups of this library, which the official network has not.
GROUPS = ("glance", "focus", "encoder")

# What files hold and no network uses, by backbone: name and shape.
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

# The first tensor of old files of DenseNet-121, whose layers number their parts.
OLD_DENSENET = "features.denseblock1.denselayer1.norm.1.weight"


@dataclass(frozen=True)
class Names:
    """The names in the files of one backbone, with what `convert` asks of a module of names."""

    backbone: str
    PREFIX: ClassVar[str] = ""

    @property
    def CONSTANTS(self) -> dict[str, np.ndarray]:
        """What no network uses, as zeros."""
        return {
            name: np.zeros(shape, np.float32 if shape else np.int64)
            for name, shape in UNUSED[self.backbone].items()
        }

    def official_names(self, path: tuple[str, ...]) -> list[str]:
        """The names of one Flax leaf in a file, the one that counts first."""
        if not self.is_backbone(path):
            collection, group, *rest = path
            return [dotted((collection, *rest) if group in GROUPS else path)]
        name = self.torchvision_name(path)
        network = "densenet" if self.backbone == "densenet121" else "resnet"
        return [self.encoder_name(name), f"{network}.{name}"]

    def is_backbone(self, path: tuple[str, ...]) -> bool:
        """Whether a file of the backbone alone holds this Flax leaf."""
        return path[1] == "backbone"

    def torchvision_name(self, path: tuple[str, ...]) -> str:
        """The name of a leaf of the backbone in torchvision's network."""
        name = dotted((path[0], *path[2:]))
        return f"features.{name}" if self.backbone == "densenet121" else name

    def encoder_name(self, name: str) -> str:
        """Where GFM's encoders hold torchvision's tensor `name`."""
        # Pooling counts among the parts of encoder1, and the blocks of r34_2b come without it.
        first = "encoder1." if self.backbone == "resnet34_2b" else "encoder1.1."
        rules = {
            r"^(features\.conv0|conv1)\.": "encoder0.0.",
            r"^(features\.norm0|bn1)\.": "encoder0.1.",
            r"^layer1\.": first,
            r"^layer(\d)\.": r"encoder\1.",
            r"^features\.denseblock(\d)\.": r"encoder\1.0.",
            r"^features\.transition(\d)\.": r"encoder\1.1.",
        }
        for pattern, place in rules.items():
            name = re.sub(pattern, place, name)
        return name

    def backbone_name(self, path: tuple[str, ...], state_dict: Mapping[str, np.ndarray]) -> str:
        """The name of a backbone leaf in torchvision's file, of DenseNet-121 an old or new one."""
        name = self.torchvision_name(path)
        if OLD_DENSENET in state_dict:
            return re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", name)
        return name

    def backbone_tensors(self, state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What GFM takes of a backbone's file: all but the classifier, and what it replaces."""
        network = "densenet." if self.backbone == "densenet121" else "resnet."
        unused = {name.removeprefix(network) for name in UNUSED[self.backbone]}
        return {name: x for name, x in state_dict.items() if name not in unused}


def names_of(model: nn.Module) -> Names:
    """The names in the files of `model`, by its backbone."""
    return Names(model.backbone)
