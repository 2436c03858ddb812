"""Colour profiles, and conversions by Little CMS alone."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms

from tests.helpers import ROOT

CASES = ROOT / "tests" / "cases"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def profile_of(path):
    with Image.open(path) as image:
        return image.info["icc_profile"]


def grey_profile(gamma):
    """Returns an ICC profile of grey values with a gamma, version 2."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    tags = [(b"desc", text + bytes(-len(text) % 4)), (b"wtpt", white), (b"kTRC", curve)]
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags:
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


PROFILES = {
    "": b"",
    "srgb": SRGB.tobytes(),
    "adobe": profile_of(CASES / "colour_profile/photos/adobe.png"),
    "p3": profile_of(CASES / "colour_profile/photos/p3.jpg"),
}
GREYS = {"": b"", "gamma 1.8": grey_profile(1.8), "gamma 1": grey_profile(1.0)}


def converted(rgb, icc):
    """Converts an array RGB or grey to sRGB by Little CMS alone."""
    image = Image.fromarray(rgb)
    if not icc:
        return np.asarray(image.convert("RGB"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return np.asarray(ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB"))
