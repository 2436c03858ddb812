"""Adobe's data set of Deep Image Matting: foregrounds to train on, and Composition-1k.

It is prepared from the files as their owners send them, in two parts:
    composition_1k/foregrounds, split train: 431 foregrounds with alpha;
    composition_1k/composites, split test: 50 foregrounds over 20 photos of PASCAL VOC each.
The training set has no backgrounds of its own: the papers take those of COCO.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from . import files
from .merge import lay_under, merge

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
        "Ask the owners for Adobe's Deep Image Matting data set "
        "(https://sites.google.com/view/deepimagematting) and unpack it into the folder "
        "downloads/manual beside the prepared data, so that Combined_Dataset lies in it. For the "
        "composites unpack "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar there too, so "
        "that VOCdevkit lies in it."
    )
    # The module is loaded by path, so TFDS cannot find this folder from the module's name.
    pkg_dir_path = tfds.core.Path(__file__).parent

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and description of the part."""
        colours, grey = (tfds.features.Image(shape=(None, None, c)) for c in (3, 1))
        features = {
            "foregrounds": {"foreground": colours, "alpha": grey},
            "composites": {"image": colours, "alpha": grey, "trimap": grey},
        }[self.builder_config.name]
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features | {"name": tfds.features.Text()}),
            homepage="https://sites.google.com/view/deepimagematting",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The one split of the part; ValueError that names all that is missing."""
        instructions = self.MANUAL_DOWNLOAD_INSTRUCTIONS
        try:
            manual = dl_manager.manual_dir
        except AssertionError as error:  # TFDS's way to say that the folder is empty
            raise ValueError(" ".join(str(error).split())) from error
        if self.builder_config.name == "foregrounds":
            foregrounds = files.training_foregrounds(manual, instructions)
            return {"train": self._generate_examples(_foregrounds(foregrounds))}
        composites = files.composites(manual, instructions)
        return {"test": self._generate_examples(_composites(composites))}

    def _generate_examples(self, examples: Iterator[dict[str, Any]]) -> Iterator[Example]:
        """Pairs of index and encoded example, in the order of the owners' lists."""
        yield from enumerate(examples)


def _foregrounds(foregrounds: list[files.Foreground]) -> Iterator[dict[str, Any]]:
    for foreground in foregrounds:
        _check_sizes(foreground.colours, foreground.alpha)
        yield {
            "foreground": foreground.colours,
            "alpha": foreground.alpha,
            "name": foreground.name,
        }


def _composites(
    composites: list[tuple[files.Foreground, list[files.Composite]]],
) -> Iterator[dict[str, Any]]:
    for foreground, backgrounds in composites:
        _check_sizes(foreground.colours, foreground.alpha)
        colours = np.asarray(_opened(foreground.colours).convert("RGB"))
        # Of alphas stored in colour the script reads the first channel.
        alpha = np.asarray(_opened(foreground.alpha).convert("RGB"))[..., 0]
        height, width = alpha.shape
        alpha_file = _png(alpha)
        for composite in backgrounds:
            _check_sizes(foreground.alpha, composite.trimap)
            background = lay_under(_opened(composite.background).convert("RGB"), width, height)
            yield {
                "image": _png(merge(colours, alpha, np.asarray(background))),
                "alpha": alpha_file,
                "trimap": composite.trimap,
                "name": composite.name,
            }


def _check_sizes(path: files.Path, other: files.Path) -> None:
    width, height = _size(path)
    other_width, other_height = _size(other)
    if (width, height) != (other_width, other_height):
        raise ValueError(
            f"{path} has {width} x {height} pixels, but {other} has {other_width} x "
            f"{other_height}: restore both as they were sent."
        )


def _size(path: files.Path) -> tuple[int, int]:
    with path.open("rb") as file, Image.open(file) as image:
        return image.size


def _opened(path: files.Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png", compress_level=1)
    return stream.getvalue()
