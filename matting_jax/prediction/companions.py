"""The file that goes with each photo: its trimap, or its captured background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matting_jax.data.files.images import is_image

# How to come by what a network needs beside the photo.
WAYS = {
    "trimap": "a grey image of the photo's size, black background, white foreground, grey (128) "
    "unknown. Paint it, or have it made by a network that needs none "
    "(--trimap_from WORKDIR in its place)",
    "background": "a photo of the same place and size without the subject, from the same camera at "
    "the same spot (docs/bgmv2.md shows how to take it)",
}
SHARED = ("background",)  # of which one may serve all photos


def find_companions(
    photos: Sequence[Path], root: Path, kind: str, given: str | None
) -> dict[Path, Path]:
    """The `kind` ("trimap", "background") of each photo: the file `given`, or of a folder the file
    of its name.

    In a folder NAME.* or NAME_trimap.* belongs to the photo NAME.*, in the same folder below it as
    the photo is below `root`. Photos that are themselves the trimap of another have none and are
    left out. Raises ValueError that names what is missing and how to come by it.
    """
    if not given:
        raise ValueError(f"this network needs a {kind}: pass --{kind} FILE|DIR, {WAYS[kind]}")
    place = Path(given)
    if place.is_file():
        if kind in SHARED and len(photos) > 1:
            return {photo: place for photo in photos if photo.resolve() != place.resolve()}
        if len(photos) > 1:
            raise ValueError(
                f"--{kind} {place} is one file for {len(photos)} photos: pass a folder that holds "
                "one for each, of the same names"
            )
        return {photo: place for photo in photos}
    if not place.is_dir():
        raise FileNotFoundError(f"--{kind}: there is no file or folder {place}")
    found = {photo: in_folder(place / photo.relative_to(root), photo, kind) for photo in photos}
    taken = {path.resolve() for path in found.values() if path}
    missing = [str(x) for x, path in found.items() if not path and x.resolve() not in taken]
    if missing:
        raise ValueError(
            f"--{kind}: {place} has none for {len(missing)} of {len(photos)} photos; each needs "
            f"{WAYS[kind]}:\n  " + "\n  ".join(missing)
        )
    return {photo: path for photo, path in found.items() if path}


def in_folder(place: Path, photo: Path, kind: str) -> Path | None:
    """The image of the name of `place`, or that name and _`kind`; ValueError where two have it."""
    files = place.parent.iterdir() if place.parent.is_dir() else ()
    files = [x for x in files if is_image(x) and x.resolve() != photo.resolve()]
    for stem in (place.stem, f"{place.stem}_{kind}"):
        of_name = sorted(x for x in files if x.stem == stem)
        if len(of_name) > 1:
            raise ValueError(
                f"--{kind}: {of_name[0]} and {of_name[1]} both belong to {photo}: remove one"
            )
        if of_name:
            return of_name[0]
    return None
