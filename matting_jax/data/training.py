"""What networks are trained on, from config.data.train."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from matting_jax.data.crops import check_crop
from matting_jax.data.estimated import colours
from matting_jax.data.estimated.denoised import WITHOUT, background_copies, foreground_copies
from matting_jax.data.files import folders, lists
from matting_jax.data.files.images import read_alpha, read_image
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
from matting_jax.data.sources import Composites, Labelled, Lazy, Photos, Source, Unlabelled


class Layer(NamedTuple):
    """What composites are made of: foregrounds or backgrounds, their denoised copies, if any are
    wanted, and where they come from."""

    images: Sequence
    copies: Sequence | None
    places: list[str]


def train_source(
    config,
    builders_folder: str | Path = builders.CHECKOUT,
    *,
    denoised: bool = False,
    labelled: bool = False,
) -> Source:
    """Returns what config.data.train names, checked and prepared.

    Decoded images stay in memory if config.data.keep_decoded.

    Args:
        config: the whole config.
        builders_folder: folder of TFDS builders.
        denoised: whether samples of composites have denoised copies, see `image.rssn`.
        labelled: whether photos come with the class of each pixel in place of an alpha.

    Raises:
        ValueError: folders or files are missing or cannot be used.
    """
    check_crop(config.data.crop)
    source = _train_source(config, builders_folder, denoised, labelled)
    return _keeping(source) if config.data.keep_decoded else source


def _keeping(source: Source) -> Source:
    images = ("foregrounds", "backgrounds", "pairs", "photos")
    parts = [name for name in images if hasattr(source, name)]
    source = replace(source, **{name: replace(getattr(source, name), kept={}) for name in parts})
    if getattr(source, "denoised", None):
        source = replace(source, denoised=_keeping(source.denoised))
    return source


def _train_source(config, builders_folder: str | Path, denoised: bool, labelled: bool) -> Source:
    train = config.data.train
    if train.get("photos"):
        _check_photos(config)
        return _unlabelled(config)
    check_rule(config.data.crop, labelled)
    if labelled:
        pairs, place = labelled_pairs(config, "train", builders_folder)
        return Labelled(pairs, f"{len(pairs)} photos with classes, {place}")
    _check_combine(config)
    if train.get("list"):
        return _listed(config, denoised)
    _check_folders(train)
    if train.images:
        return _found_photos(config)
    if not train.foregrounds and _holds_photos(config, builders_folder):
        return _record_photos(config, builders_folder)
    front, behind = _layers(config, builders_folder, denoised)
    counts = f"{len(front.images)} foregrounds, {len(behind.images)} backgrounds"
    description = ", ".join([counts, *front.places, *behind.places])
    source = Composites(front.images, behind.images, description, _combine(config))
    if not denoised:
        return source
    copies = replace(source, foregrounds=front.copies, backgrounds=behind.copies)
    return replace(source, denoised=copies)


def _has_backgrounds(train) -> bool:
    """Whether backgrounds come from elsewhere than the foregrounds."""
    return bool(train.backgrounds or train.get("background_dataset"))


def _check_folders(train) -> None:
    if train.images and (train.foregrounds or train.backgrounds):
        raise ValueError(
            "Give either config.data.train.images (real photos with alpha), or "
            "config.data.train.foregrounds and config.data.train.backgrounds, not both."
        )
    if train.foregrounds and not _has_backgrounds(train):
        raise ValueError(
            "config.data.train.foregrounds is given without config.data.train.backgrounds: "
            "give a folder of background images as well."
        )


def _found_photos(config) -> Photos:
    _check_photos(config)
    folder, field = config.data.train.images, "config.data.train.images"
    found = folders.find_pairs(folder, field, cache_folder(config), config.data.workers)
    folders.accept([found], config.data.skip_bad)
    return Photos(Lazy(found.items, read_pair), f"{len(found.items)} photos, {found.folder}")


def _holds_photos(config, builders_folder: str | Path) -> bool:
    """Whether the data set has photos as they are, which are to be taken so."""
    _, features = records_of(config, "train", builders_folder)
    photos = "foreground" not in features and "image" in features
    return photos and not _has_backgrounds(config.data.train)


def _record_photos(config, builders_folder: str | Path) -> Photos:
    train = config.data.train
    data, features = records_of(config, "train", builders_folder)
    require(features, {"alpha"}, train.dataset)
    _check_photos(config)
    place = f"{train.dataset}/{train.split}"
    return Photos(Lazy(data, record_pair), f"{len(data)} photos, {place}")


def _layers(config, builders_folder: str | Path, denoised: bool) -> tuple[Layer, Layer]:
    """Foregrounds and backgrounds, each of a folder or of a data set."""
    train, cache, workers = config.data.train, cache_folder(config), config.data.workers
    found = {}
    # All that is wrong with either folder is said at once.
    for part, find in (
        ("foregrounds", folders.find_foregrounds),
        ("backgrounds", folders.find_backgrounds),
    ):
        if train[part]:
            found[part] = find(train[part], f"config.data.train.{part}", cache, workers)
    folders.accept(list(found.values()), config.data.skip_bad)
    if train.foregrounds:
        front = _found_foregrounds(found["foregrounds"], config, denoised)
    else:
        front = _record_foregrounds(config, builders_folder, denoised)
    if train.backgrounds:
        behind = _found_backgrounds(found["backgrounds"], config, denoised)
    elif _has_backgrounds(train):
        others = other_records(config, "train", builders_folder)
        behind = _record_backgrounds(*others, train.background_dataset, denoised)
        behind = behind._replace(places=[f"{train.background_dataset}/{train.background_split}"])
    else:
        data, features = records_of(config, "train", builders_folder)
        require(features, {"background"}, train.dataset)
        behind = _record_backgrounds(data, features, train.dataset, denoised)
    return front, behind


def _found_foregrounds(found: folders.Found, config, denoised: bool) -> Layer:
    copies = None
    if denoised:
        pairs = foreground_copies(found, cache_folder(config), config.data.workers)
        copies = _foregrounds(pairs, config)
    return Layer(_foregrounds(found.items, config), copies, [str(found.folder)])


def _found_backgrounds(found: folders.Found, config, denoised: bool) -> Layer:
    copies = None
    if denoised:
        paths = background_copies(found, cache_folder(config), config.data.workers)
        copies = Lazy(paths, read_image)
    return Layer(Lazy(found.items, read_image), copies, [str(found.folder)])


def _record_foregrounds(config, builders_folder: str | Path, denoised: bool) -> Layer:
    train = config.data.train
    data, features = records_of(config, "train", builders_folder)
    require(features, {"foreground", "alpha"}, train.dataset)
    copies = None
    if denoised:
        _require_denoised(features, "foreground_denoised", train.dataset)
        copies = Lazy(data, _record_denoised_foreground)
    return Layer(Lazy(data, record_foreground), copies, [f"{train.dataset}/{train.split}"])


def _record_backgrounds(
    data: Sequence[dict], features: set[str], dataset: str, denoised: bool
) -> Layer:
    images, copies = recorded_backgrounds(data, features, dataset), None
    if denoised:
        _require_denoised(features, "background_denoised", dataset)
        copies = Lazy(data, lambda record: read_image(io.BytesIO(record["background_denoised"])))
    return Layer(images, copies, [])


def _listed(config, denoised: bool) -> Composites | Photos:
    train, cache, workers = config.data.train, cache_folder(config), config.data.workers
    others = ("foregrounds", "backgrounds", "images", "background_dataset")
    given = [f"config.data.train.{name}" for name in others if train.get(name)]
    if given:
        raise ValueError(f"Give either config.data.train.list or {' and '.join(given)}, not both.")
    found = lists.find_listed(train, "config.data.train", cache, workers, trimaps=False)
    folders.accept([found], config.data.skip_bad)
    pairs = [folders.Pair(item.foreground, item.alpha) for item in found.items]
    if found.items[0].background is None:
        _check_photos(config)
        return Photos(Lazy(pairs, read_pair), f"{len(pairs)} photos, {found.folder}")
    if denoised:
        raise ValueError(
            "config.synthesis.rssn.denoise needs folders or data sets with denoised copies, which "
            f"config.data.train.list has not: {WITHOUT.removeprefix('or ')}."
        )
    description = f"{len(pairs)} foregrounds over their backgrounds, {found.folder}"
    foregrounds = _foregrounds(pairs, config)
    backgrounds = Lazy([item.background for item in found.items], read_image)
    return Composites(foregrounds, backgrounds, description, _combine(config), paired=True)


def _unlabelled(config) -> Unlabelled:
    field, folder = "config.data.train.photos", config.data.train.photos
    if config.data.crop.around != "anywhere":
        raise ValueError(
            f"config.data.crop.around is {config.data.crop.around!r}, but photos without alpha "
            "can only be cropped 'anywhere'."
        )
    found = folders.find_backgrounds(folder, field, cache_folder(config), config.data.workers)
    folders.accept([found], config.data.skip_bad)
    description = f"{len(found.items)} photos without alpha, {found.folder}"
    return Unlabelled(Lazy(found.items, read_image), description)


def _foregrounds(pairs: list[folders.Pair], config) -> Lazy:
    if config.data.foreground_colours not in ("estimate", "as_is"):
        raise ValueError(
            f"config.data.foreground_colours is {config.data.foreground_colours!r}, but must be "
            "'estimate' or 'as_is'."
        )
    if config.data.foreground_colours == "as_is":
        return Lazy(pairs, read_pair)
    photos = list(dict.fromkeys(pair for pair in pairs if pair.alpha))
    cutouts = dict(
        zip(photos, colours.cut_out(photos, cache_folder(config), config.data.workers), strict=True)
    )
    return Lazy([folders.Pair(cutouts.get(pair, pair.image), None) for pair in pairs], read_pair)


def _combine(config) -> float | None:
    """Returns the probability of a second foreground; None for crops that take only one."""
    return config.data.train.get("combine") if "affine" in config.data.crop else None


def _check_combine(config) -> None:
    combine = config.data.train.get("combine")
    if not combine:
        return
    if not 0 <= combine <= 1:
        raise ValueError(
            f"config.data.train.combine is {combine}, but a chance lies between 0 and 1."
        )
    if "affine" not in config.data.crop:
        raise ValueError("config.data.train.combine needs crops by config.data.crop.affine.")


def _check_photos(config) -> None:
    if "affine" in config.data.crop:
        raise ValueError(
            "config.data.crop.affine transforms foregrounds, but photos are whole: give "
            "config.data.train.foregrounds and config.data.train.backgrounds."
        )


def _require_denoised(features: set[str], wanted: str, dataset: str) -> None:
    if wanted not in features:
        raise ValueError(
            f"The data set {dataset} has no denoised copies: take a config of it that has, as "
            f"am2k/foregrounds_denoised and bg20k/denoised, {WITHOUT}."
        )


def _record_denoised_foreground(record: dict) -> tuple[np.ndarray, np.ndarray]:
    colours = read_image(io.BytesIO(record["foreground_denoised"]))
    return colours, read_alpha(io.BytesIO(record["alpha"]))
