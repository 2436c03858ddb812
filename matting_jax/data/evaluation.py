"""What networks are scored on, from config.data.test or from folders."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matting_jax.data.files import folders, lists
from matting_jax.data.files.images import read_alpha, read_image
from matting_jax.data.files.trimaps import check_distance, from_alpha, read_trimap
from matting_jax.data.labelled import check_rule, labelled_pairs
from matting_jax.data.prepared import builders
from matting_jax.data.prepared.records import (
    cache_folder,
    other_records,
    read_pair,
    record_foreground,
    record_pair,
    recorded_backgrounds,
    records_of,
    require,
)
from matting_jax.data.sources import EvaluationImage, Lazy, Source, Unlabelled
from matting_jax.image.composite import composite


def evaluation_images(
    config, builders_folder: str | Path = builders.CHECKOUT, *, labelled: bool = False
) -> Sequence[EvaluationImage]:
    """Returns what config.data.test names, read lazily.

    `labelled`: whether photos come with the class of each pixel in place of an alpha.

    Its trimaps come with it, from a folder trimap/ beside image/ and alpha/, a column of the list
    or a feature of the data set, or are made of alpha where there are none and config.data.test has
    a `trimap_distance`. So do captured backgrounds, from a folder background/, the list, or the
    data set; foregrounds without any are laid over those of `background_dataset`. Raises ValueError
    when folders or files are missing or cannot be used.
    """
    distance = config.data.test.get("trimap_distance", -1)
    if distance == -1:
        return _evaluation_images(config, builders_folder, labelled)
    check_distance(distance)
    images = _evaluation_images(config, builders_folder, labelled)

    def with_trimap(image: EvaluationImage) -> EvaluationImage:
        if image.trimap is not None:
            return image
        return image._replace(trimap=from_alpha(image.alpha, distance))

    return Lazy(images, with_trimap)


def shown_images(config, source: Source, *, labelled: bool = False) -> Sequence[EvaluationImage]:
    """Returns the test data; without any, the first photos of an unlabelled `source`.

    These have no score.
    """
    if isinstance(source, Unlabelled) and not names_test_data(config):
        return source.unscored(config.preview_images)
    return evaluation_images(config, labelled=labelled)


def names_test_data(config) -> bool:
    """Returns whether the config names images to score."""
    test = config.data.test
    return bool(test.images or test.dataset or test.get("list"))


def _evaluation_images(
    config, builders_folder: str | Path, labelled: bool
) -> Sequence[EvaluationImage]:
    test = config.data.test
    check_rule(config.data.crop, labelled)
    if labelled:
        pairs, _ = labelled_pairs(config, "test", builders_folder)

        def read_labelled(number: int) -> EvaluationImage:
            image, label = pairs[number]
            return EvaluationImage(f"{number:06d}", image, None, label=label)

        return Lazy(range(len(pairs)), read_labelled)
    if test.get("list"):
        return _listed_images(config)
    if test.images:
        found = folders.find_scored(
            test.images, "config.data.test.images", cache_folder(config), config.data.workers
        )
        folders.accept([found], config.data.skip_bad)
        return Lazy(found.items, _read_scored)
    data, features = records_of(config, "test", builders_folder)
    backgrounds = None
    if "image" in features:
        require(features, {"alpha"}, test.dataset)
    elif test.get("background_dataset"):
        require(features, {"foreground", "alpha"}, test.dataset)
        others = other_records(config, "test", builders_folder)
        backgrounds = recorded_backgrounds(*others, test.background_dataset)
    else:
        require(features, {"foreground", "alpha", "background"}, test.dataset)
        backgrounds = recorded_backgrounds(data, features, test.dataset)

    def read(index: int) -> EvaluationImage:
        record = data[index]
        name = record["name"].decode() if "name" in features else f"{test.split}_{index:06d}"
        trimap = read_trimap(io.BytesIO(record["trimap"])) if "trimap" in features else None
        if backgrounds is None:
            return EvaluationImage(name, *record_pair(record), trimap)
        foreground, alpha = record_foreground(record)
        background = lists.lay_under(backgrounds[index % len(backgrounds)], *alpha.shape)
        image = _composite(foreground, alpha, background)
        return EvaluationImage(name, image, alpha, trimap, background)

    return Lazy(range(len(data)), read)


def _listed_images(config) -> Sequence[EvaluationImage]:
    test, cache, workers = config.data.test, cache_folder(config), config.data.workers
    if test.images:
        raise ValueError("Give either config.data.test.list or config.data.test.images, not both.")
    found = lists.find_listed(test, "config.data.test", cache, workers, trimaps=True)
    folders.accept([found], config.data.skip_bad)
    named = list(zip(lists.names_of(found.items), found.items, strict=True))

    def read(image: tuple[str, lists.Listed]) -> EvaluationImage:
        name, item = image
        trimap = item.trimap and read_trimap(item.trimap)
        photo, alpha, background = lists.read_listed(item)
        return EvaluationImage(name, photo, alpha, trimap, background)

    return Lazy(named, read)


def folder_images(
    photos: str, truths: str, trimaps: str = "", backgrounds: str = ""
) -> Sequence[EvaluationImage]:
    """The photos of a folder with their alphas, and trimaps and captured backgrounds, of the same
    names in other folders.

    Raises ValueError that names everything that is missing or differs in size.
    """

    def read(files: folders.Compared) -> EvaluationImage:
        trimap = files.trimap and read_trimap(files.trimap)
        background = files.background and read_image(files.background)
        photo, alpha = read_image(files.photo), read_alpha(files.truth)
        return EvaluationImage(files.name, photo, alpha, trimap, background)

    return Lazy(folders.find_compared(None, truths, trimaps, photos, backgrounds), read)


def _read_scored(scored: folders.Scored) -> EvaluationImage:
    trimap = scored.trimap and read_trimap(scored.trimap)
    background = scored.background and read_image(scored.background)
    return EvaluationImage(scored.pair.image.stem, *read_pair(scored.pair), trimap, background)


def _composite(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    weight = alpha[..., None].astype(np.float32) / 255
    return np.rint(composite(foreground, weight, background)).astype(np.uint8)
