"""Where the files of Adobe's data set and of its backgrounds lie, and which are missing."""

from pathlib import PurePath
from typing import NamedTuple

from matting_jax.data.prepared.manual import (
    VOC,
    Foreground,
    Path,
    absent,
    check_missing,
    check_share,
    find,
    lines,
    share,
)

NAME = "composition_1k"
TRAINING = "Combined_Dataset/Training_set"
TEST = "Combined_Dataset/Test_set"
BACKGROUNDS_EACH = 20


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
    missing = absent([names, *places["fg"], *places["alpha"]])
    foregrounds = [
        Foreground(
            PurePath(name).stem,
            find(name, places["fg"], missing),
            find(name, places["alpha"], missing),
        )
        for name in lines(names)
    ]
    check_missing(missing, NAME, instructions)
    return foregrounds


def composites(manual: Path, instructions: str) -> list[tuple[Foreground, list[Composite]]]:
    """The foregrounds that test_fg_names.txt lists, each with its share of test_bg_names.txt.

    Raises ValueError as training_foregrounds does, and when the two lists do not fit together.
    """
    folder = manual / TEST
    images, backgrounds = folder / "Adobe-licensed images", manual / VOC
    # The list of backgrounds holds the first 1000 photos of the folder, of 2007 and 2008.
    lists = [folder / f"test_{kind}_names.txt" for kind in ("fg", "bg")]
    folders = [images / part for part in ("fg", "alpha", "trimaps")]
    missing = absent([*lists, *folders, backgrounds])
    foreground_names, background_names = map(lines, lists)
    found = []
    for number, name in enumerate(foreground_names):
        stem = PurePath(name).stem
        colours, alpha = (find(name, [images / part], missing) for part in ("fg", "alpha"))
        behind = [
            Composite(
                f"{stem}_{i}",
                find(background, [backgrounds], missing),
                find(f"{stem}_{i}.png", [images / "trimaps"], missing),
            )
            for i, background in enumerate(share(background_names, number, BACKGROUNDS_EACH))
        ]
        found.append((Foreground(stem, colours, alpha), behind))
    check_missing(missing, NAME, instructions)
    check_share(lists[1], len(found), BACKGROUNDS_EACH)
    return found
