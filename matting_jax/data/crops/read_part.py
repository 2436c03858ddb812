"""The part of an image that Pillow reads to resize a box of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL.Image import Resampling

# How many pixels of the result each filter reaches to both sides, or of the source if it enlarges.
REACH = {Resampling.BILINEAR: 1, Resampling.BICUBIC: 2}


def read_part(
    shape: tuple[int, int], size: tuple[int, int], box: Sequence[float], resampling: Resampling
) -> tuple[tuple[slice, slice], tuple[float, ...]]:
    """Returns the part of an image that is read, and the box in it; the result is the same.

    Pillow copies an image before it resizes a part of it.

    Args:
        shape: height and width of the image.
        size: width and height of the result.
        box: left, top, right and bottom of the part that is resized.
        resampling: filter, BILINEAR or BICUBIC.
    """
    # Pillow has a box in single precision, in which whole pixels are subtracted exactly.
    box = np.array(box, np.float32).astype(float)
    slices = []
    for axis in (0, 1):
        start, stop, new, length = box[1 - axis], box[3 - axis], size[1 - axis], shape[axis]
        reach = REACH[resampling] * max((stop - start) / new, 1) + 1
        first, last = max(math.floor(start - reach), 0), min(math.ceil(stop + reach), length)
        slices.append(slice(first, last))
    offset = (slices[1].start, slices[0].start) * 2
    return tuple(slices), tuple((box - offset).tolist())
