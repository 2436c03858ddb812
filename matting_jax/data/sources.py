"""What samples are drawn from: foregrounds and backgrounds, or photos, read one at a time."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from matting_jax.data.crops import rule_of


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


def _denoised(name: str) -> str:
    return f"{name}_denoised"
