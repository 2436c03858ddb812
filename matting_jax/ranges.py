"""The valid ranges of a config's numbers, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from matting_jax.config import flatten

# Intervals of the fields of `config.defaults()` and of probabilities that recipes add.
RANGES = {
    "seed": "[0, inf)",
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
    "synthesis.flip": "[0, 1]",
    "synthesis.blur": "[0, 1]",
    "synthesis.sharpen": "[0, 1]",
    "synthesis.noise": "[0, 1]",
    "synthesis.jpeg": "[0, 1]",
    "synthesis.distort.chance": "[0, 1]",
    "synthesis.rssn.sharpness": "[0, 1]",
    "synthesis.rssn.noise": "[0, 1]",
    "synthesis.rssn.denoise": "[0, 1]",
}


def check_ranges(config: ConfigDict) -> None:
    """Raises ValueError that names the first field whose value is out of range or not finite."""
    for field, value in flatten(config).items():
        for number in numbers(value):
            if not math.isfinite(number):
                raise ValueError(f"--config.{field} must be finite, got {value}")
            if field in RANGES and not contains(RANGES[field], number):
                raise ValueError(f"--config.{field} must be in {RANGES[field]}, got {value}")


def numbers(value: Any) -> Iterator[float]:
    """Yields the numbers of a field, those of nested tuples too."""
    if isinstance(value, tuple):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield value


def contains(interval: str, number: float) -> bool:
    """Returns whether an interval such as "[0, 1)" contains a number."""
    lower, upper = map(float, interval[1:-1].split(","))
    return lower <= number and (number <= upper if interval.endswith("]") else number < upper)
