"""Builds ICC profiles of colour spaces that files name by primaries and a transfer curve."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# x and y of white, red, green and blue.
Primaries = tuple[float, ...]

D65, ILLUMINANT_C, DCI_WHITE = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
SRGB: Primaries = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_RGB: Primaries = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)

# Primaries by their number in ITU-T H.273; 2 is "unspecified".
PRIMARIES: dict[int, Primaries] = {
    1: SRGB,
    2: SRGB,
    4: (*ILLUMINANT_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*ILLUMINANT_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (*DCI_WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
# Exponents by the number of a transfer function in H.273; None is sRGB's curve. The camera curve of
# BT.709 (1, 6, 14, 15) is shown as sRGB's in photos, by all viewers.
GAMMAS: dict[int, float | None] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15)),
    4: 2.2,
    5: 2.8,
    8: 1.0,
}
HDR = {16: "PQ", 18: "HLG"}  # transfer functions of scenes brighter than white

D50 = np.array([0.9642, 1, 0.8249])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# Y = (a X + b) ** g for X >= d, else c X.
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def numbered_profile(primaries: int, transfer: int) -> bytes:
    """Returns the profile of primaries and a transfer function of H.273; b"" for sRGB.

    Raises ValueError if they have no profile of 8 bits.
    """
    if primaries not in PRIMARIES or transfer not in GAMMAS:
        kind = HDR.get(transfer, "unknown")
        raise ValueError(
            f"its colours are {kind}: primaries {primaries} and transfer function {transfer} of "
            "ITU-T H.273; save it in sRGB"
        )
    return matrix_profile(PRIMARIES[primaries], GAMMAS[transfer])


@lru_cache
def matrix_profile(primaries: Primaries, gamma: float | None) -> bytes:
    """Returns an ICC profile of version 4; b"" for that of sRGB.

    Args:
        primaries: x and y of white, red, green and blue.
        gamma: exponent from stored to linear values; None for sRGB's curve.

    Raises:
        ValueError: the primaries or the exponent are impossible.
    """
    if gamma is None and primaries == SRGB:
        return b""
    colours = to_xyz(primaries)
    kind, numbers = (3, SRGB_CURVE) if gamma is None else (0, (gamma,))
    curve = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(numbers)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(D50)}
    for letter, colour in zip((b"r", b"g", b"b"), colours, strict=True):
        tags |= {letter + b"XYZ": b"XYZ \0\0\0\0" + fixed(colour), letter + b"TRC": curve}
    return pack(tags)


def to_xyz(primaries: Primaries) -> np.ndarray:
    """Returns XYZ of red, green and blue at full value, [3, 3], adapted to D50."""
    x, y = np.reshape(primaries, (4, 2)).T
    if not (y > 0).all():
        raise ValueError(f"its primaries are impossible: {primaries}")
    corners = np.stack([x / y, np.ones(4), (1 - x - y) / y], -1)
    white, colours = corners[0], corners[1:]
    try:
        colours = colours * np.linalg.solve(colours.T, white)[:, None]
    except np.linalg.LinAlgError as error:
        raise ValueError(f"its primaries are impossible: {primaries}") from error
    scale = (BRADFORD @ D50) / (BRADFORD @ white)
    return colours @ (np.linalg.inv(BRADFORD) @ (scale[:, None] * BRADFORD)).T


def fixed(numbers: Sequence[float] | np.ndarray) -> bytes:
    """Returns numbers as ICC's s15Fixed16Number."""
    values = np.rint(65536 * np.asarray(numbers, np.float64))
    if not (abs(values) < 2**31).all():
        raise ValueError("its colour space has impossible numbers")
    return values.astype(">i4").tobytes()


def pack(tags: dict[bytes, bytes]) -> bytes:
    """Returns an ICC profile for RGB from its tags."""
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data.ljust(-(-len(data) // 4) * 4, b"\0")
    head = struct.pack(">I4sI", start + len(body), b"", 0x04200000) + b"mntrRGB XYZ "
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + fixed(D50)
    return head.ljust(128, b"\0") + table + body
