"""What is trained and tested on, read one sample at a time."""

import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from matting_jax.data import builders, colours, denoised, folders, lists
from matting_jax.data.crops import check_crop, rule_of
from matting_jax.data.images import read_alpha, read_image, read_label, read_rgba
from matting_jax.data.labels import CITYSCAPES, check_label, renumbered
from matting_jax.data.trimaps import check_distance, from_alpha, read_trimap


@dataclass(frozen=True)
class Lazy(Sequence):
    """A sequence whose elements are read when they are asked for, and stay in `kept` if given."""

    items: Sequence
    read: Callable[[Any], Any]
    kept: dict[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        # Not every sequence of items says by an IndexError that it has ended.
        number = range(len(self.items))[index]
        if self.kept is None:
            return self.read(self.items[number])
        if number not in self.kept:
            self.kept[number] = self.read(self.items[number])
        return self.kept[number]


class EvaluationImage(NamedTuple):
    """What a network is scored on: image uint8 [H, W, 3], alpha uint8 [H, W], or None where it is
    only shown; trimap uint8 [H, W] (0, 128, 255) and background uint8 [H, W, 3] where there are
    any. Where classes are given, their label uint8 [H, W] in place of alpha."""

    name: str
    image: np.ndarray
    alpha: np.ndarray | None
    trimap: np.ndarray | None = None
    background: np.ndarray | None = None
    label: np.ndarray | None = None


@dataclass(frozen=True)
class Composites:
    """Foregrounds to be put over backgrounds drawn at random, or each over its own.

    foregrounds: (colours uint8 [H, W, 3], alpha uint8 [H, W]); backgrounds: uint8 [H, W, 3].
    combine: None, or the chance that a second foreground lies behind the first. paired: each
    foreground has the background of the same number. denoised: copies of both parts, as many and of
    the same sizes, which samples then have too.
    """

    foregrounds: Sequence[tuple[np.ndarray, np.ndarray]]
    backgrounds: Sequence[np.ndarray]
    description: str
    combine: float | None = None
    paired: bool = False
    denoised: "Composites | None" = None

    def __len__(self) -> int:
        return len(self.foregrounds)

    @property
    def channels(self) -> dict[str, int]:
        """The names of a sample's arrays, with their channels."""
        channels = {"foreground": 3, "alpha": 1, "background": 3}
        if self.combine is not None:
            channels |= {"foreground2": 3, "alpha2": 1}
        if self.denoised is not None:
            channels |= {_denoised(name): n for name, n in channels.items() if n == 3}
        return channels

    def sample(self, record: int, rng: np.random.Generator, crop) -> dict[str, np.ndarray]:
        """The foreground `record` and a background, cropped: uint8 [size, size, channels].

        With `combine` a second foreground as well; where none was drawn, foreground2 is the first
        one and alpha2 is 0. Denoised copies are cropped alike, and named foreground_denoised and
        so on.
        """
        if self.denoised is None:
            return self._sample(record, rng, crop)
        # What is drawn depends on sizes and alphas alone, which are the same.
        quiet = self.denoised.sample(record, copy.deepcopy(rng), crop)
        noisy = self._sample(record, rng, crop)
        return noisy | {_denoised(name): quiet[name] for name in noisy if "alpha" not in name}

    def _sample(self, record: int, rng: np.random.Generator, crop) -> dict[str, np.ndarray]:
        behind = record if self.paired else int(rng.integers(len(self.backgrounds)))
        layers = (*self.foregrounds[record], self.backgrounds[behind], crop)
        if self.combine is None:
            return rule_of(crop).composite(rng, *layers)
        second = None
        if rng.random() < self.combine:
            second = self.foregrounds[int(rng.integers(len(self.foregrounds)))]
        return rule_of(crop).composite(rng, *layers, second)


@dataclass(frozen=True)
class Photos:
    """Real photos with mattes: (image uint8 [H, W, 3], alpha uint8 [H, W])."""

    pairs: Sequence[tuple[np.ndarray, np.ndarray]]
    description: str
    channels: ClassVar = {"image": 3, "alpha": 1}

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, record: int, rng: np.random.Generator, crop) -> dict[str, np.ndarray]:
        """The photo `record` and its alpha, cropped: uint8 [size, size, channels]."""
        return rule_of(crop).photo(rng, *self.pairs[record], crop)


