"""Where the files of Adobe's data set and of its backgrounds lie, and which are missing."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow_datasets as tfds

Path = tfds.core.Path

TRAINING = "Combined_Dataset/Training_set"
TEST = "Combined_Dataset/Test_set"
# test_bg_names.txt are the first 1000 photos of this folder, of 2007 and 2008. Most of them are in
# no split of TFDS's voc/2012, which holds the photos for detection alone.
BACKGROUNDS = "VOCdevkit/VOC2012/JPEGImages"
BACKGROUNDS_EACH = 20


class Foreground(NamedTuple):
    """A foreground and its alpha."""

    name: str
    colours: Path
    alpha: Path


class Composite(NamedTuple):
    """A background for a foreground, and the trimap of the two."""

    name: str
    background: Path
    trimap: Path


def training_foregrounds(manual: Path, instructions: str) -> list[Foreground]:
    """The foregrounds that training_fg_names.txt lists, in its order.

    Raises ValueError that names every missing file and ends in the instructions.
    """
    folder = manual / TRAINING
    parts = [folder / part for part in ("Adobe-licensed images", "Other")]
    places = {kind: [part / kind for part in parts] for kind in ("fg", "alpha")}
    names = folder / "training_fg_names.txt"
    missing = _absent([names, *places["fg"], *places["alpha"]])
    foregrounds = [
        Foreground(
            Path(name).stem,
            _find(name, places["fg"], missing),
            _find(name, places["alpha"], missing),
        )
        for name in _lines(names)
    ]
    _check(missing, instructions)
    return foregrounds


def composites(manual: Path, instructions: str) -> list[tuple[Foreground, list[Composite]]]:
    """The foregrounds that test_fg_names.txt lists, each with its share of test_bg_names.txt.

    Raises ValueError as training_foregrounds does, and when the two lists do not fit together.
    """
    folder = manual / TEST
    images, backgrounds = folder / "Adobe-licensed images", manual / BACKGROUNDS
    lists = [folder / f"test_{kind}_names.txt" for kind in ("fg", "bg")]
    folders = [images / part for part in ("fg", "alpha", "trimaps")]
    missing = _absent([*lists, *folders, backgrounds])
    foreground_names, background_names = map(_lines, lists)
    found = []
    for number, name in enumerate(foreground_names):
        stem, first = Path(name).stem, number * BACKGROUNDS_EACH
        colours, alpha = (_find(name, [images / part], missing) for part in ("fg", "alpha"))
        behind = [
            Composite(
                f"{stem}_{i}",
                _find(background, [backgrounds], missing),
                _find(f"{stem}_{i}.png", [images / "trimaps"], missing),
            )
            for i, background in enumerate(background_names[first : first + BACKGROUNDS_EACH])
        ]
        found.append((Foreground(stem, colours, alpha), behind))
    _check(missing, instructions)
    if len(background_names) != BACKGROUNDS_EACH * len(foreground_names):
        raise ValueError(
            f"{lists[1]} names {len(background_names)} backgrounds for {len(foreground_names)} "
            f"foregrounds, but each has {BACKGROUNDS_EACH}: restore both lists as they were sent."
        )
    return found


def _absent(paths: Sequence[Path]) -> dict[str, None]:
    return {str(path): None for path in paths if not path.exists()}


def _find(name: str, folders: Sequence[Path], missing: dict[str, None]) -> Path:
    """The file in the first folder that has it; in the first one, and noted, where none has it."""
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    if all(folder.exists() for folder in folders):
        others = [f"in {folder}" for folder in folders[1:]]
        missing[" or ".join([str(folders[0] / name), *others])] = None
    return folders[0] / name


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _check(missing: dict[str, None], instructions: str) -> None:
    if missing:
        listed = "\n  ".join(missing)
        raise ValueError(
            f"The data set composition_1k misses {len(missing)} files or folders:\n  {listed}\n"
            f"{instructions}"
        )
