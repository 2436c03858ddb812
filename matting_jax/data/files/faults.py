"""Error messages for files that belong together but are missing, repeated or of different sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matting_jax.data.files.checks import value_faults
from matting_jax.data.files.images import Header

Headers = Mapping[Path, Header | str]


def count_faults(faults: Sequence[str]) -> str:
    """Returns "1 fault", "2 faults" and so on."""
    return f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}"


def faults_of_pair(
    stem: str,
    same: dict[str, list[Path]],
    folder: Path,
    headers: Headers,
) -> list[str]:
    """Returns the faults of the images and the truths of one stem, of which a pair has one each.

    Args:
        stem: the stem.
        same: the files by subfolder: the images, then the truths.
        folder: the folder that holds both subfolders.
        headers: of all files; error messages for those that cannot be read.
    """
    if faults := faults_of_stem(stem, same, {name: folder / name for name in same}, headers):
        return faults
    (image,), (truth,) = same.values()
    _, kind = same
    return different_sizes(image, truth, kind, headers) or value_faults(
        headers[x] for x in (image, truth)
    )


def faults_of_companion(image: Path, folder: Path, same: list[Path], headers: Headers) -> list[str]:
    """Returns the faults of what a folder has for an image, which is to be one file.

    Args:
        image: the image.
        folder: the folder.
        same: its files with the stem of the image.
        headers: of all files; error messages for those that cannot be read.
    """
    if not same:
        return [f"{image}: no file {image.stem}.* in {folder}"]
    if len(same) > 1:
        return repeated_stem(same)
    (path,) = same
    if isinstance(headers[path], str):
        return [headers[path]]
    return different_sizes(image, path, folder.name, headers) or value_faults([headers[path]])


def faults_of_compared(
    name: str,
    same: dict[str, list[Path]],
    first: str,
    folders: dict[str, Path],
    headers: Headers,
) -> list[str]:
    """Returns the faults of the files of one name in folders to compare.

    Args:
        name: the name.
        same: the files by folder, as in `folders`.
        first: the folder that, as that of the truths, needs a file of each name.
        folders: the folders by name.
        headers: of all files; error messages for those that cannot be read.
    """
    needed = {
        part: folder for part, folder in folders.items() if part != "photos" or first == "photos"
    }
    if faults := faults_of_stem(name, same, needed, headers):
        return faults
    (truth,) = same["truths"]
    faults = [
        fault
        for part in (first, "trimaps", "backgrounds")
        for path in same.get(part, ())
        for fault in different_sizes(path, truth, "truth", headers)
    ]
    return faults or value_faults(headers[path] for paths in same.values() for path in paths)


def faults_of_stem(
    stem: str, same: dict[str, list[Path]], needed: dict[str, Path], headers: Headers
) -> list[str]:
    """Returns the faults of the files of one stem by themselves, without comparing them.

    A stem is to have at most one file in each folder of `same`, and one in each that is `needed`;
    all must be readable.
    """
    there = [path for paths in same.values() for path in paths]
    repeated = [fault for paths in same.values() for fault in repeated_stem(paths)]
    missing = [
        f"{there[0]}: no file {stem}.* in {needed[part]}"
        for part, paths in same.items()
        if part in needed and not paths
    ]
    return repeated + missing + [headers[x] for x in there if isinstance(headers[x], str)]


def repeated_stem(paths: Sequence[Path]) -> list[str]:
    """Returns the fault of files of one folder that have the same stem; none for a single file."""
    if len(paths) < 2:
        return []
    return [f"{', '.join(map(str, paths))}: {len(paths)} files with the same stem"]


def different_sizes(path: Path, other: Path, kind: str, headers: Headers) -> list[str]:
    """Returns the fault of two files that differ in size; `kind` is what `other` is to `path`."""
    size, size_of_other = str(headers[path]), str(headers[other])
    if size == size_of_other:
        return []
    return [f"{path}: {size} pixels, but its {kind} has {size_of_other}"]
