"""Finds the files of Distinctions-646 and of its backgrounds, and what is missing of them."""

from matting_jax.data.files.walk import is_image
from matting_jax.data.prepared.manual import (
    VOC,
    Foreground,
    Path,
    absent,
    check_missing,
    check_share,
    find_foreground,
    find_test_layers,
)

NAME = "distinctions_646"
TRAINING = "Distinctions-646/Train"
TEST = "Distinctions-646/Test"


def find_training_foregrounds(manual: Path, instructions: str) -> list[Foreground]:
    """Finds the foregrounds of Train, each with the alpha of the same name, sorted.

    Raises ValueError that lists all missing files and ends in the instructions.
    """
    colours, alphas = folders = [manual / TRAINING / part for part in ("FG", "GT")]
    missing = absent(folders)
    names = {path.name for f in folders if f.exists() for path in f.iterdir() if is_image(path)}
    if not names and not missing:
        missing[str(colours / "*.png")] = None
    foregrounds = [find_foreground(name, [colours], [alphas], missing) for name in sorted(names)]
    check_missing(missing, NAME, instructions)
    return foregrounds


def find_composites(manual: Path, instructions: str) -> list[tuple[Foreground, list[Path]]]:
    """Finds the foregrounds of fg_test.txt, each with its share of bg_test.txt.

    Raises ValueError as `find_training_foregrounds` does, and if the lengths of the two lists do
    not match.
    """
    folder, backgrounds = manual / TEST, manual / VOC
    colours, alphas = (folder / part for part in ("FG", "GT"))
    lists = [folder / f"{kind}_test.txt" for kind in ("fg", "bg")]
    missing = absent([*lists, colours, alphas, backgrounds])
    found = list(find_test_layers(*lists, colours, alphas, backgrounds, missing))
    check_missing(missing, NAME, instructions)
    check_share(lists[1], len(found))
    return found
