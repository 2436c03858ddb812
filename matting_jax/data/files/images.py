"""Reads photos, cut-outs and alphas from the files of `formats`, as 8-bit arrays.

docs/data.md says what the transparency and the colour profile of a file mean in each role.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag
from PIL.Image import Transpose

from matting_jax.choices import one_of
from matting_jax.data.files import formats, profiles
from matting_jax.data.files.declared import declared_profile

File = str | Path | BinaryIO
T = TypeVar("T")

NEUTRAL = 128  # grey of the wholly transparent pixels of photos, whose colours nobody sees
# Largest difference of the channels of a grey pixel: lossy compression moves them a little.
GREY_SPREAD = 24

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


# How to make a grey image, by its role.
GREY_ADVICE = {
    "an alpha": "convert it, for a mask of class N by "
    "Image.fromarray(np.uint8(255 * (np.asarray(image) == N)))",
    "a trimap": "save it in grey, 0 for background, 128 for unknown and 255 for foreground",
}


class Header(NamedTuple):
    """The size of an image as displayed, and whether it has transparency."""

    width: int
    height: int
    transparent: bool

    def __str__(self) -> str:
        """Returns the size in words."""
        return f"{self.width} x {self.height}"


class Photo(NamedTuple):
    """A photo and its own transparency."""

    image: np.ndarray  # uint8 [H, W, 3], neutral grey where it is wholly transparent
    opacity: np.ndarray | None  # uint8 [H, W]; None if it is opaque everywhere


def read_photo(file: File, profile: str = "srgb") -> Photo:
    """Reads a photo, or the first frame of an animation, with its own transparency.

    Args:
        file: the file.
        profile: config.data.colour_profile.

    Raises:
        ValueError: with the file's name, if it cannot be read.
    """
    rgba = read_rgba(file, profile, opaque=False)
    if rgba.shape[-1] == 3:
        return Photo(rgba, None)
    colours, opacity = rgba[..., :3], np.ascontiguousarray(rgba[..., 3])
    if opacity.min() == 255:
        return Photo(np.ascontiguousarray(colours), None)
    # Editors keep the colours of erased pixels, or write black.
    return Photo(np.where(opacity[..., None] > 0, colours, np.uint8(NEUTRAL)), opacity)


def read_visible(file: File, profile: str = "srgb") -> np.ndarray:
    """Reads a photo or a background as `read_photo`: uint8 [H, W, 3], only the colours."""
    return read_photo(file, profile).image


def read_image(file: File, profile: str = "srgb") -> np.ndarray:
    """Reads the colours of a foreground: uint8 [H, W, 3], also where it is transparent.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return np.ascontiguousarray(read_rgba(file, profile, opaque=False)[..., :3])


def read_rgba(file: File, profile: str = "srgb", *, opaque: bool = True) -> np.ndarray:
    """Reads a cut-out: uint8 [H, W, 4], straight colours and alpha.

    Args:
        file: the file.
        profile: config.data.colour_profile.
        opaque: whether a file without transparency has 255 as its alpha; else [H, W, 3].

    Raises:
        ValueError: with the file's name, if it cannot be read.
    """
    one_of(profile, profiles.PROFILES, "config.data.colour_profile")

    def convert(image: Image.Image) -> np.ndarray:
        icc = declared_profile(image, file) if profile == "srgb" else b""
        colours = to_colours(turn_upright(image), icc, file)
        return np.asarray(colours.convert("RGBA") if opaque else colours)

    return open_with(file, convert)


def read_alpha(file: File, *, grey_if_opaque: bool = False) -> np.ndarray:
    """Reads an alpha: uint8 [H, W], the transparency of a file that has one, else the grey value.

    Args:
        file: the file.
        grey_if_opaque: whether to read the grey value of files that are opaque everywhere, and of
            colours, as official data sets need it.

    Raises:
        ValueError: with the file's name, if it cannot be read or holds colours.
    """
    return open_with(
        file, lambda image: alpha_of(to_eight_bits(turn_upright(image)), grey_if_opaque)
    )


def read_label(file: File) -> np.ndarray:
    """Reads the class of each pixel: uint8 [H, W], the grey value or the palette index.

    Raises ValueError, with the file's name, if it cannot be read or has colours.
    """
    return open_with(file, label_of)


