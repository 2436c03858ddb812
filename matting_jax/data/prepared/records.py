"""Reads the records of prepared data sets, and images with their alpha."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.files import folders
from matting_jax.data.files.images import read_alpha, read_image, read_rgba
from matting_jax.data.prepared import builders
from matting_jax.data.sources import Lazy


@dataclass(frozen=True)
class LabelFeatures:
    """The features of a data set of photos with the class of each pixel."""

    image: str = "image"
    label: str = "label"
    # The numbers in the label that are scored, in the order of the classes.
    ids: Sequence[int] = range(256)


def records_of(
    config: ConfigDict, part: str, builders_folder: str | Path
) -> tuple[Sequence[dict], set[str]]:
    """Returns the records of the data set that config.data[part] names, and its features.

    Raises ValueError if it names none.
    """
    group = config.data[part]
    if not group.dataset:
        fields = {"train": "foregrounds and backgrounds", "test": "images"}[part]
        raise ValueError(
            f"config.data.{part} names no data: set --config.data.{part}.dataset, or the folders "
            f"--config.data.{part}.{fields}, or --config.data.{part}.list"
        )
    builder = builders.load_builder(group.dataset, config.data.directory, builders_folder)
    return builders.records(builder, group.split), set(builder.info.features)


def background_records(
    config: ConfigDict, part: str, builders_folder: str | Path
) -> tuple[Sequence[dict], set[str]]:
    """Returns the records of config.data[part].background_dataset, and their features."""
    group = config.data[part]
    builder = builders.load_builder(
        group.background_dataset, config.data.directory, builders_folder
    )
    return builders.records(builder, group.background_split), set(builder.info.features)


def require(features: set[str], wanted: set[str], dataset: str) -> None:
    """Raises ValueError if a data set lacks one of the `wanted` features."""
    if not wanted <= features:
        raise ValueError(
            f"the data set {dataset} has {', '.join(sorted(features))}, but lacks "
            f"{', '.join(sorted(wanted - features))}"
        )


def recorded_backgrounds(data: Sequence[dict], features: set[str], dataset: str) -> Lazy:
    """Returns the backgrounds of a data set, or its images if it has none."""
    feature = "background" if "background" in features else "image"
    require(features, {feature}, dataset)
    return Lazy(data, lambda record: read_image(io.BytesIO(record[feature])))


def record_foreground(record: dict) -> tuple[np.ndarray, np.ndarray]:
    """Reads colours uint8 [H, W, 3] and alpha uint8 [H, W] of a foreground."""
    return read_image(io.BytesIO(record["foreground"])), read_alpha(io.BytesIO(record["alpha"]))


def record_pair(record: dict) -> tuple[np.ndarray, np.ndarray]:
    """Reads a photo uint8 [H, W, 3] and its alpha uint8 [H, W]."""
    return read_image(io.BytesIO(record["image"])), read_alpha(io.BytesIO(record["alpha"]))


def read_pair(pair: folders.Pair) -> tuple[np.ndarray, np.ndarray]:
    """Reads colours uint8 [H, W, 3] and alpha uint8 [H, W] from two files, or from one RGBA file.

    Raises ValueError if they differ in size or cannot be read.
    """
    if pair.alpha is None:
        rgba = read_rgba(pair.image)
        return rgba[..., :3], rgba[..., 3]
    image, alpha = read_image(pair.image), read_alpha(pair.alpha)
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"{pair.image} and {pair.alpha} differ in size")
    return image, alpha


def cache_folder(config: ConfigDict) -> Path:
    """Returns the folder of file checks and of estimated colours."""
    return Path(config.data.cache or "~/.cache/matting_jax").expanduser()
