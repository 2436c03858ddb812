"""Data sets whose files are put in place by hand: what is there, and what is missing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tensorflow_datasets as tfds

Path = tfds.core.Path

# Of PASCAL VOC 2012. Most of the photos that test sets take are in no split of TFDS's voc/2012,
# which holds those for detection alone.
VOC = "VOCdevkit/VOC2012/JPEGImages"
VOC_ARCHIVE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"


class Foreground(NamedTuple):
    """A foreground and its alpha."""

    name: str
    colours: Path
    alpha: Path


def manual_folder(manager: tfds.download.DownloadManager) -> Path:
    """Where TFDS looks for such files; ValueError, with what to do, where there are none."""
    try:
        return manager.manual_dir
    except AssertionError as error:  # TFDS's way to say that the folder is empty
        raise ValueError(" ".join(str(error).split())) from error


def absent(paths: Iterable[Path]) -> dict[str, None]:
    """Those of the paths that do not exist, in order."""
    return {str(path): None for path in paths if not path.exists()}


def find(name: str, folders: Sequence[Path], missing: dict[str, None]) -> Path:
    """The file in the first folder that has it; in the first one, and noted, where none has it.

    Nothing is noted of a folder that does not exist itself.
    """
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    if all(folder.exists() for folder in folders):
        others = [f"in {folder}" for folder in folders[1:]]
        missing[" or ".join([str(folders[0] / name), *others])] = None
    return folders[0] / name


def lines(path: Path) -> list[str]:
    """The lines of a list that are not empty; none where there is no such file."""
    if not path.exists():
        return []
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def share(names: Sequence[str], number: int, each: int) -> Sequence[str]:
    """The names that belong to the owner `number` of a list that gives every one `each`."""
    return names[number * each : (number + 1) * each]


def check_missing(missing: dict[str, None], name: str, instructions: str) -> None:
    """Raises ValueError that names all that is missing and ends in the instructions."""
    if missing:
        listed = "\n  ".join(missing)
        raise ValueError(
            f"The data set {name} misses {len(missing)} files or folders:\n  {listed}\n"
            f"{instructions}"
        )


def check_share(backgrounds: Path, foregrounds: int, each: int) -> None:
    """Raises ValueError unless a list names `each` backgrounds for every foreground."""
    named = len(lines(backgrounds))
    if named != each * foregrounds:
        raise ValueError(
            f"{backgrounds} names {named} backgrounds for {foregrounds} foregrounds, but each has "
            f"{each}: restore both lists as they were sent."
        )
