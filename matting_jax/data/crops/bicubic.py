"""Windows of images resized by Pillow's bicubic rule."""

from __future__ import annotations

import numpy as np
from PIL import Image

from matting_jax.data.crops.read_part import read_part

BICUBIC = Image.Resampling.BICUBIC
Box = tuple[int, int, int, int]


def resized_window(
    image: np.ndarray, size: tuple[int, int], box: Box, shape: tuple[int, int]
) -> np.ndarray:
    """Resizes an image, cuts a window and resizes it, in one step.

    Args:
        image: uint8 [H, W, 3].
        size: height and width that the image is resized to.
        box: top, left, bottom and right of the window, in pixels of the resized image.
        shape: height and width of the result. If they are those of the box, the result is a slice
            of the resized image, up to rounding.

    Returns:
        uint8 [*shape, 3].
    """
    top, left, bottom, right = box
    down, across = image.shape[0] / size[0], image.shape[1] / size[1]
    rows, columns = shape
    part, (left, top, right, bottom) = read_part(
        image.shape[:2],
        (columns, rows),
        (left * across, top * down, right * across, bottom * down),
        BICUBIC,
    )
    image = Image.fromarray(np.ascontiguousarray(image[part]))
    # The width first, as Pillow does when it enlarges a whole image; with a box it may not.
    wide = image.resize((columns, image.height), BICUBIC, box=(left, 0, right, image.height))
    return np.asarray(wide.resize((columns, rows), BICUBIC, box=(0, top, columns, bottom)))
