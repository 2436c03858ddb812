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
    """Converts an array RGB or grey to sRGB by Little CMS alone, pixel by pixel."""
    image = Image.fromarray(rgb)
    if not icc:
        return np.asarray(image.convert("RGB"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    exact = ImageCms.Flags.NOOPTIMIZE
    return np.asarray(ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB", flags=exact))


def to_lab(rgb):
    """Returns CIE L*a*b* (D50) of sRGB colours [..., 3] in [0, 1], by the formulas."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(  # adapted to D50 by Bradford's transform
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
    x = linear @ to_xyz.T / [0.9642, 1, 0.8249]
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1
    )


def ink_colours():
    """Returns the sRGB colour of each of the 16 full mixtures of four inks, [2, 2, 2, 2, 3]."""
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1)
    absorbed = np.array([[0.9, 0.25, 0.1], [0.1, 0.85, 0.3], [0.05, 0.1, 0.9], [0.85, 0.85, 0.85]])
    return np.prod(1 - inks[..., None] * absorbed, axis=-2)


def cmyk_profile():
    """Returns an ICC profile of four inks with the colours of `ink_colours`, version 2."""
    lab = to_lab(ink_colours()) * [2.55, 1, 1] + [0, 128, 128]
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += (65536 * np.eye(3)).astype(">i4").tobytes()
    table += 4 * identity + np.rint(lab).astype(np.uint8).tobytes() + 3 * identity
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 12 * 2
    tags = struct.pack(">I4sII", 2, b"wtpt", start, 20)
    tags += struct.pack(">4sII", b"A2B0", start + 20, len(table))
    head = struct.pack(">I4sI", start + 20 + len(table), b"lcms", 0x02100000) + b"prtrCMYKLab "
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + white + table
