"""The record of a folder of predictions: predictions.jsonl, a line for each photo."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ml_collections import ConfigDict

from matting_jax.data.files.sizes import read_size
from matting_jax.files import append_whole, writing
from matting_jax.models import rule_options

try:
    import fcntl
except ImportError:  # Windows, where appending is not locked
    fcntl = None

NAME = "predictions.jsonl"


def append_line(
    output: Path,
    photo: Path,
    seconds: float | None,
    fault: str | None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Appends the line of a photo to predictions.jsonl.

    Several processes may append to one file, and a line that a killed one left unfinished does not
    spoil the next.

    Args:
        output: folder of the results.
        photo: the photo, whose size [width, height] is read from its header.
        seconds: time that was spent on it; None: unknown.
        fault: why it has no results; None: it has.
        options: those that the results were made with; None: unknown.

    Raises:
        WriteError: if the file cannot be written.
    """
    line = {
        "file": str(photo),
        "size": size_of(photo),
        "seconds": None if seconds is None else round(seconds, 3),
        "fault": fault,
        "options": options,
    }
    path = output / NAME
    with writing(path), path.open("a+b", buffering=0) as file:
        lock(file)
        start = b"" if ends_a_line(file) else b"\n"
        append_whole(file, start + json.dumps(line).encode() + b"\n")


def shared_options(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields of a config that change the results of the same weights."""
    return {
        "network": config.name,
        "test_time": rule_options(config.name) | dict(config.test_time),
        "compute_dtype": config.compute_dtype,
        "colour_profile": config.data.colour_profile,
    }


def read_lines(output: Path) -> dict[str, dict[str, Any]]:
    """Returns the last line of each photo in predictions.jsonl by `file`; unfinished ones do not
    count."""
    lines = {}
    with suppress(FileNotFoundError):
        for text in (output / NAME).read_bytes().splitlines():
            with suppress(ValueError, TypeError, KeyError):
                line = json.loads(text)
                lines[line["file"]] = line
    return lines


def complete_lines(output: Path, photos: Sequence[Path]) -> None:
    """Appends lines of photos that have results, but whose lines a killed run did not write."""
    lines = read_lines(output)
    for photo in photos:
        line = lines.get(str(photo))
        if line is None or line.get("fault"):
            append_line(output, photo, None, None)


def size_of(photo: Path) -> tuple[int, int] | None:
    """Returns width and height of a photo as displayed, or None if its header cannot be read."""
    with suppress(ValueError):
        height, width = read_size(photo)
        return width, height
    return None


def lock(file: BinaryIO) -> None:
    """Waits until no other process appends to an open file; closing it lets the next one go on."""
    if fcntl:
        with suppress(OSError):  # not all file systems have locks
            fcntl.lockf(file, fcntl.LOCK_EX)


def ends_a_line(file: BinaryIO) -> bool:
    """Returns whether an open file is empty or ends with a whole line."""
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
