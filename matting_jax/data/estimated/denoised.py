"""Denoised copies of training images: where they lie, and which are missing."""

from collections.abc import Sequence
from pathlib import Path

from matting_jax.data.files.checks import check_files
from matting_jax.data.files.folders import Found, Pair

SUFFIX = "_denoise"
WITHOUT = "or set --config.synthesis.rssn.denoise=0"


def copies_folder(folder: Path) -> Path:
    """Where the copies of the images below a folder lie: beside it."""
    return folder.with_name(folder.name + SUFFIX)


def copy_of(path: Path, folder: Path, output: Path | None = None) -> Path:
    """The copy in `output`, or where it usually lies, of an image below `folder`."""
    return ((output or copies_folder(folder)) / path.relative_to(folder)).with_suffix(".png")


def foreground_copies(found: Found, cache: Path, workers: int) -> list[Pair]:
    """Pairs like those of `folders.find_foregrounds`, of the copies of their photos.

    Raises ValueError, which says how to make them, when some are missing or of another size.
    """
    paths = [pair.image for pair in found.items]
    folder = paths[0].parent
    copies = _existing(paths, folder, found.field, cache, workers)
    return [Pair(copy, pair.alpha) for copy, pair in zip(copies, found.items, strict=True)]


def background_copies(found: Found, cache: Path, workers: int) -> list[Path]:
    """The copies of what `folders.find_backgrounds` found; ValueError as of foreground_copies."""
    return _existing(found.items, found.folder, found.field, cache, workers)


def _existing(
    paths: Sequence[Path], folder: Path, field: str, cache: Path, workers: int
) -> list[Path]:
    copies = [copy_of(path, folder) for path in paths]
    missing = [path for path in copies if not path.exists()]
    if missing:
        raise ValueError(
            f"{field}: {len(missing)} of {len(paths)} images lack a denoised copy, the first "
            f"{missing[0]}: run python -m matting_jax.data.estimated.denoise {folder}, {WITHOUT}."
        )
    headers = check_files([*paths, *copies], cache, workers)
    for path, copy in zip(paths, copies, strict=True):
        if isinstance(headers[copy], str):
            raise ValueError(f"{field}: {headers[copy]}")
        if (headers[path].width, headers[path].height) != (
            headers[copy].width,
            headers[copy].height,
        ):
            raise ValueError(
                f"{field}: {copy} has another size than {path}: delete it and run "
                f"python -m matting_jax.data.estimated.denoise {folder}."
            )
    return copies
