"""Reads the records of prepared data sets, and images with their alpha."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from matting_jax.caches import cache_path, writable_folder
from matting_jax.data.files import folders
from matting_jax.data.files.images import read_alpha, read_image, read_rgba, read_visible
from matting_jax.data.prepared import builders
from matting_jax.data.sources import Lazy


@dataclass(frozen=True)
class LabelFeatures:
    """The features of a data set of photos with the class of each pixel."""

    image: str = "image"
    label: str = "label"
    # The numbers in the label that are scored, in the order of the classes.
    ids: Sequence[int] = range(256)


@dataclass(frozen=True)
class Records:
    """The records of a prepared data set.

    Images are read as published code reads them: transparency of photos and backgrounds is
    dropped, and an alpha that is opaque everywhere is the grey value.
    """

    data: Sequence[dict]
    features: set[str]
    profile: str  # config.data.colour_profile, or "ignore" if the data set's builder says so

    def __len__(self) -> int:
        return len(self.data)

    def colours(self, record: dict, feature: str) -> np.ndarray:
        """Reads the colours of a feature: uint8 [H, W, 3]."""
        return read_image(io.BytesIO(record[feature]), self.profile)

    def pair(self, record: dict, feature: str) -> tuple[np.ndarray, np.ndarray]:
        """Reads the colours of a feature uint8 [H, W, 3] and the alpha uint8 [H, W]."""
        alpha = read_alpha(io.BytesIO(record["alpha"]), grey_if_opaque=True)
        return self.colours(record, feature), alpha

    def pairs(self, feature: str) -> Lazy:
        """Returns the colours of a feature with the alphas, see `pair`."""
        return Lazy(self.data, lambda record: self.pair(record, feature))

    def images(self, feature: str) -> Lazy:
        """Returns the colours of a feature, see `colours`."""
        return Lazy(self.data, lambda record: self.colours(record, feature))


def records_of(config: ConfigDict, part: str, builders_folder: str | Path) -> Records:
    """Returns the records of the data set that config.data[part] names.

    Raises ValueError if it names none.
    """
    group = config.data[part]
    if not group.dataset:
        layers = f"the folders --config.data.{part}.foregrounds and .backgrounds, "
        raise ValueError(
            f"config.data.{part} has no data: set {layers if part == 'train' else ''}the folder "
            f"--config.data.{part}.images of photos with alpha, --config.data.{part}.list, or "
            f"--config.data.{part}.dataset"
        )
    return load_records(config, group.dataset, group.split, builders_folder)


def background_records(config: ConfigDict, part: str, builders_folder: str | Path) -> Records:
    """Returns the records of config.data[part].background_dataset."""
    group = config.data[part]
    return load_records(config, group.background_dataset, group.background_split, builders_folder)


def load_records(config: ConfigDict, name: str, split: str, builders_folder: str | Path) -> Records:
    """Returns the records of a split of the data set `name`."""
    builder = builders.load_builder(name, config.data.directory, builders_folder)
    # The code published for the data sets of TFDS and of the owners reads no profiles.
    profile = getattr(builder, "COLOUR_PROFILE", "ignore")
    if config.data.colour_profile == "ignore":
        profile = "ignore"
    return Records(builders.records(builder, split), set(builder.info.features), profile)


def require(features: set[str], wanted: set[str], dataset: str) -> None:
    """Raises ValueError if a data set lacks one of the `wanted` features."""
    if not wanted <= features:
        raise ValueError(
            f"the data set {dataset} has {', '.join(sorted(features))}, but lacks "
            f"{', '.join(sorted(wanted - features))}"
        )


def recorded_backgrounds(records: Records, dataset: str) -> Lazy:
    """Returns the backgrounds of a data set, or its images if it has none."""
    feature = "background" if "background" in records.features else "image"
    require(records.features, {feature}, dataset)
    return records.images(feature)


def read_foreground(pair: folders.Pair, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a foreground: straight colours uint8 [H, W, 3] and alpha uint8 [H, W].

    Both are in one RGBA file, or in two files. Raises ValueError if they differ in size or cannot
    be read.
    """
    if pair.alpha is None:
        rgba = read_rgba(pair.image, profile)
        return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return same_size(pair, read_image(pair.image, profile), read_alpha(pair.alpha))


def read_pair(pair: folders.Pair, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a photo uint8 [H, W, 3] and its alpha uint8 [H, W].

    Raises ValueError if they differ in size or cannot be read.
    """
    return same_size(pair, read_visible(pair.image, profile), read_alpha(pair.alpha))


def same_size(
    pair: folders.Pair, image: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns image and alpha; raises ValueError, with both names, if they differ in size."""
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"{pair.image} and {pair.alpha} differ in size")
    return image, alpha


def cache_folder(config: ConfigDict) -> Path:
    """Returns the folder of file checks and of estimated colours, which can be written."""
    return writable_folder(cache_path(config.data.cache or "~/.cache/matting_jax"))
