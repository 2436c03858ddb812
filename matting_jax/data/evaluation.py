"""The images that networks are scored on, from config.data.test or from folders."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from matting_jax.choices import at_least
from matting_jax.data.files import folders, lists
from matting_jax.data.files.images import read_alpha, read_photo, read_visible
from matting_jax.data.files.trimaps import from_alpha, read_trimap
from matting_jax.data.labelled import labelled_pairs
from matting_jax.data.prepared import builders
from matting_jax.data.prepared.merge import lay_under_bilinear, merge_rounded
from matting_jax.data.prepared.records import (
    background_records,
    cache_folder,
    recorded_backgrounds,
    records_of,
    require,
)
from matting_jax.data.sources import EvaluationImage, Lazy, Source, Unlabelled, photo_files


def evaluation_images(
    config: ConfigDict, builders_folder: str | Path = builders.CHECKOUT, *, labelled: bool = False
) -> Sequence[EvaluationImage]:
    """Returns the images that config.data.test names, read on access.

    Trimaps come from the folder trimap/ next to image/ and alpha/, a column of the list or a
    feature of the data set. Others are made from alpha if config.data.test.trimap_distance is at
    least 0. Captured backgrounds come from the folder background/, the list or the data set;
    foregrounds without one are composited over those of config.data.test.background_dataset.

    Args:
        config: the whole config.
        builders_folder: folder of TFDS builders.
        labelled: whether photos come with the class of each pixel instead of alpha.

    Raises:
        ValueError: folders or files are missing or cannot be used.
    """
    distance = config.data.test.trimap_distance
    if distance == -1:
        return find_images(config, builders_folder, labelled)
    at_least(distance, 0, "config.data.test.trimap_distance (-1: no trimaps)")
    images = find_images(config, builders_folder, labelled)

    def with_trimap(image: EvaluationImage) -> EvaluationImage:
        if image.trimap is not None:
            return image
        return image._replace(trimap=from_alpha(image.alpha, distance))

    return Lazy(images, with_trimap)


def shown_images(
    config: ConfigDict, source: Source, *, labelled: bool = False
) -> Sequence[EvaluationImage]:
    """Returns the test images, or without any some photos of an unlabelled source.

    These are shown without a score.
    """
    if isinstance(source, Unlabelled) and not names_test_data(config):
        return source.unscored(config.preview_images)
    return evaluation_images(config, labelled=labelled)


def names_test_data(config: ConfigDict) -> bool:
    """Returns whether the config names images to score."""
    test = config.data.test
    return bool(test.images or test.dataset or test.list)


def find_images(
    config: ConfigDict, builders_folder: str | Path, labelled: bool
) -> Sequence[EvaluationImage]:
    """Returns the test images with the trimaps that come with them, see `evaluation_images`."""
    if labelled:
        return labelled_images(config, builders_folder)
    if config.data.test.list:
        return listed_images(config)
    if config.data.test.images:
        return scored_images(config)
    return recorded_images(config, builders_folder)


def labelled_images(config: ConfigDict, builders_folder: str | Path) -> Sequence[EvaluationImage]:
    """Returns photos with their labels, of a folder or a data set."""
    pairs, _ = labelled_pairs(config, "test", builders_folder)

    def read(number: int) -> EvaluationImage:
        image, label = pairs[number]
        return EvaluationImage(f"{number:06d}", image, None, label=label)

    files = photo_files(pairs)
    return Lazy(range(len(pairs)), read, photo=files.__getitem__ if files else None)


def listed_images(config: ConfigDict) -> Sequence[EvaluationImage]:
    """Returns the images of the list config.data.test.list."""
    test, cache, workers = config.data.test, cache_folder(config), config.data.workers
    if test.images:
        raise ValueError("give either config.data.test.list or config.data.test.images, not both")
    found = lists.find_listed(test, "config.data.test", cache, workers, trimaps=True)
    folders.accept([found], config.data.skip_bad)
    named = list(zip(lists.names_of(found.items), found.items, strict=True))

    def read(image: tuple[str, lists.Listed]) -> EvaluationImage:
        name, item = image
        trimap = item.trimap and read_trimap(item.trimap)
        photo, alpha, background = lists.read_listed(item, config.data.colour_profile)
        return EvaluationImage(name, photo.image, alpha, trimap, background, opacity=photo.opacity)

    return Lazy(named, read, photo=lambda image: image[1].foreground)


def scored_images(config: ConfigDict) -> Sequence[EvaluationImage]:
    """Returns the photos of the folder config.data.test.images."""
    found = folders.find_scored(
        config.data.test.images,
        "config.data.test.images",
        cache_folder(config),
        config.data.workers,
    )
    folders.accept([found], config.data.skip_bad)

    def read(scored: folders.Scored) -> EvaluationImage:
        pair = scored.pair
        files = (pair.image, pair.alpha, scored.trimap, scored.background)
        return read_files(pair.image.stem, *files, config.data.colour_profile)

    return Lazy(found.items, read, photo=lambda scored: scored.pair.image)


def recorded_images(config: ConfigDict, builders_folder: str | Path) -> Sequence[EvaluationImage]:
    """Returns the photos of a data set, or its foregrounds composited over backgrounds."""
    test = config.data.test
    records = records_of(config, "test", builders_folder)
    data, features, backgrounds = records.data, records.features, None
    if "image" in features:
        require(features, {"alpha"}, test.dataset)
    elif test.background_dataset:
        require(features, {"foreground", "alpha"}, test.dataset)
        others = background_records(config, "test", builders_folder)
        backgrounds = recorded_backgrounds(others, test.background_dataset)
    else:
        require(features, {"foreground", "alpha", "background"}, test.dataset)
        backgrounds = recorded_backgrounds(records, test.dataset)

    def read(index: int) -> EvaluationImage:
        record = data[index]
        name = record["name"].decode() if "name" in features else f"{test.split}_{index:06d}"
        trimap = read_trimap(io.BytesIO(record["trimap"])) if "trimap" in features else None
        if backgrounds is None:
            return EvaluationImage(name, *records.pair(record, "image"), trimap)
        foreground, alpha = records.pair(record, "foreground")
        background = lay_under_bilinear(backgrounds[index % len(backgrounds)], *alpha.shape)
        image = merge_rounded(foreground, alpha, background)
        return EvaluationImage(name, image, alpha, trimap, background)

    return Lazy(range(len(data)), read)


def folder_images(
    photos: str, truths: str, trimaps: str = "", backgrounds: str = "", profile: str = "srgb"
) -> Sequence[EvaluationImage]:
    """Returns the photos of a folder with the files of the same names in other folders.

    Args:
        photos: folder of photos.
        truths: folder of their alphas.
        trimaps: folder of their trimaps; "": none.
        backgrounds: folder of their captured backgrounds; "": none.
        profile: config.data.colour_profile.

    Raises:
        ValueError: files are missing or differ in size; the message lists all.
    """

    def read(files: folders.Compared) -> EvaluationImage:
        paths = (files.photo, files.truth, files.trimap, files.background)
        return read_files(files.name, *paths, profile)

    found = folders.find_compared(None, truths, trimaps, photos, backgrounds)
    return Lazy(found, read, photo=lambda files: files.photo)


def read_files(
    name: str,
    photo: Path,
    alpha: Path,
    trimap: Path | None,
    background: Path | None,
    profile: str,
) -> EvaluationImage:
    """Reads a test image, with its trimap and background if it has them.

    Args:
        name: its name.
        photo: file of the photo.
        alpha: file of its alpha.
        trimap: file of its trimap.
        background: file of its captured background.
        profile: config.data.colour_profile.
    """
    image, opacity = read_photo(photo, profile)
    return EvaluationImage(
        name,
        image,
        read_alpha(alpha),
        trimap and read_trimap(trimap),
        background and read_visible(background, profile),
        opacity=opacity,
    )
