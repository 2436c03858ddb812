"""Photos with the class of each pixel."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.files import folders
from matting_jax.data.files.images import File, read_label, read_visible
from matting_jax.data.files.labels import check_label, renumber
from matting_jax.data.prepared import cityscapes
from matting_jax.data.prepared.records import LabelFeatures, cache_folder, records_of, require
from matting_jax.data.sources import Lazy

# Data sets whose features or class numbers are not the usual ones.
FEATURES: dict[str, LabelFeatures] = {"cityscapes": cityscapes.FEATURES}


def labelled_pairs(
    config: ConfigDict, part: str, builders_folder: str | Path
) -> tuple[Sequence[tuple[np.ndarray, np.ndarray]], str]:
    """Returns the photos of config.data[part] with their labels, and where they come from.

    Labels are checked when they are read. Raises ValueError if there are none.
    """
    if config.data[part].images:
        return folder_pairs(config, part)
    return record_pairs(config, part, builders_folder)


def class_ids(config: ConfigDict) -> Sequence[int]:
    """Returns the number of each class in the labels of the training data."""
    return range(256) if config.data.train.images else features_of(config.data.train.dataset).ids


def features_of(dataset: str) -> LabelFeatures:
    """Returns the features of the data set `dataset`, NAME, NAME/CONFIG or NAME:VERSION."""
    return FEATURES.get(re.split("[/:]", dataset)[0], LabelFeatures())


def folder_pairs(config: ConfigDict, part: str) -> tuple[Lazy, str]:
    """Returns the photos of the folder config.data[part].images with their labels."""
    found = folders.find_pairs(
        config.data[part].images,
        f"config.data.{part}.images",
        cache_folder(config),
        config.data.workers,
        truth="label",
    )
    folders.accept([found], config.data.skip_bad)
    classes = config.model.num_classes

    def read(pair: folders.Pair) -> tuple[np.ndarray, np.ndarray]:
        image = read_visible(pair.image, config.data.colour_profile)
        return image, numbers_of(pair.alpha, range(256), classes, str(pair.alpha))

    return Lazy(found.items, read, photo=lambda pair: pair.image), str(found.folder)


def record_pairs(config: ConfigDict, part: str, builders_folder: str | Path) -> tuple[Lazy, str]:
    """Returns the photos of a data set with their labels."""
    group, classes = config.data[part], config.model.num_classes
    records = records_of(config, part, builders_folder)
    names = features_of(group.dataset)
    require(records.features, {names.image, names.label}, group.dataset)
    origin = f"{group.dataset}/{group.split}"

    def read(record: dict) -> tuple[np.ndarray, np.ndarray]:
        label = io.BytesIO(record[names.label])
        numbers = numbers_of(label, names.ids, classes, f"a photo of {origin}")
        return records.colours(record, names.image), numbers

    return Lazy(records.data, read), origin


def numbers_of(label: File, ids: Sequence[int], classes: int, name: str) -> np.ndarray:
    """Reads a label: uint8 [H, W], 255 where it is ignored.

    Args:
        label: the number of the class of each pixel.
        ids: the numbers that are scored, in the order of the classes.
        classes: the number of classes.
        name: the label's name in errors.

    Raises:
        ValueError: the file cannot be read, or holds a number that is not a class.
    """
    numbers = renumber(read_label(label), ids)
    check_label(numbers, classes, name)
    return numbers
