"""The images that networks train on, as config.data.train says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from matting_jax.choices import at_least, is_probability, one_of
from matting_jax.data.clips.random_access import ClipFrame, find_photos, read_frame
from matting_jax.data.crops import check_crop, check_fits, find_rule
from matting_jax.data.decoded import DiskImages
from matting_jax.data.estimated import colours
from matting_jax.data.estimated.denoised import ALTERNATIVE, background_copies, foreground_copies
from matting_jax.data.files import folders, lists
from matting_jax.data.files.images import read_visible
from matting_jax.data.labelled import labelled_pairs
from matting_jax.data.prepared import builders
from matting_jax.data.prepared.records import (
    Records,
    background_records,
    cache_folder,
    read_foreground,
    read_pair,
    recorded_backgrounds,
    records_of,
    require,
)
from matting_jax.data.sources import Composites, Labelled, Lazy, Photos, Source, Unlabelled
from matting_jax.image.planes import AlphaPlanes


class Layer(NamedTuple):
    """The foregrounds or the backgrounds of composites."""

    images: Sequence
    copies: Sequence | None  # denoised copies, if they are needed
    origin: str  # the folder or the data set


def train_source(
    config: ConfigDict,
    builders_folder: str | Path = builders.CHECKOUT,
    *,
    denoised: bool = False,
    labelled: bool = False,
    unlabelled: bool = False,
    planes: AlphaPlanes | None = None,
) -> Source:
    """Returns the images that config.data.train names, checked and prepared.

    Decoded images stay in memory if config.data.keep_decoded, or on disk up to
    config.data.keep_on_disk.

    Args:
        config: the whole config.
        builders_folder: folder of TFDS builders.
        denoised: whether samples of composites have denoised copies, see `image.rssn`.
        labelled: whether photos come with the class of each pixel instead of alpha.
        unlabelled: whether photos come without alpha.
        planes: planes made from each alpha, which samples then have as `alpha_planes`.

    Raises:
        ValueError: a field of the config is not valid, or folders or files are missing or cannot be
            used.
    """
    check_crop(config.data.crop)
    if planes is not None:
        check_fits(config.data.crop, "planes")
    if unlabelled:
        source = unlabelled_photos(config)
    else:
        source = find_source(config, builders_folder, denoised, labelled)
    source = fix_backgrounds(source, config)
    if planes is not None:
        source = source.with_planes(planes)
    return keep_decoded(source, config)


def keep_decoded(source: Source, config: ConfigDict) -> Source:
    """Returns `source` with decoded images kept in memory or on disk, as the config says."""
    gigabytes = config.data.keep_on_disk
    at_least(gigabytes, 0, "config.data.keep_on_disk")
    if config.data.keep_decoded and gigabytes:
        raise ValueError(
            f"config.data.keep_decoded keeps images in memory, but config.data.keep_on_disk is "
            f"{gigabytes}: set one of them"
        )
    if config.data.keep_decoded:
        return source.keep_decoded()
    if not gigabytes:
        return source
    return source.keep_decoded(DiskImages(cache_folder(config), 1e9 * gigabytes))


def find_source(
    config: ConfigDict, builders_folder: str | Path, denoised: bool, labelled: bool
) -> Source:
    """Returns a source with truth, whose images are decoded at each access; see `train_source`."""
    train, crop = config.data.train, config.data.crop
    if train.photos:
        raise ValueError(
            f"config.data.train.photos is {train.photos}, but task {config.task.name!r} does not "
            "learn from photos without alpha: set another field of config.data.train"
        )
    if labelled:
        check_fits(crop, "labelled")
        pairs, origin = labelled_pairs(config, "train", builders_folder)
        return Labelled(pairs, f"{len(pairs)} photos with classes, {origin}")
    check_combine(config)
    if train.list:
        return listed_images(config, denoised)
    check_folders(train)
    if train.images:
        return folder_photos(config)
    if not train.foregrounds and has_photos(config, builders_folder):
        return recorded_photos(config, builders_folder)
    check_fits(crop, "composite")
    foregrounds, backgrounds = find_layers(config, builders_folder, denoised)
    counts = f"{len(foregrounds.images)} foregrounds, {len(backgrounds.images)} backgrounds"
    # A data set that has both is named once.
    origins = dict.fromkeys([foregrounds.origin, backgrounds.origin])
    description = ", ".join([counts, *origins])
    source = Composites(
        foregrounds.images, backgrounds.images, description, second_probability(config)
    )
    if not denoised:
        return source
    copies = replace(source, foregrounds=foregrounds.copies, backgrounds=backgrounds.copies)
    return replace(source, denoised=copies)


def fix_backgrounds(source: Source, config: ConfigDict) -> Source:
    """Gives each foreground of `source` its own backgrounds if the config says how many.

    Foregrounds take consecutive backgrounds of a permutation, as the script of Composition-1k does,
    so that each background is taken once, if there are enough. Raises ValueError if there are fewer
    than each foreground takes, or if `source` draws none.
    """
    number = config.data.train.fixed_backgrounds
    at_least(number, 0, "config.data.train.fixed_backgrounds")
    if number == 0:
        return source
    if not isinstance(source, Composites) or source.paired:
        raise ValueError(
            f"config.data.train.fixed_backgrounds is {number}, but these training "
            f"images have no random backgrounds ({source.description}): set it to 0"
        )
    count = len(source.backgrounds)
    if number > count:
        raise ValueError(
            f"config.data.train.fixed_backgrounds is {number}, but there are only {count} "
            "backgrounds: set it to at most as many"
        )
    order = np.random.default_rng(config.seed).permutation(count)
    places = np.arange(len(source) * number).reshape(len(source), number) % count
    copies = source.denoised and replace(source.denoised, fixed=order[places])
    return replace(source, fixed=order[places], denoised=copies)


def second_probability(config: ConfigDict) -> float | None:
    """Returns the probability of a second foreground; None if the crops have no second one."""
    return config.data.train.combine if find_rule(config.data.crop).combines else None


def check_combine(config: ConfigDict) -> None:
    """Raises ValueError if config.data.train.combine is not valid."""
    probability = config.data.train.combine
    is_probability(probability, "config.data.train.combine")
    if probability:
        check_fits(config.data.crop, "combines")


def check_folders(train: ConfigDict) -> None:
    """Raises ValueError if the folders of config.data.train contradict one another."""
    if train.images and (train.foregrounds or train.backgrounds):
        raise ValueError(
            "give either config.data.train.images (real photos with alpha), or "
            "config.data.train.foregrounds and config.data.train.backgrounds, not both"
        )
    if train.foregrounds and not has_backgrounds(train):
        raise ValueError(
            "config.data.train.foregrounds is given without config.data.train.backgrounds: "
            "give a folder of background images as well"
        )


def has_backgrounds(train: ConfigDict) -> bool:
    """Returns whether backgrounds come from elsewhere than the foregrounds."""
    return bool(train.backgrounds or train.background_dataset)


def folder_photos(config: ConfigDict) -> Photos:
    """Returns the real photos of the folder config.data.train.images."""
    check_fits(config.data.crop, "photo")
    found = folders.find_pairs(
        config.data.train.images,
        "config.data.train.images",
        cache_folder(config),
        config.data.workers,
    )
    folders.accept([found], config.data.skip_bad)
    read = partial(read_pair, profile=config.data.colour_profile)
    return Photos(Lazy(found.items, read), f"{len(found.items)} photos, {found.folder}")


def has_photos(config: ConfigDict, builders_folder: str | Path) -> bool:
    """Returns whether the data set has real photos, which are not composited."""
    features = records_of(config, "train", builders_folder).features
    photos = "foreground" not in features and "image" in features
    return photos and not has_backgrounds(config.data.train)


def recorded_photos(config: ConfigDict, builders_folder: str | Path) -> Photos:
    """Returns the real photos of a data set."""
    train = config.data.train
    records = records_of(config, "train", builders_folder)
    require(records.features, {"alpha"}, train.dataset)
    check_fits(config.data.crop, "photo")
    description = f"{len(records)} photos, {train.dataset}/{train.split}"
    return Photos(records.pairs("image"), description)


def find_layers(
    config: ConfigDict, builders_folder: str | Path, denoised: bool
) -> tuple[Layer, Layer]:
    """Returns foregrounds and backgrounds, each from a folder or from a data set."""
    train, cache, workers = config.data.train, cache_folder(config), config.data.workers
    found = {}
    # The faults of both folders are listed in one message.
    for part, find in (
        ("foregrounds", folders.find_foregrounds),
        ("backgrounds", folders.find_backgrounds),
    ):
        if train[part]:
            found[part] = find(train[part], f"config.data.train.{part}", cache, workers)
    folders.accept(list(found.values()), config.data.skip_bad)
    if train.foregrounds:
        foregrounds = folder_foregrounds(found["foregrounds"], config, denoised)
    else:
        foregrounds = recorded_foregrounds(config, builders_folder, denoised)
    if train.backgrounds:
        return foregrounds, folder_backgrounds(found["backgrounds"], config, denoised)
    if train.background_dataset:
        records = background_records(config, "train", builders_folder)
        dataset, split = train.background_dataset, train.background_split
    else:
        records = records_of(config, "train", builders_folder)
        dataset, split = train.dataset, train.split
        require(records.features, {"background"}, dataset)
    return foregrounds, backgrounds_of(records, dataset, split, denoised)


def folder_foregrounds(found: folders.Found, config: ConfigDict, denoised: bool) -> Layer:
    """Returns the foregrounds of a folder."""
    copies = None
    if denoised:
        pairs = foreground_copies(found, cache_folder(config), config.data.workers)
        copies = with_colours(pairs, config)
    return Layer(with_colours(found.items, config), copies, str(found.folder))


def folder_backgrounds(found: folders.Found, config: ConfigDict, denoised: bool) -> Layer:
    """Returns the backgrounds of a folder."""
    copies, read = None, partial(read_visible, profile=config.data.colour_profile)
    if denoised:
        paths = background_copies(found, cache_folder(config), config.data.workers)
        copies = Lazy(paths, read)
    return Layer(Lazy(found.items, read), copies, str(found.folder))


def recorded_foregrounds(config: ConfigDict, builders_folder: str | Path, denoised: bool) -> Layer:
    """Returns the foregrounds of a data set."""
    train = config.data.train
    records = records_of(config, "train", builders_folder)
    require(records.features, {"foreground", "alpha"}, train.dataset)
    copies = None
    if denoised:
        require_copies(records.features, "foreground_denoised", train.dataset)
        copies = records.pairs("foreground_denoised")
    return Layer(records.pairs("foreground"), copies, f"{train.dataset}/{train.split}")


def backgrounds_of(records: Records, dataset: str, split: str, denoised: bool) -> Layer:
    """Returns the backgrounds of a data set, given its records."""
    images, copies = recorded_backgrounds(records, dataset), None
    if denoised:
        require_copies(records.features, "background_denoised", dataset)
        copies = records.images("background_denoised")
    return Layer(images, copies, f"{dataset}/{split}")


def require_copies(features: set[str], wanted: str, dataset: str) -> None:
    """Raises ValueError if a data set has no denoised copies."""
    if wanted not in features:
        raise ValueError(
            f"the data set {dataset} has no denoised copies: use a config with them, such as "
            f"am2k/foregrounds_denoised or bg20k/denoised, {ALTERNATIVE}"
        )


def listed_images(config: ConfigDict, denoised: bool) -> Composites | Photos:
    """Returns the images of the list config.data.train.list."""
    train, cache, workers = config.data.train, cache_folder(config), config.data.workers
    others = ("foregrounds", "backgrounds", "images", "background_dataset")
    given = [f"config.data.train.{name}" for name in others if train[name]]
    if given:
        raise ValueError(f"give either config.data.train.list or {' and '.join(given)}, not both")
    found = lists.find_listed(train, "config.data.train", cache, workers, trimaps=False)
    folders.accept([found], config.data.skip_bad)
    pairs = [folders.Pair(item.foreground, item.alpha) for item in found.items]
    if found.items[0].background is None:
        check_fits(config.data.crop, "photo")
        read = partial(read_pair, profile=config.data.colour_profile)
        return Photos(Lazy(pairs, read), f"{len(pairs)} photos, {found.folder}")
    check_fits(config.data.crop, "composite")
    if denoised:
        raise ValueError(
            "config.data.train.list cannot provide denoised copies: give folders or data sets that "
            f"have them, {ALTERNATIVE}"
        )
    description = f"{len(pairs)} foregrounds over their backgrounds, {found.folder}"
    read = partial(read_visible, profile=config.data.colour_profile)
    backgrounds = Lazy([item.background for item in found.items], read)
    return Composites(
        with_colours(pairs, config),
        backgrounds,
        description,
        second_probability(config),
        paired=True,
    )


def unlabelled_photos(config: ConfigDict) -> Unlabelled:
    """Returns the photos of the folder config.data.train.photos, which have no alpha."""
    if not config.data.train.photos:
        raise ValueError(
            "config.data.train.photos is empty: set --config.data.train.photos=DIR, a folder of "
            "photos or clips"
        )
    check_fits(config.data.crop, "photo")
    if config.data.crop.around != "anywhere":
        raise ValueError(
            f"config.data.crop.around is {config.data.crop.around!r}, but photos without alpha "
            "can only be cropped 'anywhere'"
        )
    found = find_photos(
        config.data.train.photos,
        "config.data.train.photos",
        cache_folder(config),
        config.data.workers,
    )
    folders.accept([found], config.data.skip_bad)
    clips = len({item.path for item in found.items if isinstance(item, ClipFrame)})
    what = "photos without alpha" + (f", with the frames of {clips} clips" if clips else "")

    def read(item: Path | ClipFrame) -> np.ndarray:
        if isinstance(item, ClipFrame):
            return read_frame(item)
        return read_visible(item, config.data.colour_profile)

    return Unlabelled(Lazy(found.items, read), f"{len(found.items)} {what}, {found.folder}")


def with_colours(pairs: list[folders.Pair], config: ConfigDict) -> Lazy:
    """Returns foregrounds with their colours, estimated once for photos if the config says so."""
    way = one_of(
        config.data.foreground_colours, ("estimate", "as_is"), "config.data.foreground_colours"
    )
    profile = config.data.colour_profile
    read = partial(read_foreground, profile=profile)
    if way == "as_is":
        return Lazy(pairs, read)
    photos = list(dict.fromkeys(pair for pair in pairs if pair.alpha))
    paths = colours.cut_out(photos, cache_folder(config), config.data.workers, profile)
    cutouts = dict(zip(photos, paths, strict=True))
    return Lazy([folders.Pair(cutouts.get(pair, pair.image), None) for pair in pairs], read)
