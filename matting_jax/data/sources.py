"""Sources of samples: foregrounds and backgrounds, or photos, read one at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.crops import Crops, find_rule
from matting_jax.data.decoded import DiskDict, DiskImages
from matting_jax.image.planes import AlphaPlanes


@dataclass(frozen=True)
class Lazy(Sequence):
    """A sequence whose elements are read on access, and kept in `kept` unless it is None.

    `photo` returns the file of an item's photo, if it has one.
    """

    items: Sequence
    read: Callable[[Any], Any]
    kept: dict[int, Any] | DiskDict | None = None
    photo: Callable[[Any], Path] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        # Not every sequence of items raises IndexError at its end.
        number = range(len(self.items))[index]
        if self.kept is None:
            return self.read(self.items[number])
        element = self.kept.get(number)
        if element is None:
            element = self.kept[number] = self.read(self.items[number])
        return element


def photo_files(images: Sequence) -> list[Path]:
    """Returns the file of each photo of `images`; empty if they do not come from files."""
    while isinstance(images, Lazy):
        if images.photo:
            return [images.photo(item) for item in images.items]
        images = images.items
    return []


def part_of(images: Sequence, start: int, end: int) -> Lazy:
    """Returns the images from number `start` to `end` - 1, which keep their files."""
    files = photo_files(images)
    return Lazy(range(start, end), images.__getitem__, photo=files.__getitem__ if files else None)


def keep(images: Sequence, disk: DiskImages | None = None) -> Lazy:
    """Returns the sequence with each element kept after its first access: in memory or on disk."""
    return Lazy(images, lambda image: image, kept={} if disk is None else DiskDict(disk))


def make_planes(pairs: Sequence, planes: AlphaPlanes) -> Lazy:
    """Returns (image, alpha, planes of this alpha) for each of the pairs (image, alpha)."""
    return Lazy(pairs, lambda pair: (*pair, planes.make(pair[1])))


class EvaluationImage(NamedTuple):
    """An image that a network is scored on, or only shown.

    Where photos come with the class of each pixel, `label` replaces `alpha`.
    """

    name: str
    image: np.ndarray  # uint8 [H, W, 3]
    alpha: np.ndarray | None  # uint8 [H, W]; None: not scored
    trimap: np.ndarray | None = None  # uint8 [H, W]: 0, 128, 255
    background: np.ndarray | None = None  # uint8 [H, W, 3]
    label: np.ndarray | None = None  # uint8 [H, W]
    # The photo's own transparency, which multiplies the predicted alpha: uint8 [H, W].
    opacity: np.ndarray | None = None


@dataclass(frozen=True)
class Composites:
    """Foregrounds, each to be composited with its own background or one drawn randomly."""

    foregrounds: Sequence[tuple[np.ndarray, np.ndarray]]  # colours uint8 [H, W, 3], alpha [H, W]
    backgrounds: Sequence[np.ndarray]  # uint8 [H, W, 3]
    description: str
    # Probability of a second foreground behind the first; None: the crops cannot combine them.
    combine: float | None = None
    # Whether each foreground has the background of the same number.
    paired: bool = False
    # Numbers of the backgrounds that each foreground is composited with, [foregrounds, N]; None:
    # those of all backgrounds.
    fixed: np.ndarray | None = None
    # Denoised copies of both, as many and of the same sizes, which samples then contain too.
    denoised: Composites | None = None
    # The planes that foregrounds hold after colours and alpha, and samples as `alpha_planes`.
    planes: AlphaPlanes | None = None

    def __len__(self) -> int:
        return len(self.foregrounds)

    @property
    def channels(self) -> dict[str, int]:
        """The names of a sample's arrays, with their channels."""
        channels = {"foreground": 3, "alpha": 1, "background": 3}
        if self.combine is not None:
            channels |= {"foreground2": 3, "alpha2": 1}
        if self.denoised is not None:
            channels |= {denoised_name(name): n for name, n in channels.items() if n == 3}
        if self.planes is not None:
            channels["alpha_planes"] = self.planes.count
        return channels

    def sample(self, record: int, rng: np.random.Generator, crop: ConfigDict) -> Crops:
        """Crops the foreground `record` and a background: uint8 [size, size, channels].

        With `combine` also a second foreground; if none is drawn, foreground2 is the first one and
        alpha2 is 0. Denoised copies are cropped alike, as foreground_denoised and so on.
        """
        if self.denoised is None:
            return self.crop_layers(record, rng, crop)
        # The draws depend only on sizes and alphas, which are the same.
        quiet = self.denoised.sample(record, copy.deepcopy(rng), crop)
        noisy = self.crop_layers(record, rng, crop)
        return noisy | {denoised_name(name): quiet[name] for name in noisy if "alpha" not in name}

    def crop_layers(self, record: int, rng: np.random.Generator, crop: ConfigDict) -> Crops:
        """Crops the layers of one composite, as `sample`, without denoised copies."""
        number = self.draw_background(record, rng)
        foreground, alpha, *planes = self.foregrounds[record]
        layers = (foreground, alpha, self.backgrounds[number], crop, *planes)
        if self.combine is None:
            return find_rule(crop).composite(rng, *layers)
        second = None
        if rng.random() < self.combine:
            second = self.foregrounds[int(rng.integers(len(self.foregrounds)))]
        return find_rule(crop).composite(rng, *layers, second)

    def with_planes(self, planes: AlphaPlanes) -> Composites:
        """Returns the same source with planes made from the alpha of each foreground."""
        return replace(self, foregrounds=make_planes(self.foregrounds, planes), planes=planes)

    def draw_background(self, record: int, rng: np.random.Generator) -> int:
        """Draws the number of a background for the foreground `record`."""
        if self.paired:
            return record
        if self.fixed is None:
            return int(rng.integers(len(self.backgrounds)))
        return int(rng.choice(self.fixed[record]))

    def keep_decoded(self, disk: DiskImages | None = None) -> Composites:
        """Returns the same source with decoded images kept in memory, or on disk."""
        return replace(
            self,
            foregrounds=keep(self.foregrounds, disk),
            backgrounds=keep(self.backgrounds, disk),
            denoised=self.denoised and self.denoised.keep_decoded(disk),
        )


