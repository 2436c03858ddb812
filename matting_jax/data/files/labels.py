"""The class of every pixel: uint8 [H, W], 255 where there is none."""

from collections.abc import Sequence

import numpy as np

IGNORED = np.uint8(255)
# The label ids of Cityscapes that are scored; their places here are the classes.
CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def renumbered(label: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """A label uint8 [H, W] in which each of `ids` is the number of its place among them, and all
    else is ignored."""
    classes = np.full(256, IGNORED)
    classes[list(ids)] = np.arange(len(ids), dtype=np.uint8)
    return classes[label]


def check_label(label: np.ndarray, classes: int, name: str) -> None:
    """Raises ValueError, which names the label, where a pixel is neither of `classes` nor 255."""
    wrong = label[(label >= classes) & (label != IGNORED)]
    if wrong.size:
        raise ValueError(
            f"{name}: the label holds {wrong.max()}, but config.model.num_classes is {classes}: "
            f"number the classes from 0 to {classes - 1}, and set what is none of them to 255."
        )