def read_header(file: File) -> Header:
    """Reads size and transparency, and checks that the file can be decoded.

    As cheaply as its format allows.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return open_with(file, header_of)


def has_profile(file: File) -> bool:
    """Returns whether a file says that it is not in sRGB; False if it cannot be read."""
    try:
        return open_with(file, lambda image: bool(declared_profile(image, file)))
    except ValueError:
        return False


def count_frames(file: File) -> int:
    """Counts the frames or pages of a file, without the previews that cameras add to a photo.

    Raises ValueError, with the file's name, if it cannot be read.
    """
    return open_with(file, frames_of)


def open_with(file: File, use: Callable[[Image.Image], T]) -> T:
    """Opens a file and returns the result of `use`.

    Raises ValueError, with the file's name and the reason, for any error.
    """
    try:
        if isinstance(file, str | Path):
            check_regular(file)
            # Not by name: Pillow would map plain TIFF files into memory and scramble rotated ones.
            stream = open(file, "rb")
        else:
            stream = nullcontext(file)
        with stream as opened, Image.open(opened, formats=formats.readable()) as image:
            check_kind(image)
            return use(image)
    except Exception as error:  # Pillow's decoders raise errors of any kind on damaged files
        raise ValueError(f"cannot read the image {file}: {reason_of(file, error)}") from error


def check_regular(file: str | Path) -> None:
    """Raises ValueError for what is neither a file nor missing: opening a pipe may never end."""
    mode = os.stat(file).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file")


def reason_of(file: File, error: Exception) -> str:
    """Returns why a file cannot be read, in words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * Image.MAX_IMAGE_PIXELS} pixels, reduce it"
    if isinstance(file, str | Path) and os.path.isfile(file) and os.path.getsize(file) == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return formats.unreadable_reason(start_of(file))
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def start_of(file: File) -> bytes:
    """Returns the first bytes of a file, which show its format."""
    if isinstance(file, str | Path):
        with open(file, "rb") as stream:
            return stream.read(32)
    file.seek(0)
    return file.read(32)


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
    """Converts grey values of 16 bits to 8 bits, and the colour that PNG calls transparent."""
    # Pillow clips grey when it converts it; of 16-bit colours it keeps the high byte.
    key = image.info.get("transparency")
    if not image.mode.startswith("I"):
        if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
            image.info["transparency"] = tuple(value >> 8 for value in key)
        return image
    wide = wide_values(image)
    grey = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if key is not None:
        grey.putalpha(Image.fromarray(np.where(wide == key, 0, 255).astype(np.uint8)))
    return grey


def is_wide_grey(image: Image.Image) -> bool:
    """Returns whether an image holds grey values of 16 bits only."""
    return image.mode.startswith("I") and not image.has_transparency_data


def wide_values(image: Image.Image) -> np.ndarray:
    """Returns grey values of 16 bits as int64; ValueError if they have more bits."""
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError("it has more than 16 bits a channel, save it with 8 or 16")
    return wide


def to_colours(image: Image.Image, icc: bytes, name: File) -> Image.Image:
    """Converts an upright image to RGB, or to RGBA if it has transparency, in sRGB.

    Args:
        image: the image.
        icc: its colour profile; b"" for sRGB.
        name: its file, for reports.
    """
    if icc and is_wide_grey(image):
        return profiles.wide_grey_to_srgb(wide_values(image), icc, name)
    image = to_eight_bits(image)
    if image.mode == "LAB":
        return profiles.lab_to_srgb(image)
    if not icc:
        mode = "RGBA" if image.has_transparency_data else "RGB"
        return image if image.mode == mode else image.convert(mode)  # converting would copy it
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode == "CMYK":
        opaque = image
    elif image.mode in ("1", "L", "LA", "La"):
        opaque = image if image.mode == "L" else image.convert("LA").getchannel("L")
    else:
        opaque = image.convert("RGBA").convert("RGB") if alpha is not None else image.convert("RGB")
    colours = profiles.to_srgb(opaque, icc, name)
    if alpha is not None:
        colours = colours.copy()
        colours.putalpha(alpha)
    return colours


def alpha_of(image: Image.Image, grey_if_opaque: bool = False) -> np.ndarray:
    """Returns the transparency of an image that has one, else the grey value, uint8 [H, W].

    Raises ValueError for colours unless `grey_if_opaque`; see `read_alpha`.
    """
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if not grey_if_opaque or alpha.min() < 255:
            return alpha
    return grey_of(image, "an alpha", check=not grey_if_opaque)


def grey_of(image: Image.Image, role: str, check: bool = True) -> np.ndarray:
    """Returns the grey value of an image, uint8 [H, W]; transparency is ignored.

    Raises ValueError, which says what `role` the image has, if it has colours.
    """
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"))
    # Pillow warns when a palette with transparency is converted to RGB directly.
    colours = image.convert("RGBA").convert("RGB") if image.has_transparency_data else image
    colours = colours.convert("RGB")
    if check:
        values = np.asarray(colours)
        spread = int((values.max(-1) - values.min(-1)).max())
        if spread > GREY_SPREAD:
            kind = "a palette of colours, as of classes" if image.mode == "P" else "colours"
            raise ValueError(f"it has {kind}, but {role} is grey: {GREY_ADVICE[role]}")
    return np.asarray(colours.convert("L"))


def label_of(image: Image.Image) -> np.ndarray:
    """Returns grey values or palette indices, uint8 [H, W]."""
    if image.mode not in ("L", "P"):
        raise ValueError(
            f"its mode is {image.mode}, but a label holds the number of a class at each pixel: "
            "save it in grey or with a palette, with 8 bits"
        )
    return np.asarray(turn_upright(image))


def header_of(image: Image.Image) -> Header:
    """Returns the header of an image after decoding it."""
    size, transparent = image.size, image.has_transparency_data
    # Reading an EXIF block that is not at the start of a PNG decodes the pixels.
    orientation = orientation_of(image) if image.format != "PNG" or "exif" in image.info else 1
    # A JPEG decoded at an eighth of its size is still read to its last byte.
    image.draft("RGB", (1, 1))
    image.load()
    to_eight_bits(image)
    if image.format == "TIFF":  # Pillow turns these as it loads them
        size, orientation = image.size, 1
    turned = orientation in (5, 6, 7, 8)
    return Header(*(size[::-1] if turned else size), transparent)
