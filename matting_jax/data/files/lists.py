"""PaddleSeg's lists of matting data, one image a line: foreground [background] [trimap].

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/datasets/matting_dataset.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.files.checks import check_files, value_faults
from matting_jax.data.files.faults import different_sizes
from matting_jax.data.files.folders import Found
from matting_jax.data.files.images import (
    Header,
    Photo,
    read_alpha,
    read_image,
    read_photo,
    read_visible,
)
from matting_jax.data.files.text import decode
from matting_jax.data.files.walk import existing
from matting_jax.data.prepared.merge import lay_under_bilinear, merge

COLUMNS = ("foreground", "background", "trimap")
ROLES = {"foreground": "photo", "alpha": "alpha", "background": "photo", "trimap": "trimap"}


@dataclass(frozen=True)
class Listed:
    """The files of line `number`; without a background the foreground is a photo."""

    number: int
    foreground: Path
    alpha: Path
    background: Path | None
    trimap: Path | None


def find_listed(group: ConfigDict, field: str, cache: Path, workers: int, trimaps: bool) -> Found:
    """Finds the files that the list `group.list` names: items are Listed.

    Columns are separated by `group.separator` ("": a blank). Paths are relative to `group.root`
    ("": the list's folder). The alpha of a foreground is the file whose path has /alpha instead of
    /fg.

    Args:
        group: the config group of the list.
        field: the name of that group, for errors.
        cache: folder of file checks.
        workers: number of threads.
        trimaps: whether to use the column of trimaps.

    Raises:
        ValueError: the list or the root is missing; the list is empty or has no existing
            foreground; or only some lines have a background.
    """
    path = Path(group.list).expanduser()
    if not path.is_file():
        raise ValueError(f"{field}.list: there is no file {path}")
    root = Path(group.root or path.parent).expanduser()
    if not root.is_dir():
        raise ValueError(f"{field}.root: there is no folder {root}")
    lines = columns_of(path, group.separator or " ", field)
    if not lines:
        raise ValueError(f"{field}.list: {path} is empty")
    check_alike(lines, path, field)
    check_there(lines, path, root, field)
    found = {number: files_of(columns, root, trimaps) for number, columns in lines.items()}
    roles = {
        file: ROLES[name]
        for files in found.values()
        if isinstance(files, dict)
        for name, file in files.items()
    }
    headers = check_files(roles, cache, workers)
    items, faults = [], []
    for number, files in found.items():
        faults_here = [files] if isinstance(files, str) else faults_of(files, headers)
        faults += [f"{path}, line {number}: {fault}" for fault in faults_here]
        if not faults_here:
            optional = (files.get(name) for name in ("background", "trimap"))
            items.append(Listed(number, files["foreground"], files["alpha"], *optional))
    return Found(f"{field}.list", path, items, faults)


def names_of(items: Sequence[Listed]) -> list[str]:
    """Returns the stems of the foregrounds, with their line numbers if some are equal."""
    stems = Counter(item.foreground.stem for item in items)
    if len(stems) == len(items):
        return list(stems)
    return [f"{item.foreground.stem}_{item.number}" for item in items]


def read_listed(item: Listed, profile: str) -> tuple[Photo, np.ndarray, np.ndarray | None]:
    """Reads the image of a line, its alpha and its background.

    The alpha is uint8 [H, W], the background uint8 [H, W, 3] or None; with a background the image
    is the composite. Raises ValueError, with the file's name, if one cannot be read.
    """
    alpha = read_alpha(item.alpha)
    if item.background is None:
        return read_photo(item.foreground, profile), alpha, None
    foreground = read_image(item.foreground, profile)
    background = lay_under_bilinear(read_visible(item.background, profile), *alpha.shape)
    return Photo(merge(foreground, alpha, background), None), alpha, background


def columns_of(path: Path, separator: str, field: str) -> dict[int, list[str]]:
    """Returns the columns of the lines of a list that are not empty, by line number.

    Raises ValueError for a file that is not UTF-8.
    """
    lines = enumerate(decode(path.read_bytes(), f"{field}.list: {path}").splitlines(), start=1)
    return {
        number: [column.strip() for column in line.strip().split(separator)]
        for number, line in lines
        if line.strip()
    }


def check_alike(lines: dict[int, list[str]], path: Path, field: str) -> None:
    """Raises ValueError if only some lines have a background."""
    alone = [number for number, columns in lines.items() if len(columns) == 1]
    if 0 < len(alone) < len(lines):
        other = next(number for number, columns in lines.items() if len(columns) > 1)
        raise ValueError(
            f"{field}.list: {path} mixes lines with a background (line {other}) and lines without "
            f"(line {alone[0]}): split it into two lists, or set {field}.separator if that is wrong"
        )


def check_there(lines: dict[int, list[str]], path: Path, root: Path, field: str) -> None:
    """Raises ValueError if no foreground exists: the root or the separator may be wrong."""
    if not any(existing(root / columns[0]).exists() for columns in lines.values()):
        number, columns = next(iter(lines.items()))
        raise ValueError(
            f"{field}.list: {path} has no foreground that exists in {root}, first {columns[0]!r} "
            f"in line {number}: set {field}.root if the folder is wrong, {field}.separator if "
            "another character separates the columns"
        )


def files_of(columns: list[str], root: Path, trimaps: bool) -> dict[str, Path] | str:
    """Returns the files of a line by column, or an error message."""
    if len(columns) > len(COLUMNS) or "" in columns:
        return (
            f"{len(columns)} columns, but a line is {', '.join(COLUMNS)}, and none may be empty; "
            "set the separator if file names contain it"
        )
    alpha = alpha_path(columns[0], root)
    if alpha is None:
        return f"{columns[0]} has no /fg in its path, which the path of its alpha has as /alpha"
    files = {name: existing(root / column) for name, column in zip(COLUMNS, columns, strict=False)}
    if not trimaps:
        files.pop("trimap", None)
    return files | {"alpha": existing(alpha)}


def alpha_path(foreground: str, root: Path) -> Path | None:
    """Returns the path of the alpha of a foreground, or None if it has no /fg."""
    # The listed part first: the name of the root rarely matters.
    inside = f"/{foreground}"
    if "/fg" in inside:
        return root / inside.replace("/fg", "/alpha").removeprefix("/")
    whole = (root / foreground).as_posix()
    return Path(whole.replace("/fg", "/alpha")) if "/fg" in whole else None


def faults_of(files: dict[str, Path], headers: dict[Path, Header | str]) -> list[str]:
    """Returns the faults of the files of a line."""
    unreadable = [
        headers[file] if file.exists() else f"there is no file {file}"
        for file in files.values()
        if isinstance(headers[file], str)
    ]
    if unreadable:
        return unreadable
    faults = [
        fault
        for name in ("alpha", "trimap")
        if name in files
        for fault in different_sizes(files["foreground"], files[name], name, headers)
    ]
    return faults or value_faults(headers[file] for file in files.values())
