"""The formats of image files: those of Pillow, and of phones by extras of this package."""

from __future__ import annotations

import importlib
from functools import cache
from typing import NamedTuple

from PIL import Image, features

# Pillow's names of the formats that are read. Others are not even tried: Pillow starts Ghostscript
# for PostScript, whatever the file's name says.
READ = tuple("PNG JPEG TIFF WEBP GIF BMP PPM JPEG2000 AVIF HEIF JXL TGA".split())
SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .heic .heif .hif .j2k .jfif .jp2 .jpe .jpeg .jpg .jxl .pbm .pgm .png "
    ".pnm .ppm .tga .tif .tiff .webp".split()
)


class Extra(NamedTuple):
    """A format that Pillow reads with another package, an extra of this one."""

    name: str  # in errors
    extra: str
    module: str
    register: str = ""  # function of the module; "": importing it suffices


HEIF = Extra("a HEIC file, as phones write them", "heif", "pillow_heif", "register_heif_opener")
JPEG_XL = Extra("a JPEG XL file", "jxl", "pillow_jxl")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
STARTS = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"RIFF": "WebP", b"BM": "BMP"}
POSTSCRIPT = (b"%!PS", b"%PDF", b"\xc5\xd0\xd3\xc6")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def readable() -> tuple[str, ...]:
    """Returns Pillow's names of the formats that can be read here."""
    register_extras()
    Image.init()
    return tuple(name for name in READ if name in Image.OPEN)


@cache
def register_extras() -> None:
    """Lets Pillow open the formats of the extras that are installed."""
    for extra in (HEIF, JPEG_XL):
        try:
            module = importlib.import_module(extra.module)
        except ImportError:
            continue
        if extra.register:
            getattr(module, extra.register)()


def unreadable_reason(start: bytes) -> str:
    """Returns why Pillow cannot identify a file that starts with these 32 bytes."""
    box, brand = start[4:8], start[8:12]
    if box == b"ftyp" and (brand in (b"avif", b"avis") or b"avif" in start[16:32]):
        if features.check("avif"):
            return "it is an AVIF file, but damaged"
        return "it is an AVIF file: install Pillow 11.3 or later from a wheel to read it"
    if box == b"ftyp" and brand in HEIF_BRANDS:
        return missing_reason(HEIF)
    if start[:2] == b"\xff\x0a" or start[4:12] == b"JXL \r\n\x87\n":
        return missing_reason(JPEG_XL)
    if start[:4] in TIFF:
        return (
            "it is a TIFF file that is damaged, or whose pixels Pillow does not read, such as "
            "floating-point colours: save it with 8 or 16 bits a channel"
        )
    for known, name in STARTS.items():
        if start.startswith(known):
            return f"it is a {name} file, but damaged"
    if start[:4] in POSTSCRIPT:
        return "it is a PostScript or PDF file, which is never run: save it as PNG"
    return f"it is not an image of a format that is read ({', '.join(READ)})"


def missing_reason(extra: Extra) -> str:
    """Returns the reason for a format of an extra."""
    try:
        importlib.import_module(extra.module)
    except ImportError:
        return f"it is {extra.name}: pip install 'matting_jax[{extra.extra}]' to read it"
    return f"it is {extra.name}, but damaged"
