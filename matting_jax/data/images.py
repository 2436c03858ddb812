"""Photos, cut-outs and mattes from any file that Pillow opens, as 8-bit arrays."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

File = str | Path | BinaryIO
T = TypeVar("T")

SUFFIXES = frozenset(
    ".avif .bmp .gif .heic .heif .j2k .jfif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif "
    ".tiff .webp".split()
)


class Header(NamedTuple):
    """What a readable file holds: its size as displayed, and whether it has transparency."""

    width: int
    height: int
    transparent: bool


def read_image(file: File) -> np.ndarray:
    """Reads a photo: uint8 [H, W, 3] RGB, transparency dropped.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _read(file, lambda image: np.asarray(_rgb(image)))


def read_rgba(file: File) -> np.ndarray:
    """Reads a cut-out: uint8 [H, W, 4], straight colours and alpha, 255 where it has none.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _read(file, lambda image: np.asarray(_rgba(image)))


def read_alpha(file: File) -> np.ndarray:
    """Reads a matte: uint8 [H, W], the transparency of a cut-out, else the grey value.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _read(file, _alpha)


def read_header(file: File) -> Header:
    """Checks that a file can be decoded, as cheaply as its format allows.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _open(file, _header)


def _read(file: File, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    return _open(file, lambda image: convert(_eight_bits(ImageOps.exif_transpose(image))))


def _open(file: File, use: Callable[[Image.Image], T]) -> T:
    try:
        with Image.open(file) as image:
            return use(image)
    except Exception as error:  # on damaged files Pillow's decoders raise errors of any kind
        raise ValueError(f"Cannot read the image {file}: {_reason(file, error)}.") from error


def _reason(file: File, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(file, str | Path) and os.path.isfile(file) and os.path.getsize(file) == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    return str(error).rstrip(".") or type(error).__name__


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow clips wide grey values when it converts them; wide colours it has scaled already.
    if image.mode == "F":
        raise ValueError("it holds floating-point values, save it with 8 or 16 bits a channel")
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError("it has more than 16 bits a channel, save it with 8 or 16")
    return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _rgba(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("RGB").convert("RGBA")


def _rgb(image: Image.Image) -> Image.Image:
    # Pillow warns of the direct way from a palette with transparency to RGB.
    return _rgba(image).convert("RGB") if image.has_transparency_data else image.convert("RGB")


def _alpha(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        alpha = np.asarray(_rgba(image))[..., 3]
        # Many tools save a grey matte as RGBA with an opaque fourth channel.
        if alpha.min() < 255:
            return alpha
    return np.asarray(image if image.mode == "L" else _rgb(image).convert("L"))


def _header(image: Image.Image) -> Header:
    size, transparent = image.size, image.has_transparency_data
    # Asking a PNG for an EXIF block that is not at its head decodes the pixels.
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    if image.format == "PNG":
        image.verify()
    else:
        # A JPEG read at an eighth of its size is still read to its last byte.
        image.draft("RGB", (1, 1))
        image.load()
    if image.format == "TIFF":  # Pillow turns these as it loads them
        size, exif = image.size, {}
    turned = exif.get(ExifTags.Base.Orientation, 1) >= 5
    return Header(*(size[::-1] if turned else size), transparent)


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image; hidden files are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
