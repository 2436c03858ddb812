"""Windows of images resized by Pillow's bicubic rule."""

from __future__ import annotations

import numpy as np
from PIL import Image

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
    # The width first, as Pillow does when it enlarges a whole image; with a box it may not.
    wide = Image.fromarray(image).resize(
        (columns, image.shape[0]),
        Image.Resampling.BICUBIC,
        box=(left * across, 0, right * across, image.shape[0]),
    )
    window = wide.resize(
        (columns, rows), Image.Resampling.BICUBIC, box=(0, top * down, columns, bottom * down)
    )
    return np.asarray(window)