@dataclass(frozen=True)
class Labelled:
    """Photos and the class of each pixel: (image uint8 [H, W, 3], label uint8 [H, W])."""

    pairs: Sequence[tuple[np.ndarray, np.ndarray]]
    description: str
    channels: ClassVar = {"image": 3, "label": 1}

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, record: int, rng: np.random.Generator, crop) -> dict[str, np.ndarray]:
        """The photo `record` and its label, cropped: uint8 [height, width, channels]."""
        return rule_of(crop).labelled(rng, *self.pairs[record], crop)


@dataclass(frozen=True)
class Unlabelled:
    """Photos of which nothing else is known: uint8 [H, W, 3]."""

    photos: Sequence[np.ndarray]
    description: str
    channels: ClassVar = {"image": 3}

    def __len__(self) -> int:
        return len(self.photos)

    def sample(self, record: int, rng: np.random.Generator, crop) -> dict[str, np.ndarray]:
        """The photo `record`, cropped: uint8 [size, size, 3]."""
        return rule_of(crop).photo(rng, self.photos[record], None, crop)

    def unscored(self, count: int) -> Sequence[EvaluationImage]:
        """The first photos, whole, to be shown."""
        numbers = range(min(count, len(self.photos)))

        def read(number: int) -> EvaluationImage:
            return EvaluationImage(f"photo_{number}", self.photos[number], None)

        return Lazy(numbers, read)


Source = Composites | Photos | Labelled | Unlabelled


def train_source(config, builders_folder: str | Path = builders.CHECKOUT) -> Source:
    """What config.data.train names, checked and prepared; its images stay in memory once they are
    decoded if config.data.keep_decoded.

    Raises ValueError when folders or files are missing or cannot be used.
    """
    check_crop(config.data.crop)
    source = _train_source(config, builders_folder)
    return _keeping(source) if config.data.keep_decoded else source


def _keeping(source: Source) -> Source:
    images = ("foregrounds", "backgrounds", "pairs", "photos")
    parts = [name for name in images if hasattr(source, name)]
    source = replace(source, **{name: replace(getattr(source, name), kept={}) for name in parts})
    if getattr(source, "denoised", None):
        source = replace(source, denoised=_keeping(source.denoised))
    return source


def _train_source(config, builders_folder: str | Path) -> Source:
    train, cache, workers = config.data.train, _cache(config), config.data.workers
    if "photos" in train:
        _check_photos(config)
        return _unlabelled(config)
    if _classes_given(config):
        pairs, place = _labelled(config, "train", builders_folder)
        return Labelled(pairs, f"{len(pairs)} photos with classes, {place}")
    _check_combine(config)
    if train.get("list"):
        return _listed(config)
    elsewhere = bool(train.backgrounds or train.get("background_dataset"))
    if train.images and (train.foregrounds or train.backgrounds):
        raise ValueError(
            "Give either config.data.train.images (real photos with alpha), or "
            "config.data.train.foregrounds and config.data.train.backgrounds, not both."
        )
    if train.foregrounds and not elsewhere:
        raise ValueError(
            "config.data.train.foregrounds is given without config.data.train.backgrounds: "
            "give a folder of background images as well."
        )
    if train.images:
        _check_photos(config)
        found = folders.find_pairs(train.images, "config.data.train.images", cache, workers)
        folders.accept([found], config.data.skip_bad)
        return Photos(Lazy(found.items, _read_pair), f"{len(found.items)} photos, {found.folder}")

    found = []
    if train.foregrounds:
        field = "config.data.train.foregrounds"
        found.append(folders.find_foregrounds(train.foregrounds, field, cache, workers))
    if train.backgrounds:
        field = "config.data.train.backgrounds"
        found.append(folders.find_backgrounds(train.backgrounds, field, cache, workers))
    folders.accept(found, config.data.skip_bad)
    if train.foregrounds:
        front = _found_foregrounds(found[0], config)
    else:
        data, features = _records(config, "train", builders_folder)
        place = f"{train.dataset}/{train.split}"
        if "foreground" not in features and "image" in features and not elsewhere:
            _require(features, {"alpha"}, train.dataset)
            _check_photos(config)
            return Photos(Lazy(data, _record_pair), f"{len(data)} photos, {place}")
        _require(features, {"foreground", "alpha"}, train.dataset)
        copies = None
        if _denoises(config):
            _require_denoised(features, "foreground_denoised", train.dataset)
            copies = Lazy(data, _record_denoised_foreground)
        front = Layer(Lazy(data, _record_foreground), copies, [place])
    if train.backgrounds:
        behind = _found_backgrounds(found[-1], config)
    elif elsewhere:
        data, features = _other_records(config, "train", builders_folder)
        behind = _record_backgrounds(data, features, train.background_dataset, config)
        behind = behind._replace(places=[f"{train.background_dataset}/{train.background_split}"])
    else:
        _require(features, {"background"}, train.dataset)
        behind = _record_backgrounds(data, features, train.dataset, config)
    counts = f"{len(front.images)} foregrounds, {len(behind.images)} backgrounds"
    description = ", ".join([counts, *front.places, *behind.places])
    source = Composites(front.images, behind.images, description, train.get("combine"))
    if not _denoises(config):
        return source
    copies = replace(source, foregrounds=front.copies, backgrounds=behind.copies)
    return replace(source, denoised=copies)


