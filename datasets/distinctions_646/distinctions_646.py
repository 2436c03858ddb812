"""Distinctions-646: training foregrounds and test composites.

It is prepared from the owners' files, in two configs:
    distinctions_646/foregrounds, split train: 596 foregrounds with alpha;
    distinctions_646/composites, split test: 50 foregrounds over 20 photos of PASCAL VOC each.
The owners train on each foreground over 100 photos of COCO, which are not part of their files. The
composites are those of their lists and their script (utils/gen_dataset.py), under its names.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared.examples import (
    ManualBuilder,
    composite_examples,
    foreground_examples,
)
from matting_jax.data.prepared.manual import VOC_ARCHIVE, Foreground, Path

from . import files


class Distinctions646(ManualBuilder):
    """The foregrounds and the test composites of HAttMatting (Qiao et al., CVPR 2020)."""

    name = "distinctions_646"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="foregrounds", description="596 training foregrounds."),
        tfds.core.BuilderConfig(name="composites", description="The 1000 test composites."),
    ]
    HOMEPAGE = "https://github.com/yuhaoliu7456/CVPR2020-HAttMatting"
    FEATURES = {"foregrounds": ("foreground", "alpha"), "composites": ("image", "alpha")}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get Distinctions-646 as its owners say ({HOMEPAGE}) and unpack it into the folder "
        "downloads/manual next to the prepared data, so that it contains Distinctions-646 with "
        "Train and Test. For the composites copy fg_test.txt and bg_test.txt into "
        "Distinctions-646/Test, from the folder utils/Distinctions-646/test of the same page, and "
        f"unpack {VOC_ARCHIVE} into downloads/manual, so that it contains VOCdevkit."
    )

    def find_splits(self, manual: Path) -> dict[str, Iterator[dict[str, Any]]]:
        """Returns the examples of the config's split, sorted or in the order of the lists."""
        instructions = self.MANUAL_DOWNLOAD_INSTRUCTIONS
        if self.config_name == "foregrounds":
            foregrounds = files.find_training_foregrounds(manual, instructions)
            return {"train": foreground_examples(foregrounds)}
        return {"test": examples(files.find_composites(manual, instructions))}


def examples(composites: list[tuple[Foreground, list[Path]]]) -> Iterator[dict[str, Any]]:
    """Yields the encoded example of each composite."""
    number = 0
    for foreground, backgrounds in composites:
        for example in composite_examples(foreground, backgrounds):
            # The owners' script takes what precedes "_", and the number among all composites.
            yield example | {"name": f"{foreground.name.split('_')[0]}_{number}"}
            number += 1
