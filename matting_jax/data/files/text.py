"""Reads the text of lists."""

from __future__ import annotations


def decode(data: bytes, name: str) -> str:
    """Returns the text of a file, which is UTF-8 with or without a byte order mark.

    Raises ValueError, with the `name` of the file and the line, for other bytes.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{name} is not UTF-8 (byte {data[error.start]:#x} in line {number}): save it as UTF-8"
        ) from error
