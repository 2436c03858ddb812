"""Converts images to sRGB by the ICC profile that their file embeds."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from matting_jax.ranges import CHOICES

PROFILES = CHOICES["data.colour_profile"]
# By the colour space of a profile, the mode of the pixels that it describes.
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Conversion:
    """The conversion of a profile to sRGB, or why there is none.

    Attributes:
        mode: mode of the pixels that the profile describes.
        transform: Pillow's transform; None if the profile is that of sRGB.
        fault: why the profile cannot be used; "" if it can.
    """

    mode: str = ""
    transform: object = None
    fault: str = ""


def to_srgb(image: Image.Image, icc: bytes, name: object) -> Image.Image:
    """Converts an image without transparency to sRGB, in mode RGB.

    The profile of a grey image may be one of RGB, and that of an image in RGB whose pixels are grey
    one of grey. A profile that cannot be used is ignored, and reported once.

    Args:
        image: image of mode L, RGB or CMYK.
        icc: its profile.
        name: name of its file, for the report.
    """
    conversion = conversion_of(icc)
    # Pillow opens grey with alpha of 16 bits as colours.
    if conversion.mode == "L" and image.mode == "RGB" and is_grey(image):
        image = image.getchannel(0)
    grey_axis = image.mode == "L" and conversion.mode == "RGB"
    if not conversion.fault and image.mode != conversion.mode and not grey_axis:
        conversion = Conversion(fault=f"it is for {conversion.mode}, not for {image.mode}")
    if conversion.fault:
        report(icc, conversion.fault, str(name))
        return image.convert("RGB")
    if conversion.transform is None:
        return image.convert("RGB")
    if conversion.mode == "L":  # by its curve, which is far faster than each pixel
        curves = conversion.transform.apply(probe_of("L")).split()
        return Image.merge("RGB", [image.point(list(curve.tobytes())) for curve in curves])
    return conversion.transform.apply(image.convert("RGB") if grey_axis else image)


def is_grey(image: Image.Image) -> bool:
    """Returns whether the channels of an image in mode RGB are equal."""
    red, green, blue = (channel.tobytes() for channel in image.split())
    return red == green == blue


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Converts an image of CIE L*a*b* to sRGB, in mode RGB."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)


def wide_grey_to_srgb(values: np.ndarray, icc: bytes, name: object) -> Image.Image:
    """Converts grey values of 16 bits [H, W] to sRGB, in mode RGB.

    Pillow converts 8 bits: its curve of 256 greys is interpolated.
    """
    ramp = np.asarray(to_srgb(probe_of("L"), icc, name))[0]
    greys = values / 257
    levels = np.arange(256)
    channels = [np.rint(np.interp(greys, levels, ramp[:, i])) for i in range(3)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


@lru_cache(maxsize=64)
def conversion_of(icc: bytes) -> Conversion:
    """Returns the conversion of a profile."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = source.profile.xcolor_space.strip()
        if space not in MODES:
            return Conversion(fault=f"its colour space is {space}")
        mode, srgb = MODES[space], ImageCms.createProfile("sRGB")
        # Little CMS would sample a curve of greys too coarsely near black.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.HIGHRESPRECALC
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", flags=flags)
    except Exception as error:  # of damaged profiles Little CMS raises errors of several kinds
        return Conversion(fault=str(error).rstrip(".") or type(error).__name__)
    probe = probe_of(mode)
    if mode != "CMYK":
        before, after = (np.asarray(x.convert("RGB"), int) for x in (probe, transform.apply(probe)))
        if abs(after - before).max() <= 1:  # so that the pixels of sRGB stay as they are
            transform = None
    return Conversion(mode, transform)


def probe_of(mode: str) -> Image.Image:
    """Returns colours that show whether a profile is that of sRGB."""
    greys = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode != "RGB":
        return greys
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return Image.fromarray(np.hstack([colours, np.asarray(greys.convert("RGB"))]))


@lru_cache(maxsize=1024)
def report_once(icc: bytes, fault: str) -> list[str]:
    """Returns the list that the first report of a profile fills."""
    return []


def report(icc: bytes, fault: str, name: str) -> None:
    """Warns of a profile that cannot be used, for the first file that has it."""
    reported = report_once(icc, fault)
    if not reported:
        reported.append(name)
        logger.warning(
            "%s: its colour profile cannot be used and is ignored (%s): its colours are read as "
            "sRGB; other files with this profile are not reported",
            name,
            fault,
        )
