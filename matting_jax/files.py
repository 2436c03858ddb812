"""Files and folders that are written atomically, and those that come with the library."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def shipped_folder(name: str) -> Path:
    """Returns a folder that comes with the library: that of the installed package or checkout."""
    package = Path(__file__).resolve().parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


class WriteError(OSError):
    """A file or folder could not be written.

    Attributes:
        path: the file or folder.
        reason: why, and what to do.
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(f"cannot write {path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.reason)  # for errors of other processes


def no_room(error: BaseException) -> str:
    """Returns why there is no room for a file, and what to do; "" for another error.

    Libraries that are not written in Python have the reason in their text only.
    """
    number, text = getattr(error, "errno", None), str(error).lower()
    if number == errno.EFBIG or "file too large" in text:
        return "the file would be larger than its file system, or ulimit -f, allows"
    if number in (errno.ENOSPC, errno.EDQUOT) or any(
        words in text for words in ("no space left", "disk quota exceeded")
    ):
        return "the disk is full: free some space and run the command again"
    return ""


def file_above(path: Path) -> Path | None:
    """Returns the file that stands where a path needs a folder, or None."""
    return next((parent for parent in path.parents if parent.is_file()), None)


def check_new_file(path: Path, overwrite: bool) -> None:
    """Raises OSError if a file cannot be written, or would replace one without `overwrite`."""
    if file := file_above(path):
        raise NotADirectoryError(f"cannot write {path}: {file} is a file, not a folder")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; give the name of a file")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists already: pass --overwrite to replace it")


@contextlib.contextmanager
def writing(path: Path, place: Path | None = None) -> Iterator[None]:
    """Raises WriteError with `path` for what cannot be written in the block.

    These are files at `place` or below it, by default at `path`, and all files on a full disk.
    """
    place = path if place is None else place
    try:
        yield
    except WriteError as error:
        if not error.path.is_relative_to(place) or error.path == path:
            raise
        raise WriteError(path, error.reason) from error
    except Exception as error:
        reason, file = no_room(error), getattr(error, "filename", None)
        if not reason and isinstance(file, str | os.PathLike) and isinstance(error, OSError):
            if above := file_above(path):
                reason = f"{above} is a file, not a folder"
            elif Path(file).is_relative_to(place) or path.is_relative_to(file):
                reason = (error.strerror or str(error)).lower()
        if not reason:
            raise
        raise WriteError(path, reason) from error


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary file to write, which replaces `path` only if the block succeeds.

    Raises WriteError if the file cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary folder to fill, which replaces `path` only if the block succeeds.

    Raises WriteError if the folder cannot be written.
    """
    path = path.resolve()
    temporary, replaced = (path.with_name(f".{uuid.uuid4().hex}") for _ in range(2))
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
            shutil.rmtree(replaced, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if replaced.exists() and not path.exists():
                replaced.rename(path)


def append(path: Path, content: bytes) -> None:
    """Appends to a file, which is created if needed.

    Raises WriteError, and leaves the file as it was, if not all of `content` can be written.
    """
    with writing(path), path.open("ab", buffering=0) as file:
        append_whole(file, content)


def append_whole(file: BinaryIO, content: bytes) -> None:
    """Appends to an open file without a buffer, or leaves it as it was and raises OSError."""
    size = file.seek(0, os.SEEK_END)
    try:
        while content:
            content = content[file.write(content) :]  # the last of what fits is not an error
    except OSError:
        file.truncate(size)
        raise
