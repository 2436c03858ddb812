"""Folders of images: which files belong together, and which cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matting_jax.data.files.checks import check_files
from matting_jax.data.files.faults import (
    count_faults,
    faults_of_companion,
    faults_of_compared,
    faults_of_pair,
)
from matting_jax.data.files.walk import by_stem, images_below, images_in, nfc

# Folders to compare, with the role of their files.
COMPARED = {
    "predictions": "prediction",
    "truths": "alpha",
    "trimaps": "trimap",
    "photos": "photo",
    "backgrounds": "photo",
}
# Folders that may lie next to image/ and alpha/.
OPTIONAL = ("trimap", "background")

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Pair:
    """A photo and its alpha; `alpha` is None if one file holds both."""

    image: Path
    alpha: Path | None


@dataclass(frozen=True)
class Scored:
    """A test image: a photo with its alpha and, if there are any, trimap and background."""

    pair: Pair
    trimap: Path | None = None
    background: Path | None = None


@dataclass(frozen=True)
class Compared:
    """The files of one name: a truth, and if given prediction, trimap, photo and background."""

    name: str
    prediction: Path | None
    truth: Path
    trimap: Path | None
    photo: Path | None
    background: Path | None


@dataclass(frozen=True)
class Found:
    """The content of the folder that the config names in `field`."""

    field: str
    folder: Path
    items: list  # usable files
    faults: list[str]  # error messages for the others


def find_pairs(
    folder: str | Path, field: str, cache: Path, workers: int, truth: str = "alpha"
) -> Found:
    """Finds FOLDER/image/* with FOLDER/alpha/* of the same stem: items are Pair.

    Args:
        folder: the folder.
        field: its config field, for errors.
        cache: folder of file checks.
        workers: number of threads.
        truth: name of the second folder, such as "label".

    Raises:
        ValueError: a folder is missing or has no image.
    """
    folder = check_exists(folder, field)
    images, alphas = (by_stem(check_exists(folder / part, field)) for part in ("image", truth))
    if not images:
        raise ValueError(f"{field}: {folder / 'image'} has no image file")
    roles = roles_of({"photo": images, truth: alphas})
    headers = check_files(roles, cache, workers)
    pairs, faults = [], []
    for stem in sorted(images.keys() | alphas.keys()):
        same = {"image": images[stem], truth: alphas[stem]}
        faults_here = faults_of_pair(stem, same, folder, headers)
        if not faults_here:
            (image,), (alpha,) = same.values()
            pairs.append(Pair(image, alpha))
        faults += faults_here
    return Found(field, folder, pairs, faults)


def find_scored(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds pairs, as find_pairs, with their trimaps and backgrounds: items are Scored.

    These lie in FOLDER/trimap/* and FOLDER/background/*, if there are such folders.

    Args:
        folder: the folder.
        field: its config field, for errors.
        cache: folder of file checks.
        workers: number of threads.

    Raises:
        ValueError: a folder is missing or has no image.
    """
    found = find_pairs(folder, field, cache, workers)
    others = [found.folder / kind for kind in OPTIONAL if (found.folder / kind).is_dir()]
    stems = {other: by_stem(other) for other in others}
    roles = {pair.image: "photo" for pair in found.items}
    for other, group in stems.items():
        roles |= roles_of({"trimap" if other.name == "trimap" else "photo": group})
    headers = check_files(roles, cache, workers) if others else {}
    scored, faults = [], []
    for pair in found.items:
        stem = nfc(pair.image.stem)
        same = {other.name: group[stem] for other, group in stems.items()}
        faults_here = [
            fault
            for other in others
            for fault in faults_of_companion(pair.image, other, same[other.name], headers)
        ]
        if not faults_here:
            scored.append(Scored(pair, **{kind: path for kind, (path,) in same.items()}))
        faults += faults_here
    return Found(field, found.folder, scored, found.faults + faults)


def find_foregrounds(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds photos with alpha, as find_pairs, or else cut-outs FOLDER/*: items are Pair.

    Args:
        folder: the folder.
        field: its config field, for errors.
        cache: folder of file checks.
        workers: number of threads.

    Raises:
        ValueError: a folder is missing or has no image.
    """
    folder = check_exists(folder, field)
    if (folder / "image").is_dir():
        return find_pairs(folder, field, cache, workers)
    paths = images_in(folder)
    if not paths:
        raise ValueError(
            f"{field}: {folder} has neither the folders image and alpha nor RGBA .png files"
        )
    headers = check_files(dict.fromkeys(paths, "foreground"), cache, workers)
    cutouts, faults = [], []
    for path, header in headers.items():
        if isinstance(header, str):
            faults.append(header)
        elif not header.transparent:
            faults.append(f"{path}: no alpha channel")
        elif header.fault:
            faults.append(header.fault)
        else:
            cutouts.append(path)
    return Found(field, folder, [Pair(path, None) for path in cutouts], faults)


def find_backgrounds(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds every image in a tree of folders: items are paths.

    Args:
        folder: the folder.
        field: its config field, for errors.
        cache: folder of file checks.
        workers: number of threads.

    Raises:
        ValueError: the folder is missing or has no image.
    """
    folder = check_exists(folder, field)
    paths = sorted(images_below(folder))
    if not paths:
        raise ValueError(f"{field}: {folder} has no image file")
    headers = check_files(dict.fromkeys(paths, "photo"), cache, workers)
    faults = {path: x for path, x in headers.items() if isinstance(x, str)}
    faults |= {path: x.fault for path, x in headers.items() if getattr(x, "fault", "")}
    return Found(field, folder, [p for p in paths if p not in faults], list(faults.values()))


def find_compared(
    predictions: str | Path | None,
    truths: str | Path,
    trimaps: str | Path | None = None,
    photos: str | Path | None = None,
    backgrounds: str | Path | None = None,
    workers: int = 8,
) -> list[Compared]:
    """Finds the files of the same stem in several folders, all of one size.

    Every truth needs a prediction and vice versa, and a trimap and a background if such a folder is
    given; a photo may be missing. Without predictions every truth needs a photo, to be predicted.

    Args:
        predictions: folder of predicted alphas; NAME_alpha.*, as written by --mode predict, is the
            prediction for NAME.
        truths: folder of true alphas.
        trimaps: folder of trimaps.
        photos: folder of photos.
        backgrounds: folder of captured backgrounds.
        workers: number of threads.

    Raises:
        ValueError: the message lists every fault.
    """
    first = "predictions" if predictions else "photos"
    given = zip(COMPARED, (predictions, truths, trimaps, photos, backgrounds), strict=True)
    folders = {part: check_exists(folder, f"--{part}") for part, folder in given if folder}
    files = {part: by_stem(folder) for part, folder in folders.items()}
    for part, folder in folders.items():
        if not files[part]:
            raise ValueError(f"--{part}: {folder} has no image file")
    if predictions:
        rename_predicted(files["predictions"], files["truths"])
    names = sorted(files[first].keys() | files["truths"].keys())
    roles = {}
    for part, group in files.items():
        roles |= roles_of({COMPARED[part]: {name: group[name] for name in names}})
    headers = check_files(roles, None, workers)
    compared, faults = [], []
    for name in names:
        same = {part: group[name] for part, group in files.items()}
        faults_here = faults_of_compared(name, same, first, folders, headers)
        if not faults_here:
            one_each = (next(iter(same.get(part, ())), None) for part in COMPARED)
            compared.append(Compared(name, *one_each))
        faults += faults_here
    if predictions and photos and not any(files["photos"][name] for name in names):
        faults.append(f"{folders['photos']}: no file has the name of a truth")
    if faults:
        raise ValueError(
            f"{count_faults(faults)} in the files to compare; fix or remove them:\n  "
            + "\n  ".join(faults)
        )
    return compared


def rename_predicted(predictions: dict[str, list[Path]], names: Iterable[str]) -> None:
    """Renames NAME_alpha to NAME in place, and drops NAME_cutout, which holds the same alpha."""
    for name in names:
        if name not in predictions and f"{name}_alpha" in predictions:
            predictions[name] = predictions.pop(f"{name}_alpha")
            predictions.pop(f"{name}_cutout", None)


def accept(found: Sequence[Found], skip_bad: bool) -> None:
    """Raises a ValueError that lists every fault; with skip_bad, logs their number instead."""
    faults = [fault for part in found for fault in part.faults]
    if faults and not skip_bad:
        raise ValueError(
            f"{count_faults(faults)} in {', '.join(part.field for part in found if part.faults)}; "
            "fix the files, or set config.data.skip_bad=True to skip them:\n  "
            + "\n  ".join(faults)
        )
    for part in found:
        if part.faults:
            logger.warning(
                "%s: skipped files for %s in %s, %d remain",
                part.field,
                count_faults(part.faults),
                part.folder,
                len(part.items),
            )
        if not part.items:
            raise ValueError(f"{part.field}: no file in {part.folder} can be used")


def roles_of(groups: Mapping[str, Mapping[str, Sequence[Path]]]) -> dict[Path, str]:
    """Returns the role of each file, given {role: {stem: files}}."""
    return {
        path: role for role, group in groups.items() for files in group.values() for path in files
    }


def check_exists(folder: str | Path, field: str) -> Path:
    """Returns the folder's path; raises ValueError, with the config field, if there is none."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{field}: there is no folder {folder}")
    return folder
