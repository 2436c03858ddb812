"""Finds the colour space that a file says its pixels are in, wherever it says so.

docs/data.md lists the places and their order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD
from PIL.ExifTags import Base as Tag

from matting_jax.data.files.containers import Numbered, contained_colours
from matting_jax.data.files.profiles import report
from matting_jax.data.files.spaces import ADOBE_RGB, SRGB, matrix_profile, numbered_profile

# As libpng: an exponent within 5 % of 2.2, and primaries within 0.01 of sRGB's, are sRGB.
GAMMA_TOLERANCE, PRIMARIES_TOLERANCE = 0.05, 0.01
# Values of EXIF's ColorSpace: cameras write 2 or, by the standard, "uncalibrated" for Adobe RGB.
EXIF_ADOBE_RGB, EXIF_UNCALIBRATED = 2, 65535


def declared_profile(image: Image.Image, name: object) -> bytes:
    """Returns the ICC profile of an image that was just opened; b"" if it is in sRGB.

    A colour space that cannot be used is ignored, and reported once.

    Args:
        image: the image, before its pixels are read.
        name: its file, for the report.
    """
    contained = contained_colours(image)
    embedded = image.info.get("icc_profile")
    if embedded is None and "icc_profile" in image.info:
        report(b"iCCP", "its data are damaged", str(name))
    # PNG's cICP stands above an ICC profile; in other containers the ICC profile is above.
    if isinstance(contained, Numbered) and (image.format == "PNG" or not embedded):
        profile = built(lambda: profile_of_numbers(contained, image.format), contained, name)
        if profile is not None:
            return profile
    elif contained and not embedded:
        return contained
    if embedded:
        return embedded
    if image.format == "PNG":
        if "srgb" in image.info:
            return b""
        if "gamma" in image.info:
            gamma, corners = image.info["gamma"], image.info.get("chromaticity", SRGB)
            said = gamma, corners
            return built(lambda: profile_of_gamma(gamma, corners), said, name) or b""
    return matrix_profile(ADOBE_RGB, 563 / 256) if is_adobe_by_exif(image) else b""


def built(build: Callable[[], bytes], said: object, name: object) -> bytes | None:
    """Returns the profile that `build` returns, or None after a report of why it cannot."""
    try:
        return build()
    except ValueError as error:
        report(repr(said).encode(), str(error), str(name))
        return None


def profile_of_numbers(space: Numbered, kind: str) -> bytes:
    """Returns the profile of a space by its numbers; raises ValueError if it has none."""
    # Pillow decodes the pixels of a PNG as RGB of the full range, whatever its chunk says.
    if kind == "PNG" and (space.matrix, space.full_range) != (0, 1):
        raise ValueError("it holds video levels or YCbCr: save it in sRGB")
    return numbered_profile(space.primaries, space.transfer)


def profile_of_gamma(gamma: float, corners: tuple[float, ...]) -> bytes:
    """Returns the profile of PNG's chunks gAMA and cHRM; raises ValueError if it is impossible."""
    if not 0.1 <= gamma <= 10:
        raise ValueError(f"its gAMA chunk is {gamma}")
    if np.allclose(corners, SRGB, rtol=0, atol=PRIMARIES_TOLERANCE):
        if abs(2.2 * gamma - 1) <= GAMMA_TOLERANCE:
            return b""
        corners = SRGB
    return matrix_profile(tuple(corners), 1 / gamma)


def is_adobe_by_exif(image: Image.Image) -> bool:
    """Returns whether the EXIF data say Adobe RGB, as cameras without an ICC profile do."""
    if image.format == "PNG":
        image.load()  # reading EXIF would do it, and damaged pixels are not damaged EXIF data
    try:
        exif = image.getexif()
        space = exif.get_ifd(IFD.Exif).get(Tag.ColorSpace)
        if space != EXIF_UNCALIBRATED:
            return space == EXIF_ADOBE_RGB
        index = exif.get_ifd(IFD.Interop).get(1, "")
    except Exception:  # damaged EXIF data leave the photo intact
        return False
    return (index.decode("latin1") if isinstance(index, bytes) else str(index))[:3] == "R03"
