"""The valid ranges of a config's numbers, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ml_collections import ConfigDict

from matting_jax.choices import one_of
from matting_jax.config import flatten

# Intervals of the fields of `config.defaults()`.
RANGES = {
    "seed": "[0, 2147483648)",
    "steps": "[1, inf)",
    "batch_size": "[1, inf)",
    "accumulate": "[1, inf)",
    "ema_decay": "[0, 1)",
    "log_every": "[0, inf)",
    "evaluate_every": "[0, inf)",
    "save_every": "[0, inf)",
    "preview_images": "[0, inf)",
    "optimizer.learning_rate": "[0, inf)",
    "optimizer.momentum": "[0, 1)",
    "optimizer.b1": "[0, 1)",
    "optimizer.b2": "[0, 1)",
    "optimizer.eps": "[0, inf)",
    "optimizer.weight_decay": "[0, inf)",
    "optimizer.clip_norm": "[0, inf)",
    "optimizer.clip_moving": "[0, inf)",
    "optimizer.schedule.warmup_steps": "[0, inf)",
    "optimizer.schedule.warmup_from": "[0, 1]",
    "optimizer.schedule.first_step": "[0, 1]",
    "optimizer.schedule.step_every": "[0, inf)",
    "optimizer.schedule.step_factor": "[0, inf)",
    "optimizer.schedule.power": "[0, inf)",
    "data.workers": "[1, inf)",
    "data.keep_on_disk": "[0, inf)",
    "data.train.combine": "[0, 1]",
    "data.train.fixed_backgrounds": "[0, inf)",
    "data.test.trimap_distance": "[-1, inf)",
    "data.crop.size": "[1, inf)",
    "data.crop.width": "[0, inf)",
    "data.crop.max_short": "[0, inf)",
}
LARGEST = 2**31 - 1  # of whole numbers, which libraries keep in 32 bits
PROBABILITIES = ("chance", "flip", "blur", "sharpen", "jpeg", "square")
STRENGTHS = ("brightness", "contrast", "saturation", "value", "translation", "strength")
ANGLES = ("rotation", "shear", "hue")
SIZES = ("blur_radius", "blur_size", "blur_sizes", "square_size", "window", "kernel_size")
# Intervals of the fields that recipes add, by patterns of their names: the first one counts.
# Those of a single network or task are in its record.
ADDED = {
    "optimizer.module_rates.*": "[0, inf)",
    "test_time.*": "[0, inf)",
    "task.*_weight": "[0, inf)",
    "task.*_steps": "[0, inf)",
    "model.*": "(0, inf)",
    "data.crop.corners": "[1, inf)",
    "data.crop.rescale": "[1, inf)",
    "data.crop.windows": "[1, inf)",
    "synthesis.trimap_kernel": "[1, inf)",
    "synthesis.trimap_iterations": "[0, inf)",
    "synthesis.noise": "[0, 1]",
    "synthesis.rssn.sharpness": "[0, 1]",
    "synthesis.rssn.noise": "[0, 1]",
    "synthesis.rssn.denoise": "[0, 1]",
    **{f"*.{name}": "[0, 1]" for name in PROBABILITIES},
    **{f"*.{name}": "[0, 1]" for name in STRENGTHS},
    **{f"*.{name}": "[0, 360]" for name in ANGLES},
    **{f"*.{name}": "[1, inf)" for name in SIZES},
    "*deviation": "[0, inf)",
    "*.scale": "(0, inf)",
    "*.scales": "(0, inf)",
}
MIXED = ("model.", "test_time.")  # groups whose patterns also match texts and flags
# Values of fields that are text.
CHOICES = {
    "data.colour_profile": ("srgb", "ignore"),
    "evaluate_first": ("none", "previews", "all"),
}
# Pairs from which a number is drawn: the first must not be above the second.
RISING = (
    "data.crop.rescale",
    "data.crop.scales",
    "synthesis.trimap_kernel",
    "synthesis.trimap_iterations",
    "*.affine.scale",
    "*.blur_size",
)


def check_ranges(
    config: ConfigDict,
    ranges: Mapping[str, str] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Raises ValueError that names the first field whose value cannot be.

    It is no number, out of its range, not finite, a pair that falls, or none of the choices.

    Args:
        config: the config.
        ranges: intervals of fields that only its network or task has.
        choices: valid values of those that are text.
    """
    choices = {**CHOICES, **(choices or {})}
    for field, value in flatten(config).items():
        if range_of(field, ranges) and not field.startswith(MIXED) and not is_numeric(value):
            raise ValueError(f"--config.{field} must have only numbers, got {value!r:.80}")
        check_range(field, value, f"--config.{field}", ranges)
        if field in choices:
            one_of(value, choices[field], f"config.{field}")
        if matches(field, RISING) and not (
            isinstance(value, tuple) and value and value[0] <= value[-1]
        ):
            raise ValueError(f"--config.{field} must be (SMALLEST, LARGEST), got {value}")


def is_numeric(value: Any) -> bool:
    """Returns whether a value is a number, or a tuple of numbers or of such tuples."""
    if isinstance(value, tuple):
        return all(is_numeric(part) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_range(field: str, value: Any, name: str, ranges: Mapping[str, str] | None = None) -> None:
    """Raises ValueError, with the `name` of a field, for numbers that it cannot have.

    Args:
        field: the field.
        value: its value.
        name: what the error message calls it.
        ranges: intervals of fields that only a network or task has.
    """
    interval = range_of(field, ranges)
    for number in numbers(value):
        if isinstance(number, int) and abs(number) > LARGEST:
            raise ValueError(f"{name} must be at most {LARGEST}, got {value}")
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {value}")
        if interval and not contains(interval, number):
            raise ValueError(f"{name} must be in {interval}, got {value}")


def range_of(field: str, ranges: Mapping[str, str] | None = None) -> str:
    """Returns the interval of a field, of RANGES, `ranges` or ADDED; "" for one without numbers."""
    if own := {**(ranges or {}), **RANGES}.get(field):
        return own
    pattern = matches(field, ADDED)
    return ADDED[pattern] if pattern else ""


def matches(field: str, patterns: Iterable[str]) -> str:
    """Returns the first of the patterns that a field has, "" if it has none."""
    return next((pattern for pattern in patterns if fnmatchcase(field, pattern)), "")


def numbers(value: Any) -> Iterator[float]:
    """Yields the numbers of a field, those of nested tuples too."""
    if isinstance(value, tuple):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def contains(interval: str, number: float) -> bool:
    """Returns whether an interval such as "[0, 1)" contains a number."""
    lower, upper = map(float, interval[1:-1].split(","))
    above = lower <= number if interval.startswith("[") else lower < number
    return above and (number <= upper if interval.endswith("]") else number < upper)
