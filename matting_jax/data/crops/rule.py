"""The record that each rule of cropping ends with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

Crops = dict[str, np.ndarray]


@dataclass(frozen=True)
class CropRule:
    """How training images are cropped, as the config group `data.crop` says.

    The functions take images uint8 [H, W, 3], and alphas and labels uint8 [H, W]. They return crops
    uint8 [height, width, channels] by name. None: the rule cannot crop such data.

    Attributes:
        check: `check(crop)` raises ValueError for fields that are not valid.
        composite: `composite(rng, foreground, alpha, background, crop)` crops the layers of a
            composite.
        photo: `photo(rng, image, alpha, crop)` crops a real photo and its alpha, which may be None.
        labelled: `labelled(rng, image, label, crop)` crops a photo and the class of each pixel.
        combines: whether `composite` also takes `second`, another foreground with its alpha that
            may lie behind the first, or None; see config.data.train.combine.
        planes: whether `composite` and `photo` also take planes made from the whole alpha, uint8
            [H, W, n], see `image.planes`; they are cut and resized as the alpha, to the crop
            `alpha_planes`.
        takes: the fields of config.data.crop that only some rules take, if this one does.
    """

    check: Callable[[ConfigDict], None]
    composite: Callable[..., Crops] | None = None
    photo: Callable[..., Crops] | None = None
    labelled: Callable[..., Crops] | None = None
    combines: bool = False
    planes: bool = False
    takes: tuple[str, ...] = ()


def sides(crop: ConfigDict) -> tuple[int, int]:
    """Returns height and width of the crops."""
    return crop.size, crop.width or crop.size
