"""Reading what TFDS prepared, and files in pairs."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matting_jax.data.files import folders
from matting_jax.data.files.images import read_alpha, read_image, read_rgba
from matting_jax.data.prepared import builders
from matting_jax.data.sources import Lazy


def records_of(config, part: str, builders_folder: str | Path) -> tuple[Sequence[dict], set[str]]:
    """The records of the data set that config.data[part] names, and its features.

    Raises ValueError where it names none.
    """
    group = config.data[part]
    if not group.dataset:
        fields = {"train": "foregrounds and backgrounds", "test": "images"}[part]
        listed = f", or --config.data.{part}.list" if "list" in group else ""
        raise ValueError(
            f"config.data.{part} names no data: set --config.data.{part}.dataset, or the folders "
            f"--config.data.{part}.{fields}{listed}."
        )
    builder = builders.load_builder(group.dataset, config.data.directory, builders_folder)
    return builders.records(builder, group.split), set(builder.info.features)


def other_records(
    config, part: str, builders_folder: str | Path
) -> tuple[Sequence[dict], set[str]]:
    """The records of its background_dataset, and their features."""
    group = config.data[part]
    builder = builders.load_builder(
        group.background_dataset, config.data.directory, builders_folder
    )
    return builders.records(builder, group.background_split), set(builder.info.features)


def require(features: set[str], wanted: set[str], dataset: str) -> None:
    """Raise ValueError where a data set lacks one of the `wanted` features."""
    if not wanted <= features:
        raise ValueError(
            f"The data set {dataset} has {', '.join(sorted(features))}, but lacks "
            f"{', '.join(sorted(wanted - features))}."
        )


def recorded_backgrounds(data: Sequence[dict], features: set[str], dataset: str) -> Lazy:
    """The backgrounds of a data set, or its images where it has none of that name."""
    feature = "background" if "background" in features else "image"
    require(features, {feature}, dataset)
    return Lazy(data, lambda record: read_image(io.BytesIO(record[feature])))


def record_foreground(record: dict) -> tuple[np.ndarray, np.ndarray]:
    """Colours uint8 [H, W, 3] and alpha uint8 [H, W] of a record."""
    return read_image(io.BytesIO(record["foreground"])), read_alpha(io.BytesIO(record["alpha"]))


def record_pair(record: dict) -> tuple[np.ndarray, np.ndarray]:
    """A photo uint8 [H, W, 3] and its alpha uint8 [H, W] of a record."""
    return read_image(io.BytesIO(record["image"])), read_alpha(io.BytesIO(record["alpha"]))


def read_pair(pair: folders.Pair) -> tuple[np.ndarray, np.ndarray]:
    """Colours uint8 [H, W, 3] and alpha uint8 [H, W] of two files, or of one RGBA file."""
    if pair.alpha is None:
        rgba = read_rgba(pair.image)
        return rgba[..., :3], rgba[..., 3]
    image, alpha = read_image(pair.image), read_alpha(pair.alpha)
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"{pair.image} and {pair.alpha} differ in size.")
    return image, alpha


def cache_folder(config) -> Path:
    """Where what was found out about files, and estimated of them, is kept."""
    return Path(config.data.cache or "~/.cache/matting_jax").expanduser()
