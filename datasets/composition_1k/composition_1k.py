"""Adobe's data set of Deep Image Matting: training foregrounds and Composition-1k.

It is prepared from the owners' files, in two configs:
    composition_1k/foregrounds, split train: 431 foregrounds with alpha;
    composition_1k/composites, split test: 50 foregrounds over 20 photos of PASCAL VOC each.
The training set comes without backgrounds: papers use those of COCO.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared.examples import (
    ManualBuilder,
    check_sizes,
    composite_examples,
    foreground_examples,
)
from matting_jax.data.prepared.manual import VOC_ARCHIVE, Foreground, Path

from . import files


class Composition1k(ManualBuilder):
    """The foregrounds and the test composites of Deep Image Matting (Xu et al., CVPR 2017)."""

    name = "composition_1k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="foregrounds", description="431 training foregrounds."),
        tfds.core.BuilderConfig(name="composites", description="The 1000 test composites."),
    ]
    HOMEPAGE = "https://sites.google.com/view/deepimagematting"
    FEATURES = {"foregrounds": ("foreground", "alpha"), "composites": ("image", "alpha", "trimap")}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Ask the owners for Adobe's Deep Image Matting data set ({HOMEPAGE}) and unpack it into "
        "the folder downloads/manual next to the prepared data, so that it contains "
        f"Combined_Dataset. For the composites unpack {VOC_ARCHIVE} there too, so that it contains "
        "VOCdevkit."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of the config's split, in the order of the owners' lists."""
        instructions = self.MANUAL_DOWNLOAD_INSTRUCTIONS
        if self.config_name == "foregrounds":
            foregrounds = files.find_training_foregrounds(manual, instructions)
            return {"train": foreground_examples(foregrounds)}
        return {"test": examples(files.find_composites(manual, instructions))}


def examples(
    composites: list[tuple[Foreground, list[files.Composite]]],
) -> Iterator[dict[str, Any]]:
    """Yields the encoded example of each composite with its trimap."""
    for foreground, parts in composites:
        images = composite_examples(foreground, [part.background for part in parts])
        for part, example in zip(parts, images, strict=True):
            check_sizes(foreground.alpha, part.trimap)
            yield example | {"trimap": part.trimap, "name": part.name}
