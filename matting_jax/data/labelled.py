"""Photos with the class of each pixel."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matting_jax.data.files import folders
from matting_jax.data.files.images import read_image, read_label
from matting_jax.data.files.labels import CITYSCAPES, check_label, renumbered
from matting_jax.data.prepared.records import cache_folder, records_of, require
from matting_jax.data.sources import Lazy


def check_rule(crop, labelled: bool) -> None:
    """Raises ValueError if the rule of the crops is not for such data.

    `labelled`: whether photos come with the class of each pixel.
    """
    if labelled != ("scales" in crop):
        raise ValueError(
            "Photos with given classes (config.task.labels='given') are cropped by "
            "config.data.crop.scales, all others by another rule: take both from the variant of "
            "the config."
        )


def labelled_pairs(config, part: str, builders_folder: str | Path) -> tuple[Lazy, str]:
    """The photos of `part` with their labels, checked as they are read, and where they lie."""
    group, classes = config.data[part], config.model.num_classes

    def checked(image, label, ids: Sequence[int], name: str) -> tuple[np.ndarray, np.ndarray]:
        label = renumbered(read_label(label), ids)
        check_label(label, classes, name)
        return read_image(image), label

    if group.images:
        field = f"config.data.{part}.images"
        found = folders.find_pairs(
            group.images, field, cache_folder(config), config.data.workers, truth="label"
        )
        folders.accept([found], config.data.skip_bad)

        def read(pair: folders.Pair) -> tuple[np.ndarray, np.ndarray]:
            return checked(pair.image, pair.alpha, range(256), str(pair.alpha))

        return Lazy(found.items, read), str(found.folder)
    data, features = records_of(config, part, builders_folder)
    if "image_left" in features:  # Cityscapes
        names, ids = ("image_left", "segmentation_label"), CITYSCAPES
    else:
        names, ids = ("image", "label"), range(256)
    require(features, set(names), group.dataset)
    place = f"{group.dataset}/{group.split}"

    def read_record(record: dict) -> tuple[np.ndarray, np.ndarray]:
        image, label = (io.BytesIO(record[name]) for name in names)
        return checked(image, label, ids, f"a photo of {place}")

    return Lazy(data, read_record), place