@dataclass(frozen=True)
class Photos:
    """Real photos with alpha."""

    pairs: Sequence[tuple[np.ndarray, np.ndarray]]  # image uint8 [H, W, 3], alpha uint8 [H, W]
    description: str
    # The planes that pairs hold after image and alpha, and samples as `alpha_planes`.
    planes: AlphaPlanes | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def channels(self) -> dict[str, int]:
        """The names of a sample's arrays, with their channels."""
        channels = {"image": 3, "alpha": 1}
        if self.planes is not None:
            channels["alpha_planes"] = self.planes.count
        return channels

    def sample(self, record: int, rng: np.random.Generator, crop: ConfigDict) -> Crops:
        """Crops the photo `record` and its alpha: uint8 [size, size, channels]."""
        image, alpha, *planes = self.pairs[record]
        return find_rule(crop).photo(rng, image, alpha, crop, *planes)

    def with_planes(self, planes: AlphaPlanes) -> Photos:
        """Returns the same source with planes made from the alpha of each photo."""
        return replace(self, pairs=make_planes(self.pairs, planes), planes=planes)

    def keep_decoded(self, disk: DiskImages | None = None) -> Photos:
        """Returns the same source with decoded images kept in memory, or on disk."""
        return replace(self, pairs=keep(self.pairs, disk))


@dataclass(frozen=True)
class Labelled:
    """Photos with the class of each pixel."""

    pairs: Sequence[tuple[np.ndarray, np.ndarray]]  # image uint8 [H, W, 3], label uint8 [H, W]
    description: str
    channels: ClassVar = {"image": 3, "label": 1}

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, record: int, rng: np.random.Generator, crop: ConfigDict) -> Crops:
        """Crops the photo `record` and its label: uint8 [height, width, channels]."""
        return find_rule(crop).labelled(rng, *self.pairs[record], crop)

    def keep_decoded(self, disk: DiskImages | None = None) -> Labelled:
        """Returns the same source with decoded images kept in memory, or on disk."""
        return replace(self, pairs=keep(self.pairs, disk))


@dataclass(frozen=True)
class Unlabelled:
    """Photos without alpha."""

    photos: Sequence[np.ndarray]  # uint8 [H, W, 3]
    description: str
    channels: ClassVar = {"image": 3}

    def __len__(self) -> int:
        return len(self.photos)

    def sample(self, record: int, rng: np.random.Generator, crop: ConfigDict) -> Crops:
        """Crops the photo `record`: uint8 [size, size, 3]."""
        return find_rule(crop).photo(rng, self.photos[record], None, crop)

    def keep_decoded(self, disk: DiskImages | None = None) -> Unlabelled:
        """Returns the same source with decoded images kept in memory, or on disk."""
        return replace(self, photos=keep(self.photos, disk))

    def unscored(self, count: int) -> Sequence[EvaluationImage]:
        """Returns `count` photos, uncropped, to be shown without a score.

        They are evenly spaced, since the frames of a clip follow each other.
        """
        count = min(count, len(self.photos))
        numbers = [number * len(self.photos) // count for number in range(count)]

        def read(number: int) -> EvaluationImage:
            return EvaluationImage(f"photo_{number}", self.photos[number], None)

        return Lazy(numbers, read)


Source = Composites | Photos | Labelled | Unlabelled


def denoised_name(name: str) -> str:
    """Returns the name of the denoised copy of a sample's array."""
    return f"{name}_denoised"
