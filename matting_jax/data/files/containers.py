"""Reads what files say of their colours where Pillow does not: PNG, AVIF and JPEG 2000."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from PIL import Image

# Where the boxes of colours lie, and how many bytes precede the boxes in a box.
COLOUR_BOXES = {
    "AVIF": ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)),
    "JPEG2000": ((b"jp2h", 0),),
}
EMBEDDED = (2, 3)  # methods of JPEG 2000's colour box that hold an ICC profile


class Numbered(NamedTuple):
    """A colour space by its numbers in ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    full_range: int


def contained_colours(image: Image.Image) -> Numbered | bytes | None:
    """Returns the colour space or the ICC profile of a file that was just opened, None if none.

    These are PNG's cICP chunk, and the colour boxes of AVIF and JPEG 2000. HEIC is read by its
    package.
    """
    stream = image.fp
    if nclx := image.info.get("nclx_profile"):
        names = ("color_primaries", "transfer_characteristics", "matrix_coefficients")
        return Numbered(*(nclx[name] for name in names), nclx["full_range_flag"])
    if stream is None or image.format not in ("PNG", *COLOUR_BOXES):
        return None
    place = stream.tell()
    try:
        if image.format == "PNG":
            return numbered_in_png(stream)
        return colours_in_boxes(stream, image.format)
    except struct.error:  # the container is cut; decoding it reports that
        return None
    finally:
        stream.seek(place)


def numbered_in_png(stream: BinaryIO) -> Numbered | None:
    """Returns the content of PNG's chunk cICP."""
    stream.seek(8)
    while True:
        length, name = struct.unpack(">I4s", stream.read(8))
        if name == b"cICP":
            return Numbered(*struct.unpack(">4B", stream.read(4)))
        if name in (b"IDAT", b"IEND"):
            return None
        stream.seek(length + 4, 1)


def colours_in_boxes(stream: BinaryIO, kind: str) -> Numbered | bytes | None:
    """Returns the colour space or the ICC profile in the boxes of an ISO container."""
    start, end = 0, stream.seek(0, 2)
    for wanted, skipped in COLOUR_BOXES[kind]:
        inside = [place for name, *place in boxes(stream, start, end) if name == wanted]
        if not inside:
            return None
        start, end = inside[0][0] + skipped, inside[0][1]
    for name, first, last in boxes(stream, start, end):
        stream.seek(first)
        data = stream.read(last - first) if name == b"colr" else b""
        if data[:4] == b"nclx":
            primaries, transfer, matrix, flags = struct.unpack(">HHHB", data[4:11])
            return Numbered(primaries, transfer, matrix, flags >> 7)
        if kind == "JPEG2000" and data and data[0] in EMBEDDED:
            return data[3:]
    return None


def boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name, start and end of each box between two places of a file."""
    while start + 8 <= end:
        stream.seek(start)
        size, name = struct.unpack(">I4s", stream.read(8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", stream.read(8)), 16
        stop = end if size == 0 else start + size
        if not start + head <= stop <= end:
            return
        yield name, start + head, stop
        start = stop
