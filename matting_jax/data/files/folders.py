"""Folders of images: what belongs together, and what cannot be used."""

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matting_jax.data.files.checks import check_files
from matting_jax.data.files.images import Header, is_image

COMPARED = ("predictions", "truths", "trimaps", "photos", "backgrounds")
BESIDE = ("trimap", "background")

logger = logging.getLogger("matting_jax")


@dataclass(frozen=True)
class Pair:
    """A photo and its matte; `alpha` is None where one file holds both."""

    image: Path
    alpha: Path | None


@dataclass(frozen=True)
class Scored:
    """A photo and its matte to be tested on, with a trimap and a captured background if there are
    any."""

    pair: Pair
    trimap: Path | None = None
    background: Path | None = None


@dataclass(frozen=True)
class Compared:
    """The files of one name: a truth, and the prediction, the trimap, the photo and its captured
    background if known."""

    name: str
    prediction: Path | None
    truth: Path
    trimap: Path | None
    photo: Path | None
    background: Path | None


@dataclass(frozen=True)
class Found:
    """What a folder holds for the config field `field`: usable items, and faults in words."""

    field: str
    folder: Path
    items: list
    faults: list[str]


def find_pairs(
    folder: str | Path, field: str, cache: Path, workers: int, truth: str = "alpha"
) -> Found:
    """Finds FOLDER/image/* with FOLDER/alpha/* of the same stem: items are Pair. `truth` is another
    name of the second folder, say "label".

    Raises ValueError, naming the config field, when a folder is missing or holds no image.
    """
    folder = _existing(folder, field)
    images, alphas = (_by_stem(_existing(folder / part, field)) for part in ("image", truth))
    if not images:
        raise ValueError(f"{field}: {folder / 'image'} holds no image file.")
    paths = [path for group in (images, alphas) for same in group.values() for path in same]
    headers = check_files(paths, cache, workers)
    pairs, faults = [], []
    for stem in sorted(images.keys() | alphas.keys()):
        parts = images[stem], alphas[stem]
        pair_faults = [
            f"{', '.join(map(str, part))}: {len(part)} files of one stem"
            for part in parts
            if len(part) > 1
        ]
        for there, missing in (parts, parts[::-1]):
            if there and not missing:
                name = truth if there is parts[0] else "image"
                pair_faults.append(f"{there[0]}: no file {stem}.* in {folder / name}")
        pair_faults += [
            headers[path] for part in parts for path in part if isinstance(headers[path], str)
        ]
        if not pair_faults:
            (image,), (alpha,) = parts
            sizes = [f"{headers[path].width} x {headers[path].height}" for path in (image, alpha)]
            if sizes[0] == sizes[1]:
                pairs.append(Pair(image, alpha))
            else:
                pair_faults.append(f"{image}: {sizes[0]} pixels, but its {truth} has {sizes[1]}")
        faults += pair_faults
    return Found(field, folder, pairs, faults)


