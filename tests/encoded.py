"""Images as the bytes of files."""

import io

from PIL import Image


def png_of(pixels):
    """Returns an image uint8 or uint16 as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
