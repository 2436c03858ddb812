"""Image files of kinds that Pillow reads but cannot write."""

import struct
import zlib


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(header, *chunks):
    """A PNG of width, height, depth and colour type `header`, with (name, body) after it."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    body = b"".join(png_chunk(*chunk) for chunk in (*chunks, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + head + body


def write_png16(path, values):
    """Writes uint16 [H, W, C] as a PNG: 1 to 4 channels."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    path.write_bytes(png((width, height, 16, colour_type), (b"IDAT", zlib.compress(rows))))


def write_tiff16(path, values, *, planes=False, white_is_zero=False):
    """Writes uint16 [H, W, C] as an uncompressed TIFF: 1, 3 or 4 channels."""
    height, width, channels = values.shape
    strips = [values.astype("<u2").tobytes()]
    if planes:
        strips = [values[..., i].astype("<u2").tobytes() for i in range(channels)]
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    short, long = "H", "I"
    tags = {  # number: type, values
        256: (short, [width]),
        257: (short, [height]),
        258: (short, [16] * channels),
        259: (short, [1]),
        262: (short, [2 if channels > 1 else int(not white_is_zero)]),
        273: (long, starts),
        277: (short, [channels]),
        278: (short, [height]),
        279: (long, [len(strip) for strip in strips]),
        284: (short, [2 if planes else 1]),
    }
    if channels == 4:
        tags[338] = (short, [2])
    pixels = b"".join(strips)
    start = 8 + len(pixels)
    entries, further = b"", b""
    end = start + 2 + 12 * len(tags) + 4
    for number, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        entries += struct.pack("<HHI", number, 3 if kind == short else 4, len(numbers))
        if len(packed) > 4:
            entries += struct.pack("<I", end + len(further))
            further += packed
        else:
            entries += packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + further
    path.write_bytes(b"II" + struct.pack("<HI", 42, start) + pixels + directory)
