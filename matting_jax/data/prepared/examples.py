"""The base class of the TFDS builders, and foregrounds and composites as encoded examples."""

from __future__ import annotations

import abc
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from matting_jax.data.files.formats import readable
from matting_jax.data.prepared.manual import Foreground, Path, manual_folder
from matting_jax.data.prepared.merge import lay_under, merge

GREY = ("alpha", "trimap")
Example = tuple[int, dict[str, Any]]


class ManualBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder of a data set whose files the user puts in place.

    The docstring of a subclass's module is the data set's description. `FEATURES` lists the images
    of each config by its name; that of a data set without configs is "".
    """

    HOMEPAGE: ClassVar[str]
    # "ignore": colour profiles are not read, as in the code published for the data set, so that
    # scores stay comparable; "srgb": as config.data.colour_profile says.
    COLOUR_PROFILE: ClassVar[str] = "ignore"
    FEATURES: ClassVar[Mapping[str, Iterable[str]]]

    @property
    def config_name(self) -> str:
        """The name of the config, or "" for a data set without configs."""
        return self.builder_config.name if self.builder_config else ""

    @abc.abstractmethod
    def find_splits(self, manual: Path) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Finds the files below `manual` and returns the encoded examples of each split, in order.

        Raises ValueError that lists all missing files and ends in the instructions.
        """

    def _info(self) -> tfds.core.DatasetInfo:
        """Describes the data set: images in colour, alpha and trimap in grey, and a name."""
        images = {
            feature: tfds.features.Image(shape=(None, None, 1 if feature in GREY else 3))
            for feature in self.FEATURES[self.config_name]
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=sys.modules[self.__module__].__doc__,
            features=tfds.features.FeaturesDict({**images, "name": tfds.features.Text()}),
            homepage=self.HOMEPAGE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Returns the examples of each split by index."""
        splits = self.find_splits(manual_folder(dl_manager))
        return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def _generate_examples(self, examples: Iterable[dict[str, Any]]) -> Iterator[Example]:
        """Yields pairs of index and encoded example."""
        yield from enumerate(examples)


def foreground_examples(foregrounds: Iterable[Foreground]) -> Iterator[dict[str, Any]]:
    """Yields the encoded foregrounds; raises ValueError if one differs in size from its alpha."""
    for foreground in foregrounds:
        check_sizes(foreground.colours, foreground.alpha)
        yield {
            "foreground": foreground.colours,
            "alpha": foreground.alpha,
            "name": foreground.name,
        }


def composite_examples(
    foreground: Foreground, backgrounds: Iterable[Path]
) -> Iterator[dict[str, Any]]:
    """Yields the encoded composites of a foreground, merged as by Adobe's script.

    Raises ValueError if the foreground and its alpha differ in size.
    """
    check_sizes(foreground.colours, foreground.alpha)
    colours = np.asarray(open_image(foreground.colours).convert("RGB"))
    # The script reads the first channel of alphas that are stored in colour.
    alpha = np.asarray(open_image(foreground.alpha).convert("RGB"))[..., 0]
    height, width = alpha.shape
    alpha_file = png(alpha)
    for path in backgrounds:
        background = lay_under(open_image(path).convert("RGB"), width, height)
        image = merge(colours, alpha, np.asarray(background))
        yield {"image": png(image), "alpha": alpha_file}


def check_sizes(path: Path, other: Path) -> None:
    """Raises ValueError, with both names, if two images differ in size."""
    width, height = size_of(path)
    other_width, other_height = size_of(other)
    if (width, height) != (other_width, other_height):
        raise ValueError(
            f"{path} has {width} x {height} pixels, but {other} has {other_width} x "
            f"{other_height}: restore the owners' files"
        )


def size_of(path: Path) -> tuple[int, int]:
    """Returns width and height of an image."""
    with path.open("rb") as file, Image.open(file, formats=readable()) as image:
        return image.size


def open_image(path: Path) -> Image.Image:
    """Opens an image, also in the cloud."""
    return Image.open(io.BytesIO(path.read_bytes()), formats=readable())


def png(image: np.ndarray) -> bytes:
    """Encodes an image uint8 [H, W] or [H, W, 3] as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png", compress_level=1)
    return stream.getvalue()