class Layer(NamedTuple):
    """What composites are made of: foregrounds or backgrounds, their denoised copies, if any are
    wanted, and where they come from."""

    images: Sequence
    copies: Sequence | None
    places: list[str]


def _found_foregrounds(found: folders.Found, config) -> Layer:
    copies = None
    if _denoises(config):
        pairs = denoised.foreground_copies(found, _cache(config), config.data.workers)
        copies = _foregrounds(pairs, config)
    return Layer(_foregrounds(found.items, config), copies, [str(found.folder)])


def _found_backgrounds(found: folders.Found, config) -> Layer:
    copies = None
    if _denoises(config):
        paths = denoised.background_copies(found, _cache(config), config.data.workers)
        copies = Lazy(paths, read_image)
    return Layer(Lazy(found.items, read_image), copies, [str(found.folder)])


def _record_backgrounds(data: Sequence[dict], features: set[str], dataset: str, config) -> Layer:
    images, copies = _recorded_backgrounds(data, features, dataset), None
    if _denoises(config):
        _require_denoised(features, "background_denoised", dataset)
        copies = Lazy(data, lambda record: read_image(io.BytesIO(record["background_denoised"])))
    return Layer(images, copies, [])


def _recorded_backgrounds(data: Sequence[dict], features: set[str], dataset: str) -> Lazy:
    feature = "background" if "background" in features else "image"
    _require(features, {feature}, dataset)
    return Lazy(data, lambda record: read_image(io.BytesIO(record[feature])))


def _denoised(name: str) -> str:
    return f"{name}_denoised"


def _denoises(config) -> bool:
    """Whether composites may have denoised colours, see `image.rssn`."""
    return bool(config.get("synthesis", {}).get("rssn", {}).get("denoise", 0))


def _listed(config) -> Composites | Photos:
    train, cache, workers = config.data.train, _cache(config), config.data.workers
    others = ("foregrounds", "backgrounds", "images", "background_dataset")
    given = [f"config.data.train.{name}" for name in others if train.get(name)]
    if given:
        raise ValueError(
            f"Give either config.data.train.list or {' and '.join(given)}, not both."
        )
    found = lists.find_listed(train, "config.data.train", cache, workers, trimaps=False)
    folders.accept([found], config.data.skip_bad)
    pairs = [folders.Pair(item.foreground, item.alpha) for item in found.items]
    if found.items[0].background is None:
        _check_photos(config)
        return Photos(Lazy(pairs, _read_pair), f"{len(pairs)} photos, {found.folder}")
    if _denoises(config):
        raise ValueError(
            "config.synthesis.rssn.denoise needs folders or data sets with denoised copies, which "
            f"config.data.train.list has not: {denoised.WITHOUT.removeprefix('or ')}."
        )
    description = f"{len(pairs)} foregrounds over their backgrounds, {found.folder}"
    foregrounds = _foregrounds(pairs, config)
    backgrounds = Lazy([item.background for item in found.items], read_image)
    return Composites(foregrounds, backgrounds, description, train.get("combine"), paired=True)


def _check_combine(config) -> None:
    combine = config.data.train.get("combine")
    if combine is None:
        return
    if not 0 <= combine <= 1:
        raise ValueError(
            f"config.data.train.combine is {combine}, but a chance lies between 0 and 1."
        )
    if "affine" not in config.data.crop:
        raise ValueError("config.data.train.combine needs crops by config.data.crop.affine.")


def _classes_given(config) -> bool:
    """Whether the task learns classes that come with the photos; ValueError where the rule of the
    crops is none for them, or for them alone."""
    given = config.get("task", {}).get("labels") == "given"
    if given != ("scales" in config.data.crop):
        raise ValueError(
            "Photos with given classes (config.task.labels='given') are cropped by "
            "config.data.crop.scales, all others by another rule: take both from the variant of "
            "the config."
        )
    return given


