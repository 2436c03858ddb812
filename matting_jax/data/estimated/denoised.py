"""Finds the denoised copies of training images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matting_jax.data.files.checks import check_files
from matting_jax.data.files.folders import Found, Pair

SUFFIX = "_denoise"
ALTERNATIVE = "or set --config.synthesis.rssn.denoise=0"


def copies_folder(folder: Path) -> Path:
    """Returns the folder of the copies of the images below a folder: its sibling."""
    return folder.with_name(folder.name + SUFFIX)


def copy_of(path: Path, folder: Path, output: Path | None = None) -> Path:
    """Returns the copy of an image below `folder`, in `output` or in its usual folder."""
    return ((output or copies_folder(folder)) / path.relative_to(folder)).with_suffix(".png")


def foreground_copies(found: Found, cache: Path, workers: int) -> list[Pair]:
    """Returns the pairs of `folders.find_foregrounds` with the copies of their photos.

    Raises ValueError, with the command to make them, if some are missing or differ in size.
    """
    paths = [pair.image for pair in found.items]
    folder = paths[0].parent
    copies = find_copies(paths, folder, found.field, cache, workers)
    return [Pair(copy, pair.alpha) for copy, pair in zip(copies, found.items, strict=True)]


def background_copies(found: Found, cache: Path, workers: int) -> list[Path]:
    """Returns the copies of the images of `folders.find_backgrounds`; see foreground_copies."""
    return find_copies(found.items, found.folder, found.field, cache, workers)


def find_copies(
    paths: Sequence[Path], folder: Path, field: str, cache: Path, workers: int
) -> list[Path]:
    """Returns the copies of the images `paths` below a folder.

    Args:
        paths: the images.
        folder: the folder.
        field: its config field, for errors.
        cache: folder of file checks.
        workers: number of threads.

    Raises:
        ValueError: copies are missing, cannot be read or differ in size.
    """
    copies = [copy_of(path, folder) for path in paths]
    missing = [path for path in copies if not path.exists()]
    if missing:
        raise ValueError(
            f"{field}: {len(missing)} of {len(paths)} images lack a denoised copy, the first "
            f"{missing[0]}: run python -m matting_jax.data.estimated.denoise {folder}, "
            f"{ALTERNATIVE}"
        )
    headers = check_files(dict.fromkeys([*paths, *copies], "photo"), cache, workers)
    for path, copy in zip(paths, copies, strict=True):
        if isinstance(headers[copy], str):
            raise ValueError(f"{field}: {headers[copy]}")
        if headers[path][:2] != headers[copy][:2]:
            raise ValueError(
                f"{field}: {copy} and {path} differ in size: delete the first and run "
                f"python -m matting_jax.data.estimated.denoise {folder}"
            )
    return copies
