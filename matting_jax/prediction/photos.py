"""Finds the photos to predict."""

from __future__ import annotations

import glob
import os
import unicodedata
from pathlib import Path

from matting_jax.data.clips.random_access import clips_below
from matting_jax.data.files.formats import SUFFIXES
from matting_jax.data.files.walk import existing, images_below, is_skipped, real


def find_photos(photos: str, output: Path) -> tuple[Path, list[Path]]:
    """Returns the folder that the photos of a file, folder or glob share, and the photos.

    Files below `output` are results of an earlier run and skipped. Raises FileNotFoundError if
    there is no photo, and ValueError if `output` has the name of an image and is no folder.
    """
    if output.suffix.lower() in SUFFIXES and not output.is_dir():
        folder = output.with_suffix("")
        raise ValueError(f"--output {output} must be a folder of results, such as {folder}")
    path = existing(Path(photos))
    if path.is_dir():
        root, found = path, sorted(images_below(path))
    elif path.is_file():
        root, found = path.parent, [path]
    else:
        found = matching(photos)
        root = Path(os.path.commonpath([x.parent for x in found])) if found else path
    place = real(output)
    if real(root) in place.parents:
        found = [path for path in found if place not in real(path).parents]
    if not found:
        clips = clips_below(path) if path.is_dir() else []
        advice = f", only clips: give one of them, such as {clips[0]}" if clips else ""
        raise FileNotFoundError(f"--input {photos}: no photo found{advice}")
    return root, found


def matching(pattern: str) -> list[Path]:
    """Returns the files of a glob pattern, which may name them in any Unicode form.

    Hidden folders and files are skipped where the pattern does not name them, and each folder is
    entered once.
    """
    patterns = dict.fromkeys(unicodedata.normalize(form, pattern) for form in ("NFC", "NFD"))
    names = {name for form in patterns for name in glob.glob(form, recursive=True)}
    given = set(Path(pattern).parts)
    found: dict[str, Path] = {}
    # The shortest of the paths by which links lead to a file.
    for path in sorted(map(Path, names), key=lambda path: (len(path.parts), path)):
        hidden = any(is_skipped(part) for part in path.parts if part not in given | {".", ".."})
        if path.is_file() and not hidden:
            place = os.path.join(os.path.realpath(path.parent), path.name)
            found.setdefault(place, path)
    return sorted(found.values())