def _labelled(config, part: str, builders_folder: str | Path) -> tuple[Lazy, str]:
    """The photos of `part` with their labels, checked as they are read, and where they lie."""
    group, classes = config.data[part], config.model.num_classes

    def checked(image, label, ids: Sequence[int], name: str) -> tuple[np.ndarray, np.ndarray]:
        label = renumbered(read_label(label), ids)
        check_label(label, classes, name)
        return read_image(image), label

    if group.images:
        field = f"config.data.{part}.images"
        found = folders.find_pairs(
            group.images, field, _cache(config), config.data.workers, truth="label"
        )
        folders.accept([found], config.data.skip_bad)

        def read(pair: folders.Pair) -> tuple[np.ndarray, np.ndarray]:
            return checked(pair.image, pair.alpha, range(256), str(pair.alpha))

        return Lazy(found.items, read), str(found.folder)
    data, features = _records(config, part, builders_folder)
    if "image_left" in features:  # Cityscapes
        names, ids = ("image_left", "segmentation_label"), CITYSCAPES
    else:
        names, ids = ("image", "label"), range(256)
    _require(features, set(names), group.dataset)
    place = f"{group.dataset}/{group.split}"

    def read_record(record: dict) -> tuple[np.ndarray, np.ndarray]:
        image, label = (io.BytesIO(record[name]) for name in names)
        return checked(image, label, ids, f"a photo of {place}")

    return Lazy(data, read_record), place


def _check_photos(config) -> None:
    if "affine" in config.data.crop:
        raise ValueError(
            "config.data.crop.affine transforms foregrounds, but photos are whole: give "
            "config.data.train.foregrounds and config.data.train.backgrounds."
        )


def _other_records(
    config, part: str, builders_folder: str | Path
) -> tuple[Sequence[dict], set[str]]:
    group = config.data[part]
    builder = builders.load_builder(
        group.background_dataset, config.data.directory, builders_folder
    )
    return builders.records(builder, group.background_split), set(builder.info.features)


def _unlabelled(config) -> Unlabelled:
    field, folder = "config.data.train.photos", config.data.train.photos
    if not folder:
        raise ValueError(f"{field} names no folder: set --{field}=DIR, a folder of photos.")
    if config.data.crop.around != "anywhere":
        raise ValueError(
            f"config.data.crop.around is {config.data.crop.around!r}, but photos without alpha "
            "can only be cropped 'anywhere'."
        )
    found = folders.find_backgrounds(folder, field, _cache(config), config.data.workers)
    folders.accept([found], config.data.skip_bad)
    description = f"{len(found.items)} photos without alpha, {found.folder}"
    return Unlabelled(Lazy(found.items, read_image), description)


def evaluation_images(
    config, builders_folder: str | Path = builders.CHECKOUT
) -> Sequence[EvaluationImage]:
    """What config.data.test names, read lazily.

    Its trimaps come with it, from a folder trimap/ beside image/ and alpha/, a column of the list
    or a feature of the data set, or are made of alpha where there are none and config.data.test has
    a `trimap_distance`. So do captured backgrounds, from a folder background/, the list, or the
    data set; foregrounds without any are laid over those of `background_dataset`. Raises ValueError
    when folders or files are missing or cannot be used.
    """
    distance = config.data.test.get("trimap_distance")
    if distance is not None:
        check_distance(distance)
    images = _evaluation_images(config, builders_folder)
    if distance is None:
        return images

    def with_trimap(image: EvaluationImage) -> EvaluationImage:
        if image.trimap is not None:
            return image
        return image._replace(trimap=from_alpha(image.alpha, distance))

    return Lazy(images, with_trimap)


