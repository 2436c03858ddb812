"""The class of every pixel: uint8 [H, W], 255 where it is ignored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IGNORED = np.uint8(255)


def renumber(label: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Replaces each of `ids` in a label uint8 [H, W] by its index; all others are ignored."""
    classes = np.full(256, IGNORED)
    classes[list(ids)] = np.arange(len(ids), dtype=np.uint8)
    return classes[label]


def check_label(label: np.ndarray, classes: int, name: str) -> None:
    """Raises ValueError, with the label's name, unless each pixel is below `classes` or 255."""
    wrong = label[(label >= classes) & (label != IGNORED)]
    if wrong.size:
        raise ValueError(
            f"{name}: the label holds {wrong.max()}, but config.model.num_classes is {classes}: "
            f"number the classes from 0 to {classes - 1}, and set pixels without a class to 255"
        )
