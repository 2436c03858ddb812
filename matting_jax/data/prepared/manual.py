"""Data sets whose files the user puts in place: finds them, and lists the missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

import tensorflow_datasets as tfds

from matting_jax.data.files.text import decode
from matting_jax.data.files.walk import existing

Path = tfds.core.Path

# Folder of PASCAL VOC 2012. Most of the photos in test sets are in no split of voc/2012 of TFDS,
# which holds only those for detection.
VOC = "VOCdevkit/VOC2012/JPEGImages"
VOC_ARCHIVE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"

# Backgrounds of each test foreground, in Composition-1k and Distinctions-646.
BACKGROUNDS_EACH = 20


class Foreground(NamedTuple):
    """A foreground and its alpha."""

    name: str
    colours: Path
    alpha: Path


def manual_folder(manager: tfds.download.DownloadManager) -> Path:
    """Returns the folder of such files; raises ValueError, with instructions, if it is empty."""
    try:
        return manager.manual_dir
    except AssertionError as error:  # raised if the folder is empty
        raise ValueError(" ".join(str(error).split())) from error


def absent(paths: Iterable[Path]) -> dict[str, None]:
    """Returns the paths that do not exist, in order."""
    return {str(path): None for path in paths if not path.exists()}


def find(name: str, folders: Sequence[Path], missing: dict[str, None]) -> Path:
    """Returns the file of the first folder that has it.

    If none has it, adds it to `missing` and returns its path in the first folder. Adds nothing if a
    folder does not exist either.
    """
    for folder in folders:
        path = existing(folder / name)
        if path.exists():
            return path
    if all(folder.exists() for folder in folders):
        others = [f"in {folder}" for folder in folders[1:]]
        missing[" or ".join([str(folders[0] / name), *others])] = None
    return folders[0] / name


def lines(path: Path) -> list[str]:
    """Returns the lines of a list that are not empty; none if there is no such file.

    Raises ValueError for a file that is not UTF-8.
    """
    if not path.exists():
        return []
    text = decode(path.read_bytes(), str(path))
    return [line.strip() for line in text.splitlines() if line.strip()]


def find_foreground(
    name: str, colours: Sequence[Path], alphas: Sequence[Path], missing: dict[str, None]
) -> Foreground:
    """Finds the colours and the alpha of a file name in folders, as `find` does."""
    return Foreground(
        PurePath(name).stem, find(name, colours, missing), find(name, alphas, missing)
    )


def find_test_layers(
    foreground_list: Path,
    background_list: Path,
    colours: Path,
    alphas: Path,
    backgrounds: Path,
    missing: dict[str, None],
) -> Iterator[tuple[Foreground, list[Path]]]:
    """Finds each listed foreground and its share of the listed backgrounds.

    Args:
        foreground_list: file names of the foregrounds, one a line.
        background_list: file names of `BACKGROUNDS_EACH` backgrounds for each foreground.
        colours: folder of the foregrounds' colours.
        alphas: folder of the foregrounds' alphas.
        backgrounds: folder of the backgrounds.
        missing: gets the files that do not exist.
    """
    background_names = lines(background_list)
    for number, name in enumerate(lines(foreground_list)):
        foreground = find_foreground(name, [colours], [alphas], missing)
        first = number * BACKGROUNDS_EACH
        share = background_names[first : first + BACKGROUNDS_EACH]
        yield foreground, [find(other, [backgrounds], missing) for other in share]


def check_missing(missing: dict[str, None], name: str, instructions: str) -> None:
    """Raises ValueError that lists all missing files and ends in the instructions."""
    if missing:
        listed = "\n  ".join(missing)
        raise ValueError(
            f"the data set {name} lacks {len(missing)} files or folders:\n  {listed}\n"
            f"{instructions}"
        )


def check_share(background_list: Path, foregrounds: int) -> None:
    """Raises ValueError unless a list names `BACKGROUNDS_EACH` backgrounds for every foreground."""
    listed = len(lines(background_list))
    if listed != BACKGROUNDS_EACH * foregrounds:
        raise ValueError(
            f"{background_list} lists {listed} backgrounds for {foregrounds} foregrounds, but "
            f"each needs {BACKGROUNDS_EACH}: restore the owners' lists"
        )
