"""Distinctions-646: foregrounds to train on, and composites to test on.

It is prepared from the files as their owners give them out, in two parts:
    distinctions_646/foregrounds, split train: 596 foregrounds with alpha;
    distinctions_646/composites, split test: 50 foregrounds over 20 photos of PASCAL VOC each.
The owners train on each foreground over 100 photos of COCO, which are not part of their files. The
composites are those of their lists and their script (utils/gen_dataset.py), under its names.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared.examples import composite_examples, foreground_examples, info
from matting_jax.data.prepared.manual import VOC_ARCHIVE, manual_folder

from . import files

HOMEPAGE = "https://github.com/yuhaoliu7456/CVPR2020-HAttMatting"
FEATURES = {"foregrounds": ("foreground", "alpha"), "composites": ("image", "alpha")}
Example = tuple[int, dict[str, Any]]


class Distinctions646(tfds.core.GeneratorBasedBuilder):
    """The foregrounds and the test composites of HAttMatting (Qiao et al., CVPR 2020)."""

    name = "distinctions_646"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="foregrounds", description="596 foregrounds to train on."),
        tfds.core.BuilderConfig(name="composites", description="The 1000 composites to test on."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Get Distinctions-646 as its owners say ({HOMEPAGE}) and unpack it into the folder "
        "downloads/manual beside the prepared data, so that Distinctions-646 with Train and Test "
        "lies in it. For the composites copy fg_test.txt and bg_test.txt into "
        "Distinctions-646/Test, from the folder utils/Distinctions-646/test of the same page, and "
        f"unpack {VOC_ARCHIVE} into downloads/manual, so that VOCdevkit lies in it."
    )
    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description of the part."""
        return info(self, FEATURES[self.builder_config.name], HOMEPAGE, __doc__)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The one split of the part; ValueError that names all that is missing."""
        instructions = self.MANUAL_DOWNLOAD_INSTRUCTIONS
        manual = manual_folder(dl_manager)
        if self.builder_config.name == "foregrounds":
            foregrounds = files.training_foregrounds(manual, instructions)
            return {"train": self._generate_examples(foreground_examples(foregrounds))}
        composites = files.composites(manual, instructions)
        return {"test": self._generate_examples(_composites(composites))}

    def _generate_examples(self, examples: Iterator[dict[str, Any]]) -> Iterator[Example]:
        """Pairs of index and encoded example, in the order of the files or the owners' lists."""
        yield from enumerate(examples)


def _composites(
    composites: list[tuple[files.Foreground, list[files.Path]]],
) -> Iterator[dict[str, Any]]:
    number = 0
    for foreground, backgrounds in composites:
        for example in composite_examples(foreground, backgrounds):
            # As the owners' script names it: what precedes "_", and the number among all.
            yield example | {"name": f"{foreground.name.split('_')[0]}_{number}"}
            number += 1
