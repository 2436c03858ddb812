"""Backgrounds resized by Pillow's bicubic rule, of which only a window is needed."""

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]


def resized_window(
    image: np.ndarray, size: tuple[int, int], box: Box, shape: tuple[int, int]
) -> np.ndarray:
    """What lies in `box` after an image was resized to `size`, itself resized to `shape`.

    image uint8 [H, W, 3]; box: top, left, bottom and right, in pixels of the resized image; size
    and shape: height and width. Where `shape` is that of the box, a slice of the whole but for
    rounding.
    """
    top, left, bottom, right = box
    down, across = image.shape[0] / size[0], image.shape[1] / size[1]
    rows, columns = shape
    # Rows first, as Pillow enlarges whole images; elsewhere it may choose otherwise.
    wide = Image.fromarray(image).resize(
        (columns, image.shape[0]),
        Image.Resampling.BICUBIC,
        box=(left * across, 0, right * across, image.shape[0]),
    )
    window = wide.resize(
        (columns, rows), Image.Resampling.BICUBIC, box=(0, top * down, columns, bottom * down)
    )
    return np.asarray(window)
