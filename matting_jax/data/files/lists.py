"""PaddleSeg's lists of matting data, a line an image: foreground [background] [trimap].

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/datasets/matting_dataset.py.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from matting_jax.data.files.checks import check_files
from matting_jax.data.files.folders import Found
from matting_jax.data.files.images import Header, read_alpha, read_image
from matting_jax.data.prepared.merge import merge
from matting_jax.image.geometry import resize_bilinear

COLUMNS = ("foreground", "background", "trimap")


@dataclass(frozen=True)
class Listed:
    """The files of line `number`; without a background the foreground is a whole photo."""

    number: int
    foreground: Path
    alpha: Path
    background: Path | None
    trimap: Path | None


def find_listed(group, field: str, cache: Path, workers: int, trimaps: bool) -> Found:
    """Finds what the list `group.list` names, for the config group `field`: items are Listed.

    Columns lie between `group.separator` (a blank unless given), paths are relative to `group.root`
    (the list's folder unless given), and the alpha of a foreground is the file whose path has
    /alpha in place of /fg. Trimaps are left out unless asked for. Raises ValueError, naming the
    config field, when the list or the root is missing, when the list is empty or names nothing
    that is there, and when some of its lines have a background and others have none.
    """
    path = Path(group.list).expanduser()
    if not path.is_file():
        raise ValueError(f"{field}.list: there is no file {path}.")
    root = Path(group.get("root") or path.parent).expanduser()
    if not root.is_dir():
        raise ValueError(f"{field}.root: there is no folder {root}.")
    lines = _columns(path, group.get("separator") or " ")
    if not lines:
        raise ValueError(f"{field}.list: {path} has no line.")
    _check_alike(lines, path, field)
    _check_there(lines, path, root, field)
    found = {number: _files(columns, root, trimaps) for number, columns in lines.items()}
    paths = [file for files in found.values() if isinstance(files, dict) for file in files.values()]
    headers = check_files(list(dict.fromkeys(paths)), cache, workers)
    items, faults = [], []
    for number, files in found.items():
        faults_here = [files] if isinstance(files, str) else _faults(files, headers)
        faults += [f"{path}, line {number}: {fault}" for fault in faults_here]
        if not faults_here:
            optional = (files.get(name) for name in ("background", "trimap"))
            items.append(Listed(number, files["foreground"], files["alpha"], *optional))
    return Found(f"{field}.list", path, items, faults)


def names_of(items: Sequence[Listed]) -> list[str]:
    """The stems of the foregrounds; where some are equal, each with the number of its line."""
    stems = Counter(item.foreground.stem for item in items)
    if len(stems) == len(items):
        return list(stems)
    return [f"{item.foreground.stem}_{item.number}" for item in items]


def read_listed(item: Listed) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The image of a line, composed if it has a background, its alpha, and that background.

    uint8 [H, W, 3], [H, W] and [H, W, 3] or None. Raises ValueError, naming the file, when one
    cannot be read.
    """
    foreground, alpha = read_image(item.foreground), read_alpha(item.alpha)
    if item.background is None:
        return foreground, alpha, None
    background = lay_under(read_image(item.background), *alpha.shape)
    return merge(foreground, alpha, background), alpha, background


def lay_under(background: np.ndarray, height: int, width: int) -> np.ndarray:
    """The background uint8 [h, w, 3] of a foreground of height x width: [height, width, 3].

    It is enlarged until it covers the foreground, between neighbouring pixels, and cropped at its
    top left corner.
    """
    own_height, own_width = background.shape[:2]
    ratio = max(width / own_width, height / own_height)
    if ratio > 1:
        larger = math.ceil(own_height * ratio), math.ceil(own_width * ratio)
        enlarged = resize_bilinear(background.astype(np.float32), *larger)
        background = np.floor(enlarged + 0.5).astype(np.uint8)
    return background[:height, :width]


def _columns(path: Path, separator: str) -> dict[int, list[str]]:
    lines = enumerate(path.read_text("utf-8-sig").splitlines(), start=1)
    return {
        number: [column.strip() for column in line.strip().split(separator)]
        for number, line in lines
        if line.strip()
    }


def _check_alike(lines: dict[int, list[str]], path: Path, field: str) -> None:
    alone = [number for number, columns in lines.items() if len(columns) == 1]
    if 0 < len(alone) < len(lines):
        other = next(number for number, columns in lines.items() if len(columns) > 1)
        raise ValueError(
            f"{field}.list: {path} mixes lines with a background (line {other}) and lines without "
            f"(line {alone[0]}): make two lists of it, or set {field}.separator if it is another."
        )


def _check_there(lines: dict[int, list[str]], path: Path, root: Path, field: str) -> None:
    # The root or the separator is another, or all is missing: one sentence in place of a list.
    if not any((root / columns[0]).exists() for columns in lines.values()):
        number, columns = next(iter(lines.items()))
        raise ValueError(
            f"{field}.list: {path} names no foreground that is in {root}, first {columns[0]!r} in "
            f"line {number}: set {field}.root if it is another folder, {field}.separator if "
            "another sign lies between columns."
        )


def _files(columns: list[str], root: Path, trimaps: bool) -> dict[str, Path] | str:
    """The files of a line by what they are, or the sentence that says what is wrong with it."""
    if len(columns) > len(COLUMNS) or "" in columns:
        return (
            f"{len(columns)} columns, but a line is {', '.join(COLUMNS)}, of which none is empty; "
            "set the separator if file names hold it"
        )
    alpha = _alpha_path(columns[0], root)
    if alpha is None:
        return f"{columns[0]} has no /fg in its path for the /alpha of its alpha"
    files = {name: root / column for name, column in zip(COLUMNS, columns, strict=False)}
    if not trimaps:
        files.pop("trimap", None)
    return files | {"alpha": alpha}


def _alpha_path(foreground: str, root: Path) -> Path | None:
    # The listed part first: what a root is called has mostly nothing to do with it.
    inside = f"/{foreground}"
    if "/fg" in inside:
        return root / inside.replace("/fg", "/alpha").removeprefix("/")
    whole = (root / foreground).as_posix()
    return Path(whole.replace("/fg", "/alpha")) if "/fg" in whole else None


def _faults(files: dict[str, Path], headers: dict[Path, Header | str]) -> list[str]:
    unreadable = [
        headers[file] if file.exists() else f"there is no file {file}"
        for file in files.values()
        if isinstance(headers[file], str)
    ]
    if unreadable:
        return unreadable
    sizes = {
        name: f"{headers[file].width} x {headers[file].height}" for name, file in files.items()
    }
    return [
        f"{files['foreground']}: {sizes['foreground']} pixels, but its {name} has {sizes[name]}"
        for name in ("alpha", "trimap")
        if sizes.get(name, sizes["foreground"]) != sizes["foreground"]
    ]
