"""Adobe's data set of Deep Image Matting: foregrounds to train on, and Composition-1k.

It is prepared from the files as their owners send them, in two parts:
    composition_1k/foregrounds, split train: 431 foregrounds with alpha;
    composition_1k/composites, split test: 50 foregrounds over 20 photos of PASCAL VOC each.
The training set has no backgrounds of its own: the papers take those of COCO.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from matting_jax.data.prepared.examples import (
    check_sizes,
    composite_examples,
    foreground_examples,
    info,
)
from matting_jax.data.prepared.manual import VOC_ARCHIVE, manual_folder

from . import files

HOMEPAGE = "https://sites.google.com/view/deepimagematting"
FEATURES = {"foregrounds": ("foreground", "alpha"), "composites": ("image", "alpha", "trimap")}
Example = tuple[int, dict[str, Any]]


class Composition1k(tfds.core.GeneratorBasedBuilder):
    """The foregrounds and the test composites of Deep Image Matting (Xu et al., CVPR 2017)."""

    name = "composition_1k"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="foregrounds", description="431 foregrounds to train on."),
        tfds.core.BuilderConfig(name="composites", description="The 1000 composites to test on."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Ask the owners for Adobe's Deep Image Matting data set ({HOMEPAGE}) and unpack it "
        "into the folder downloads/manual beside the prepared data, so that Combined_Dataset lies "
        f"in it. For the composites unpack {VOC_ARCHIVE} there too, so that VOCdevkit lies in it."
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
        """Pairs of index and encoded example, in the order of the owners' lists."""
        yield from enumerate(examples)


def _composites(
    composites: list[tuple[files.Foreground, list[files.Composite]]],
) -> Iterator[dict[str, Any]]:
    for foreground, behind in composites:
        images = composite_examples(foreground, [composite.background for composite in behind])
        for composite, example in zip(behind, images, strict=True):
            check_sizes(foreground.alpha, composite.trimap)
            yield example | {"trimap": composite.trimap, "name": composite.name}
