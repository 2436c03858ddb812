"""Where the frames of VideoMatte240K lie, and which are missing."""

from pathlib import PurePath

from matting_jax.data.files.images import is_image
from matting_jax.data.prepared.manual import Foreground, Path, absent, check_missing

NAME = "videomatte240k"
SPLITS = ("train", "test")


def frames(folder: Path, instructions: str) -> dict[str, list[Foreground]]:
    """The frames of each split, those of fgr with those of pha under the same name, sorted.

    Raises ValueError that names every missing file and ends in the instructions.
    """
    missing = absent([folder])
    found = {} if missing else {split: _split(folder / split, missing) for split in SPLITS}
    check_missing(missing, NAME, instructions)
    return found


def _split(folder: Path, missing: dict[str, None]) -> list[Foreground]:
    parts = [folder / part for part in ("fgr", "pha")]
    gone = absent(parts)
    missing.update(gone)
    if gone:
        return []
    # Listed, as asking for each of half a million files whether it exists would take long.
    colours, alphas = (_frames(part) for part in parts)
    for there, here, part in ((alphas, colours, parts[0]), (colours, alphas, parts[1])):
        names = sorted(there.keys() - here.keys())
        missing.update({str(part / f"{name}.*"): None for name in names})
    if not colours and not alphas:
        missing[str(parts[0] / "CLIP" / "FRAME.jpg")] = None
    return [
        Foreground(name, colours[name], alphas[name]) for name in sorted(colours.keys() & alphas)
    ]


def _frames(folder: Path) -> dict[str, Path]:
    """CLIP/FRAME and the file of each frame."""
    clips = [clip for clip in folder.iterdir() if clip.is_dir()]
    return {
        f"{clip.name}/{PurePath(path.name).stem}": path
        for clip in clips
        for path in clip.iterdir()
        if is_image(path)
    }
