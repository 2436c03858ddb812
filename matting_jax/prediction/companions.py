"""The file of a network's other input for each photo: its trimap, or its captured background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from matting_jax.data.files.walk import by_stem, existing, nfc, real

# How to get an input that a network needs in addition to the image.
ADVICE = {
    "trimap": "a grey image of the photo's size, black background, white foreground, grey (128) "
    "unknown. Paint it, or let a trimap-free network make it (--trimap_from WORKDIR instead)",
    "background": "a photo of the same scene and size without the subject, from the same camera in "
    "the same position (the network's page in docs/ shows how to take it)",
}
SHARED = ("background",)  # kinds whose single file may serve all photos


def find_companions(photos: Sequence[Path], root: Path, kind: str, given: str) -> dict[Path, Path]:
    """Returns {photo: file} for one kind of input.

    In a folder, NAME.* or NAME_trimap.* belongs to the photo NAME.*, in the same subfolder as the
    photo below `root`. Photos that are themselves the input of another photo are skipped.

    Args:
        photos: the photos.
        root: folder that they share.
        kind: "trimap" or "background".
        given: a file, or a folder of files with the photos' names.

    Raises:
        ValueError: lists the photos without a file, and says how to get one.
        FileNotFoundError: if `given` does not exist.
    """
    source = existing(Path(given))
    if source.is_file():
        if kind in SHARED and len(photos) > 1:
            return {photo: source for photo in photos if real(photo) != real(source)}
        if len(photos) > 1:
            raise ValueError(
                f"--{kind} {source} is one file for {len(photos)} photos: pass a folder with one "
                "for each, of the same names"
            )
        return {photo: source for photo in photos}
    if not source.is_dir():
        raise FileNotFoundError(f"--{kind}: there is no file or folder {source}")
    stems = cache(by_stem)
    found = {}
    for photo in photos:
        folder = existing(source / photo.relative_to(root).parent)
        files = stems(folder) if folder.is_dir() else {}
        found[photo] = find_file(files, photo, kind)
    taken = {real(path) for path in found.values() if path}
    missing = [str(x) for x, path in found.items() if not path and real(x) not in taken]
    if missing:
        raise ValueError(
            f"--{kind}: {source} has none for {len(missing)} of {len(photos)} photos; each needs "
            f"{ADVICE[kind]}:\n  " + "\n  ".join(missing)
        )
    return {photo: path for photo, path in found.items() if path}


def find_file(files: Mapping[str, Sequence[Path]], photo: Path, kind: str) -> Path | None:
    """Returns the file named as `photo`, or with _`kind` appended; extensions may differ.

    `files` are those of a folder by stem. Raises ValueError if there are two.
    """
    stem = nfc(photo.stem)
    for name in (stem, f"{stem}_{kind}"):
        named = [path for path in files.get(name, ()) if real(path) != real(photo)]
        if len(named) > 1:
            raise ValueError(
                f"--{kind}: {named[0]} and {named[1]} both belong to {photo}: remove one"
            )
        if named:
            return named[0]
    return None
