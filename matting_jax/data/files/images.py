"""Photos, cut-outs and mattes from any file that Pillow opens, as 8-bit arrays."""

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
# Orientation of EXIF: what turns the stored pixels upright.
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
    """What a readable file holds: its size as displayed, and whether it has transparency."""

    width: int
    height: int
    transparent: bool


def read_image(file: File) -> np.ndarray:
    """Reads a photo, the first frame of an animation: uint8 [H, W, 3] RGB, transparency dropped.

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


def read_label(file: File) -> np.ndarray:
    """Reads the class of each pixel: uint8 [H, W], the grey value or the number in the palette.

    Raises ValueError, naming the file, when it cannot be read, or holds colours.
    """
    return _open(file, _numbers)


def read_exact_alpha(file: File) -> np.ndarray:
    """Reads a matte as read_alpha does, but keeps grey values of 16 bits: float32 [H, W] in [0, 1].

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _open(file, lambda image: _exact_alpha(_upright(image)))


def read_header(file: File) -> Header:
    """Checks that a file can be decoded, as cheaply as its format allows.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _open(file, _header)


def count_frames(file: File) -> int:
    """How many frames or pages a file holds; what a camera adds to its photo is none.

    Raises ValueError, naming the file, when it cannot be read.
    """
    return _open(file, _frames)


def _read(file: File, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    return _open(file, lambda image: convert(_eight_bits(_upright(image))))


def _open(file: File, use: Callable[[Image.Image], T]) -> T:
    try:
        # Not by name: Pillow then maps plain TIFF files into memory, and scrambles turned ones.
        stream = open(file, "rb") if isinstance(file, str | Path) else nullcontext(file)
        with stream as opened, Image.open(opened) as image:
            _check_kind(image)
            return use(image)
    except Exception as error:  # on damaged files Pillow's decoders raise errors of any kind
        raise ValueError(f"Cannot read the image {file}: {_reason(file, error)}.") from error


def _reason(file: File, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * Image.MAX_IMAGE_PIXELS} pixels, reduce it"
    if isinstance(file, str | Path) and os.path.isfile(file) and os.path.getsize(file) == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a format that Pillow reads"
    return str(error).rstrip(".") or type(error).__name__


def _check_kind(image: Image.Image) -> None:
    if image.mode == "F":
        raise ValueError("it holds floating-point values, save it with 8 or 16 bits a channel")
    if image.format == "TIFF" and max(image.tag_v2.get(Tag.BitsPerSample, (1,))) > 8:
        tags = image.tag_v2
        inverted = tags.get(Tag.PhotometricInterpretation) == 0
        planar = tags.get(Tag.PlanarConfiguration) == 2 and image.info.get("compression") == "raw"
        if inverted or planar:  # Pillow decodes both wrongly, without a word
            kind = "with white as 0" if inverted else "in planes"
            raise ValueError(f"it is a 16-bit TIFF file {kind}, save it as PNG")


def _upright(image: Image.Image) -> Image.Image:
    # Not by Pillow's own function: it writes the EXIF data again, and fails where they are odd.
    image.load()  # this turns a TIFF file
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(Tag.Orientation, 1)
    except Exception:  # on damaged EXIF data, without which the photo is still whole
        return 1


def _frames(image: Image.Image) -> int:
    if image.format == "MPO":  # a phone's JPEG with a preview, a depth map or a gain map behind it
        return 1
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # what follows a whole first frame is damaged
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow clips wide grey values when it converts them; of wide colours it keeps the high byte.
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(((_wide(image) * 255 + 32767) // 65535).astype(np.uint8))


def _wide(image: Image.Image) -> np.ndarray:
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError("it has more than 16 bits a channel, save it with 8 or 16")
    return wide


def _rgba(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("RGB").convert("RGBA")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image  # converting would copy it
    # Pillow warns of the direct way from a palette with transparency to RGB.
    return _rgba(image).convert("RGB") if image.has_transparency_data else image.convert("RGB")


def _alpha(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        alpha = np.asarray(_rgba(image))[..., 3]
        # Many tools save a grey matte as RGBA with an opaque fourth channel.
        if alpha.min() < 255:
            return alpha
    return np.asarray(image if image.mode == "L" else _rgb(image).convert("L"))


def _numbers(image: Image.Image) -> np.ndarray:
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"its mode is {image.mode}, but a label holds the number of a class at each pixel: "
            "save it grey or with a palette, of 8 bits"
        )
    return np.asarray(_upright(image))


def _exact_alpha(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        return np.divide(_wide(image), 65535, dtype=np.float32)
    return np.divide(_alpha(image), 255, dtype=np.float32)


def _header(image: Image.Image) -> Header:
    size, transparent = image.size, image.has_transparency_data
    # Asking a PNG for an EXIF block that is not at its head decodes the pixels.
    orientation = _orientation(image) if image.format != "PNG" or "exif" in image.info else 1
    if image.format == "PNG":
        image.verify()
    else:
        # A JPEG read at an eighth of its size is still read to its last byte.
        image.draft("RGB", (1, 1))
        image.load()
        _eight_bits(image)
    if image.format == "TIFF":  # Pillow turns these as it loads them
        size, orientation = image.size, 1
    turned = orientation in (5, 6, 7, 8)
    return Header(*(size[::-1] if turned else size), transparent)


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image; hidden files are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
