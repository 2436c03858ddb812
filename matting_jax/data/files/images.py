"""Reads photos, cut-outs and alphas from any file that Pillow opens, as 8-bit arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag
from PIL.Image import Transpose

File = str | Path | BinaryIO
T = TypeVar("T")

SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .heic .heif .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm "
    ".tga .tif .tiff .webp".split()
)
# By the EXIF orientation, the transposition that turns the stored pixels upright.
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """The size of an image as displayed, and whether it has transparency."""

    width: int
    height: int
    transparent: bool

    def __str__(self) -> str:
        """Returns the size in words."""
        return f"{self.width} x {self.height}"


def read_image(file: File) -> np.ndarray:
    """Reads a photo, or the first frame of an animation: uint8 [H, W, 3] RGB, without transparency.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return read_with(file, lambda image: np.asarray(to_rgb(image)))


def read_rgba(file: File) -> np.ndarray:
    """Reads a cut-out: uint8 [H, W, 4], straight colours and alpha, 255 without transparency.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return read_with(file, lambda image: np.asarray(to_rgba(image)))


def read_alpha(file: File) -> np.ndarray:
    """Reads an alpha: uint8 [H, W], the transparency of a cut-out, else the grey value.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return read_with(file, alpha_of)


def read_label(file: File) -> np.ndarray:
    """Reads the class of each pixel: uint8 [H, W], the grey value or the palette index.

    Raises ValueError, with the file's name, if it cannot be read or has colours.
    """
    return open_with(file, label_of)


def read_exact_alpha(file: File) -> np.ndarray:
    """Reads an alpha as read_alpha, but keeps grey values of 16 bits: float32 [H, W] in [0, 1].

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return open_with(file, lambda image: exact_alpha_of(turn_upright(image)))


def read_header(file: File) -> Header:
    """Reads size and transparency, and checks that the file can be decoded.

    As cheaply as its format allows.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return open_with(file, header_of)


def count_frames(file: File) -> int:
    """Counts the frames or pages of a file, without the previews that cameras add to a photo.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return open_with(file, frames_of)


def read_with(file: File, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Converts the upright image of a file, with 8 bits a channel."""
    return open_with(file, lambda image: convert(to_eight_bits(turn_upright(image))))


def open_with(file: File, use: Callable[[Image.Image], T]) -> T:
    """Opens a file and returns the result of `use`.

    Raises ValueError, with the file's name and the reason, for any error.
    """
    try:
        # Not by name: Pillow would map plain TIFF files into memory and scramble rotated ones.
        stream = open(file, "rb") if isinstance(file, str | Path) else nullcontext(file)
        with stream as opened, Image.open(opened) as image:
            check_kind(image)
            return use(image)
    except Exception as error:  # Pillow's decoders raise errors of any kind on damaged files
        raise ValueError(f"cannot read the image {file}: {reason_of(file, error)}") from error


def reason_of(file: File, error: Exception) -> str:
    """Returns why a file cannot be read, in words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * Image.MAX_IMAGE_PIXELS} pixels, reduce it"
    if isinstance(file, str | Path) and os.path.isfile(file) and os.path.getsize(file) == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a format that Pillow reads"
    return str(error).rstrip(".") or type(error).__name__


def check_kind(image: Image.Image) -> None:
    """Raises ValueError for images that Pillow opens but decodes wrongly."""
    if image.mode == "F":
        raise ValueError("it has floating-point values, save it with 8 or 16 bits a channel")
    if image.format == "TIFF" and max(image.tag_v2.get(Tag.BitsPerSample, (1,))) > 8:
        tags = image.tag_v2
        inverted = tags.get(Tag.PhotometricInterpretation) == 0
        planar = tags.get(Tag.PlanarConfiguration) == 2 and image.info.get("compression") == "raw"
        if inverted or planar:  # Pillow decodes both wrongly, without an error
            kind = "with white as 0" if inverted else "in planes"
            raise ValueError(f"it is a 16-bit TIFF file {kind}, save it as PNG")


def turn_upright(image: Image.Image) -> Image.Image:
    """Turns an image as its EXIF orientation says."""
    # Pillow's exif_transpose writes the EXIF data again and fails if they are malformed.
    image.load()  # this turns a TIFF file
    turn = TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 if there is none."""
    try:
        return image.getexif().get(Tag.Orientation, 1)
    except Exception:  # damaged EXIF data leave the photo intact
        return 1


def frames_of(image: Image.Image) -> int:
    """Returns the number of frames."""
    if image.format == "MPO":  # a phone's JPEG followed by a preview, a depth map or a gain map
        return 1
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # the data after an intact first frame are damaged
        return 1


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Converts grey values of 16 bits to 8 bits."""
    # Pillow clips them when it converts them; of 16-bit colours it keeps the high byte.
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(((wide_values(image) * 255 + 32767) // 65535).astype(np.uint8))


def wide_values(image: Image.Image) -> np.ndarray:
    """Returns grey values of 16 bits as int64; ValueError if they have more bits."""
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError("it has more than 16 bits a channel, save it with 8 or 16")
    return wide


def to_rgba(image: Image.Image) -> Image.Image:
    """Converts an image to RGBA."""
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("RGB").convert("RGBA")


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to RGB, without transparency."""
    if image.mode == "RGB":
        return image  # converting would copy it
    # Pillow warns when a palette with transparency is converted to RGB directly.
    return to_rgba(image).convert("RGB") if image.has_transparency_data else image.convert("RGB")


def alpha_of(image: Image.Image) -> np.ndarray:
    """Returns the transparency, or else the grey value, uint8 [H, W]."""
    if image.has_transparency_data:
        alpha = np.asarray(to_rgba(image))[..., 3]
        # Many tools save a grey alpha as RGBA with an opaque fourth channel.
        if alpha.min() < 255:
            return alpha
    return np.asarray(image if image.mode == "L" else to_rgb(image).convert("L"))


def label_of(image: Image.Image) -> np.ndarray:
    """Returns grey values or palette indices, uint8 [H, W]."""
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"its mode is {image.mode}, but a label holds the number of a class at each pixel: "
            "save it in grey or with a palette, with 8 bits"
        )
    return np.asarray(turn_upright(image))


def exact_alpha_of(image: Image.Image) -> np.ndarray:
    """Returns alpha float32 [H, W] in [0, 1]."""
    if image.mode.startswith("I"):
        return np.divide(wide_values(image), 65535, dtype=np.float32)
    return np.divide(alpha_of(image), 255, dtype=np.float32)


def header_of(image: Image.Image) -> Header:
    """Returns the header of an image after decoding it."""
    size, transparent = image.size, image.has_transparency_data
    # Reading an EXIF block that is not at the start of a PNG decodes the pixels.
    orientation = orientation_of(image) if image.format != "PNG" or "exif" in image.info else 1
    if image.format == "PNG":
        image.verify()
    else:
        # A JPEG decoded at an eighth of its size is still read to its last byte.
        image.draft("RGB", (1, 1))
        image.load()
        to_eight_bits(image)
    if image.format == "TIFF":  # Pillow turns these as it loads them
        size, orientation = image.size, 1
    turned = orientation in (5, 6, 7, 8)
    return Header(*(size[::-1] if turned else size), transparent)


def is_image(path: Path) -> bool:
    """Returns whether a file has the extension of an image and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
