"""Where the files of Distinctions-646 and of its backgrounds lie, and which are missing."""

from pathlib import PurePath

from matting_jax.data.files.images import is_image
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

NAME = "distinctions_646"
TRAINING = "Distinctions-646/Train"
TEST = "Distinctions-646/Test"
BACKGROUNDS_EACH = 20


def training_foregrounds(manual: Path, instructions: str) -> list[Foreground]:
    """The foregrounds of Train, each with the alpha of the same name, sorted.

    Raises ValueError that names every missing file and ends in the instructions.
    """
    folders = [manual / TRAINING / part for part in ("FG", "GT")]
    missing = absent(folders)
    names = {path.name for f in folders if f.exists() for path in f.iterdir() if is_image(path)}
    if not names and not missing:
        missing[str(folders[0] / "*.png")] = None
    foregrounds = [_foreground(name, folders, missing) for name in sorted(names)]
    check_missing(missing, NAME, instructions)
    return foregrounds


def composites(manual: Path, instructions: str) -> list[tuple[Foreground, list[Path]]]:
    """The foregrounds that fg_test.txt lists, each with its share of bg_test.txt.

    Raises ValueError as training_foregrounds does, and when the two lists do not fit together.
    """
    folder, backgrounds = manual / TEST, manual / VOC
    folders = [folder / part for part in ("FG", "GT")]
    lists = [folder / f"{kind}_test.txt" for kind in ("fg", "bg")]
    missing = absent([*lists, *folders, backgrounds])
    foreground_names, background_names = map(lines, lists)
    found = []
    for number, name in enumerate(foreground_names):
        foreground = _foreground(name, folders, missing)
        behind = share(background_names, number, BACKGROUNDS_EACH)
        found.append((foreground, [find(name, [backgrounds], missing) for name in behind]))
    check_missing(missing, NAME, instructions)
    check_share(lists[1], len(found), BACKGROUNDS_EACH)
    return found


def _foreground(name: str, folders: list[Path], missing: dict[str, None]) -> Foreground:
    colours, alpha = (find(name, [folder], missing) for folder in folders)
    return Foreground(PurePath(name).stem, colours, alpha)