def _evaluation_images(config, builders_folder: str | Path) -> Sequence[EvaluationImage]:
    test = config.data.test
    if _classes_given(config):
        pairs, _ = _labelled(config, "test", builders_folder)

        def labelled(number: int) -> EvaluationImage:
            image, label = pairs[number]
            return EvaluationImage(f"{number:06d}", image, None, label=label)

        return Lazy(range(len(pairs)), labelled)
    if test.get("list"):
        return _listed_images(config)
    if test.images:
        found = folders.find_scored(
            test.images, "config.data.test.images", _cache(config), config.data.workers
        )
        folders.accept([found], config.data.skip_bad)
        return Lazy(found.items, _read_scored)
    data, features = _records(config, "test", builders_folder)
    backgrounds = None
    if "image" in features:
        _require(features, {"alpha"}, test.dataset)
    elif test.get("background_dataset"):
        _require(features, {"foreground", "alpha"}, test.dataset)
        others = _other_records(config, "test", builders_folder)
        backgrounds = _recorded_backgrounds(*others, test.background_dataset)
    else:
        _require(features, {"foreground", "alpha", "background"}, test.dataset)
        backgrounds = _recorded_backgrounds(data, features, test.dataset)

    def read(index: int) -> EvaluationImage:
        record = data[index]
        name = record["name"].decode() if "name" in features else f"{test.split}_{index:06d}"
        trimap = read_trimap(io.BytesIO(record["trimap"])) if "trimap" in features else None
        if backgrounds is None:
            return EvaluationImage(name, *_record_pair(record), trimap)
        foreground, alpha = _record_foreground(record)
        background = lists.lay_under(backgrounds[index % len(backgrounds)], *alpha.shape)
        image = _composite(foreground, alpha, background)
        return EvaluationImage(name, image, alpha, trimap, background)

    return Lazy(range(len(data)), read)


def _listed_images(config) -> Sequence[EvaluationImage]:
    test, cache, workers = config.data.test, _cache(config), config.data.workers
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


def _cache(config) -> Path:
    return Path(config.data.cache or "~/.cache/matting_jax").expanduser()


def _foregrounds(pairs: list[folders.Pair], config) -> Lazy:
    if config.data.foreground_colours not in ("estimate", "as_is"):
        raise ValueError(
            f"config.data.foreground_colours is {config.data.foreground_colours!r}, but must be "
            "'estimate' or 'as_is'."
        )
    if config.data.foreground_colours == "as_is":
        return Lazy(pairs, _read_pair)
    photos = list(dict.fromkeys(pair for pair in pairs if pair.alpha))
    cutouts = dict(
        zip(photos, colours.cut_out(photos, _cache(config), config.data.workers), strict=True)
    )
    return Lazy([folders.Pair(cutouts.get(pair, pair.image), None) for pair in pairs], _read_pair)


def _read_scored(scored: folders.Scored) -> EvaluationImage:
    trimap = scored.trimap and read_trimap(scored.trimap)
    background = scored.background and read_image(scored.background)
    return EvaluationImage(scored.pair.image.stem, *_read_pair(scored.pair), trimap, background)


def _read_pair(pair: folders.Pair) -> tuple[np.ndarray, np.ndarray]:
    if pair.alpha is None:
        rgba = read_rgba(pair.image)
        return rgba[..., :3], rgba[..., 3]
    image, alpha = read_image(pair.image), read_alpha(pair.alpha)
    if image.shape[:2] != alpha.shape:
        raise ValueError(f"{pair.image} and {pair.alpha} differ in size.")
    return image, alpha


def _records(config, part: str, builders_folder: str | Path) -> tuple[Sequence[dict], set[str]]:
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


def _require(features: set[str], wanted: set[str], dataset: str) -> None:
    if not wanted <= features:
        raise ValueError(
            f"The data set {dataset} has {', '.join(sorted(features))}, but lacks "
            f"{', '.join(sorted(wanted - features))}."
        )


def _require_denoised(features: set[str], wanted: str, dataset: str) -> None:
    if wanted not in features:
        raise ValueError(
            f"The data set {dataset} has no denoised copies: take a config of it that has, as "
            f"am2k/foregrounds_denoised and bg20k/denoised, {denoised.WITHOUT}."
        )


def _record_foreground(record: dict) -> tuple[np.ndarray, np.ndarray]:
    return read_image(io.BytesIO(record["foreground"])), read_alpha(io.BytesIO(record["alpha"]))


def _record_denoised_foreground(record: dict) -> tuple[np.ndarray, np.ndarray]:
    colours = read_image(io.BytesIO(record["foreground_denoised"]))
    return colours, read_alpha(io.BytesIO(record["alpha"]))


def _record_pair(record: dict) -> tuple[np.ndarray, np.ndarray]:
    return read_image(io.BytesIO(record["image"])), read_alpha(io.BytesIO(record["alpha"]))


def _composite(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    weight = alpha[..., None].astype(np.float32) / 255
    return np.rint(weight * foreground + (1 - weight) * background).astype(np.uint8)
