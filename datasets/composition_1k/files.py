"""Finds the files of Adobe's data set and of its backgrounds, and what is missing of them."""

from typing import NamedTuple

from matting_jax.data.prepared.manual import (
    VOC,
    Foreground,
    Path,
    absent,
    check_missing,
    check_share,
    find,
    find_foreground,
    find_test_layers,
    lines,
)

NAME = "composition_1k"
TRAINING = "Combined_Dataset/Training_set"
TEST = "Combined_Dataset/Test_set"


class Composite(NamedTuple):
    """The background and the trimap of a composite."""

    name: str
    background: Path
    trimap: Path


def find_training_foregrounds(manual: Path, instructions: str) -> list[Foreground]:
    """Finds the foregrounds that training_fg_names.txt lists, in its order.

    Raises ValueError that lists all missing files and ends in the instructions.
    """
    folder = manual / TRAINING
    parts = [folder / part for part in ("Adobe-licensed images", "Other")]
    colours, alphas = ([part / kind for part in parts] for kind in ("fg", "alpha"))
    names = folder / "training_fg_names.txt"
    missing = absent([names, *colours, *alphas])
    foregrounds = [find_foreground(name, colours, alphas, missing) for name in lines(names)]
    check_missing(missing, NAME, instructions)
    return foregrounds


def find_composites(manual: Path, instructions: str) -> list[tuple[Foreground, list[Composite]]]:
    """Finds the foregrounds of test_fg_names.txt, each with its share of test_bg_names.txt.

    Raises ValueError as `find_training_foregrounds` does, and if the lengths of the two lists do
    not match.
    """
    folder = manual / TEST
    images, backgrounds = folder / "Adobe-licensed images", manual / VOC
    # The list of backgrounds holds the first 1000 photos of the folder, of 2007 and 2008.
    lists = [folder / f"test_{kind}_names.txt" for kind in ("fg", "bg")]
    colours, alphas, trimaps = (images / part for part in ("fg", "alpha", "trimaps"))
    missing = absent([*lists, colours, alphas, trimaps, backgrounds])
    found = []
    for foreground, paths in find_test_layers(*lists, colours, alphas, backgrounds, missing):
        composites = []
        for i, background in enumerate(paths):
            name = f"{foreground.name}_{i}"
            composites.append(Composite(name, background, find(f"{name}.png", [trimaps], missing)))
        found.append((foreground, composites))
    check_missing(missing, NAME, instructions)
    check_share(lists[1], len(found))
    return found
