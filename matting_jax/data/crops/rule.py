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
    """

    # check(crop) raises ValueError for fields that are not valid.
    check: Callable[[ConfigDict], None]
    # composite(rng, foreground, alpha, background, crop): the layers of a composite. If `combines`,
    # it also takes `second`: another foreground with its alpha, or None. If `planes`, it and
    # `photo` also take planes made from the whole alpha, uint8 [H, W, n], see `image.planes`; they
    # are cut and resized as the alpha, to the crop `alpha_planes`.
    composite: Callable[..., Crops] | None = None
    # photo(rng, image, alpha, crop): a real photo and its alpha, which may be None.
    photo: Callable[..., Crops] | None = None
    # labelled(rng, image, label, crop): a photo and the class of each pixel.
    labelled: Callable[..., Crops] | None = None
    # Whether a second foreground may lie behind the first, see config.data.train.combine.
    combines: bool = False
    # Whether planes made from the whole alpha may be cropped with it.
    planes: bool = False
    # The fields of config.data.crop that only some rules take, if this one does.
    takes: tuple[str, ...] = ()


def sides(crop: ConfigDict) -> tuple[int, int]:
    """Returns height and width of the crops."""
    return crop.size, crop.width or crop.size
