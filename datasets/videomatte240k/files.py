"""Finds the frames of VideoMatte240K and what is missing of them."""

from pathlib import PurePath

from matting_jax.data.files.walk import is_image
from matting_jax.data.prepared.manual import Foreground, Path, absent, check_missing

NAME = "videomatte240k"
SPLITS = ("train", "test")


def find_frames(folder: Path, instructions: str) -> dict[str, list[Foreground]]:
    """Finds the frames of each split, in fgr and under the same name in pha, sorted.

    Raises ValueError that lists all missing files and ends in the instructions.
    """
    missing = absent([folder])
    found = {} if missing else {split: find_split(folder / split, missing) for split in SPLITS}
    check_missing(missing, NAME, instructions)
    return found


def find_split(folder: Path, missing: dict[str, None]) -> list[Foreground]:
    """Finds the frames of a split, and adds what is missing to `missing`."""
    parts = [folder / part for part in ("fgr", "pha")]
    absent_parts = absent(parts)
    missing.update(absent_parts)
    if absent_parts:
        return []
    # Listed, because asking for each of half a million files whether it exists would take long.
    colours, alphas = (list_frames(part) for part in parts)
    for there, here, part in ((alphas, colours, parts[0]), (colours, alphas, parts[1])):
        names = sorted(there.keys() - here.keys())
        missing.update({str(part / f"{name}.*"): None for name in names})
    if not colours and not alphas:
        missing[str(parts[0] / "CLIP" / "FRAME.jpg")] = None
    return [
        Foreground(name, colours[name], alphas[name]) for name in sorted(colours.keys() & alphas)
    ]


def list_frames(folder: Path) -> dict[str, Path]:
    """Returns the file of each frame by CLIP/FRAME."""
    clips = [clip for clip in folder.iterdir() if clip.is_dir()]
    return {
        f"{clip.name}/{PurePath(path.name).stem}": path
        for clip in clips
        for path in clip.iterdir()
        if is_image(path)
    }