def find_scored(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds pairs, as find_pairs, with FOLDER/trimap/* and FOLDER/background/* of the same stem if
    there are these folders: items are Scored.

    Raises ValueError, naming the config field, when a folder is missing or holds no image.
    """
    found = find_pairs(folder, field, cache, workers)
    places = [found.folder / kind for kind in BESIDE if (found.folder / kind).is_dir()]
    stems = {place: _by_stem(place) for place in places}
    paths = [pair.image for pair in found.items]
    paths += [path for group in stems.values() for same in group.values() for path in same]
    headers = check_files(paths, cache, workers) if places else {}
    scored, faults = [], []
    for pair in found.items:
        stem = unicodedata.normalize("NFC", pair.image.stem)
        beside = {place.name: group[stem] for place, group in stems.items()}
        wrong = [
            fault
            for place in places
            for fault in _faults_beside(pair.image, place, beside[place.name], headers)
        ]
        if not wrong:
            scored.append(Scored(pair, **{kind: path for kind, (path,) in beside.items()}))
        faults += wrong
    return Found(field, found.folder, scored, found.faults + faults)


def _faults_beside(
    image: Path, place: Path, same: list[Path], headers: dict[Path, Header | str]
) -> list[str]:
    """What is wrong with the files of the folder `place` that have the stem of `image`."""
    if not same:
        return [f"{image}: no file {image.stem}.* in {place}"]
    if len(same) > 1:
        return [f"{', '.join(map(str, same))}: {len(same)} files of one stem"]
    if isinstance(headers[same[0]], str):
        return [headers[same[0]]]
    sizes = [f"{headers[x].width} x {headers[x].height}" for x in (image, same[0])]
    if sizes[0] != sizes[1]:
        return [f"{image}: {sizes[0]} pixels, but its {place.name} has {sizes[1]}"]
    return []


def find_foregrounds(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds photos with mattes, as find_pairs, or else cut-outs FOLDER/*.png: items are Pair.

    Raises ValueError, naming the config field, when a folder is missing or holds no image.
    """
    folder = _existing(folder, field)
    if (folder / "image").is_dir():
        return find_pairs(folder, field, cache, workers)
    paths = [path for path in sorted(folder.iterdir()) if is_image(path)]
    if not paths:
        raise ValueError(
            f"{field}: {folder} holds neither the folders image and alpha nor RGBA .png files."
        )
    headers = check_files(paths, cache, workers)
    cutouts = [
        path for path in paths if isinstance(headers[path], Header) and headers[path].transparent
    ]
    faults = [
        header if isinstance(header, str) else f"{path}: no alpha channel"
        for path, header in headers.items()
        if isinstance(header, str) or not header.transparent
    ]
    return Found(field, folder, [Pair(path, None) for path in cutouts], faults)


def find_backgrounds(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds every image in a tree of folders: items are paths.

    Raises ValueError, naming the config field, when the folder is missing or holds no image.
    """
    folder = _existing(folder, field)
    paths = sorted(_images_below(folder))
    if not paths:
        raise ValueError(f"{field}: {folder} holds no image file.")
    headers = check_files(paths, cache, workers)
    faults = [header for header in headers.values() if isinstance(header, str)]
    return Found(field, folder, [p for p in paths if isinstance(headers[p], Header)], faults)


def find_compared(
    predictions: str | Path | None,
    truths: str | Path,
    trimaps: str | Path | None = None,
    photos: str | Path | None = None,
    backgrounds: str | Path | None = None,
    workers: int = 8,
) -> list[Compared]:
    """Finds what has the same stem in folders of predictions, truths, trimaps, photos and captured
    backgrounds.

    Every truth needs a prediction and the reverse, and where the folders are given a trimap and a
    background, all of one size; a photo may be missing. Without predictions the photos are to be
    predicted, and it is they that every truth needs. NAME_alpha.*, as --mode predict names it, is
    the prediction for NAME. Raises one ValueError that names every fault.
    """
    first = "predictions" if predictions else "photos"
    given = zip(COMPARED, (predictions, truths, trimaps, photos, backgrounds), strict=True)
    folders = {part: _existing(folder, f"--{part}") for part, folder in given if folder}
    files = {part: _by_stem(folder) for part, folder in folders.items()}
    for part, folder in folders.items():
        if not files[part]:
            raise ValueError(f"--{part}: {folder} holds no image file.")
    if predictions:
        _take_predicted(files["predictions"], files["truths"])
    names = sorted(files[first].keys() | files["truths"].keys())
    paths = [path for group in files.values() for name in names for path in group[name]]
    headers = check_files(paths, None, workers)
    compared, faults = [], []
    for name in names:
        same = {part: group[name] for part, group in files.items()}
        faults_here = _faults_of_name(name, same, first, folders, headers)
        if not faults_here:
            one_each = (next(iter(same.get(part, ())), None) for part in COMPARED)
            compared.append(Compared(name, *one_each))
        faults += faults_here
    if predictions and photos and not any(files["photos"][name] for name in names):
        faults.append(f"{folders['photos']}: no file has the name of a truth")
    if faults:
        raise ValueError(
            f"{len(faults)} faults in what is to be compared; mend or remove the files:\n  "
            + "\n  ".join(faults)
        )
    return compared


def _take_predicted(predictions: dict[str, list[Path]], names: Iterable[str]) -> None:
    # --mode predict writes NAME_alpha.png and NAME_cutout.png, which hold the same alpha.
    for name in names:
        if name not in predictions and f"{name}_alpha" in predictions:
            predictions[name] = predictions.pop(f"{name}_alpha")
            predictions.pop(f"{name}_cutout", None)


def _faults_of_name(
    name: str,
    same: dict[str, list[Path]],
    first: str,
    folders: dict[str, Path],
    headers: dict[Path, Header | str],
) -> list[str]:
    there = [path for paths in same.values() for path in paths]
    faults = [
        f"{', '.join(map(str, paths))}: {len(paths)} files of one stem"
        for paths in same.values()
        if len(paths) > 1
    ]
    faults += [
        f"{there[0]}: no file {name}.* in {folders[part]}"
        for part, paths in same.items()
        if not paths and (part != "photos" or first == "photos")
    ]
    faults += [headers[path] for path in there if isinstance(headers[path], str)]
    if faults:
        return faults
    (truth,) = same["truths"]
    sizes = {path: f"{headers[path].width} x {headers[path].height}" for path in there}
    return [
        f"{path}: {sizes[path]} pixels, but its truth has {sizes[truth]}"
        for part in (first, "trimaps", "backgrounds")
        for path in same.get(part, ())
        if sizes[path] != sizes[truth]
    ]


def accept(found: Sequence[Found], skip_bad: bool) -> None:
    """Raises one ValueError that names every fault; with skip_bad logs their number instead."""
    faults = [fault for part in found for fault in part.faults]
    if faults and not skip_bad:
        raise ValueError(
            f"{len(faults)} faults in {', '.join(part.field for part in found if part.faults)}; "
            "mend the files, or set config.data.skip_bad=True to leave them out:\n  "
            + "\n  ".join(faults)
        )
    for part in found:
        if part.faults:
            logger.warning(
                "%s: left out for %d faults in %s, %d remain",
                part.field,
                len(part.faults),
                part.folder,
                len(part.items),
            )
        if not part.items:
            raise ValueError(f"{part.field}: no file in {part.folder} can be used.")


def _existing(folder: str | Path, field: str) -> Path:
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{field}: there is no folder {folder}.")
    return folder


def _images_below(folder: Path) -> Iterator[Path]:
    entered = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:  # a link leads back to it
            folders.clear()
            continue
        entered.add(real)
        folders.sort()  # so that of two ways to a folder the same one is taken everywhere
        yield from (path for name in names if is_image(path := Path(place, name)))


def _by_stem(folder: Path) -> defaultdict[str, list[Path]]:
    stems = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if is_image(path):
            # Systems differ in how they spell accents: é is one character or two.
            stems[unicodedata.normalize("NFC", path.stem)].append(path)
    return stems
