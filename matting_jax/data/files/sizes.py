"""Sizes of images from their headers, without decoding them."""

from __future__ import annotations

from PIL import Image

from matting_jax.data.files.images import File, open_with, orientation_of


def read_size(file: File) -> tuple[int, int]:
    """Returns the height and width of an image as displayed.

    Raises ValueError, with the file's name, if its header cannot be read.
    """
    return open_with(file, size_of)


def size_of(image: Image.Image) -> tuple[int, int]:
    """Returns the height and width of an opened image as displayed."""
    # Pillow gives TIFF files their upright size, and to read an EXIF block that is not at the start
    # of a PNG it decodes the pixels.
    known = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
    turned = known and orientation_of(image) in (5, 6, 7, 8)
    return image.size if turned else image.size[::-1]
