"""Finds the images of folders, and files by their names: one rule for all programs.

Names are compared in Unicode's form NFC, because file systems differ in how they encode accents.
Hidden files and folders, and those that operating systems and servers add, are skipped. Links are
followed, and each folder is entered once. What is not a file, such as a pipe, and links that form a
loop are skipped and reported.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from matting_jax.data.files.formats import SUFFIXES

# Folders of thumbnails, resource forks and deleted files; hidden ones begin with a dot.
SKIPPED = frozenset(("@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "thumbs.db"))
AnyPath = TypeVar("AnyPath", bound=Path)

logger = logging.getLogger("matting_jax")


def nfc(name: str) -> str:
    """Returns a name in Unicode's form NFC."""
    return unicodedata.normalize("NFC", name)


def is_skipped(name: str) -> bool:
    """Returns whether a file or folder is hidden or added by a system."""
    return name.startswith(".") or name.lower() in SKIPPED


def is_image(path: Path) -> bool:
    """Returns whether a file has the extension of an image and is not skipped."""
    return path.suffix.lower() in SUFFIXES and not is_skipped(path.name) and is_file(path)


def is_file(path: Path) -> bool:
    """Returns whether a path is a file, or cannot be found, which reading it then reports."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            logger.warning("%s is skipped: its links form a loop", path)
        return error.errno != errno.ELOOP
    mode = getattr(status, "st_mode", None)
    if mode is None:  # etils.epath, whose files may be in the cloud
        return not path.is_dir()
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        logger.warning("%s is skipped: it is not a regular file", path)
    return stat.S_ISREG(mode)


def images_in(folder: Path) -> list[Path]:
    """Returns the images of a folder, without its subfolders, sorted."""
    return sorted(path for path in folder.iterdir() if is_image(path))


def images_below(folder: Path) -> Iterator[Path]:
    """Yields the images of a tree of folders; a folder that links lead to again is reported."""
    entered: dict[Path, str] = {}
    for path, folders, names in os.walk(folder, followlinks=True):
        place = real(Path(path))
        if place in entered:  # by a link
            logger.info("%s is skipped: it links to %s", path, entered[place])
            folders.clear()
            continue
        entered[place] = path
        # Sorted, so that all machines choose the same of two paths to a folder.
        folders[:] = sorted(name for name in folders if not is_skipped(name))
        yield from (image for name in names if is_image(image := Path(path, name)))


def real(path: Path) -> Path:
    """Returns a path without links, as far as they lead somewhere."""
    return Path(os.path.realpath(path))  # Path.resolve raises RuntimeError for a loop


def by_stem(folder: Path) -> defaultdict[str, list[Path]]:
    """Returns the images of a folder by stem, in NFC."""
    stems = defaultdict(list)
    for path in images_in(folder):
        stems[nfc(path.stem)].append(path)
    return stems


def existing(path: AnyPath) -> AnyPath:
    """Returns the path that exists by this name, in any Unicode form, or `path` if there is none.

    Folders on the way may be in another form too.
    """
    if path.exists() or path.parent == path:
        return path
    parent = existing(path.parent)
    if parent.is_dir() and not path.name.isascii():
        for other in sorted(parent.iterdir()):
            if nfc(other.name) == nfc(path.name):
                return other
    return parent / path.name
