"""Data sets whose images lie in sibling folders, in files of the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from matting_jax.data.files.images import read_alpha, read_image
from matting_jax.data.files.walk import is_image, nfc
from matting_jax.data.prepared.examples import check_sizes, png
from matting_jax.data.prepared.manual import Path, absent, check_missing

# Splits by name, each with the folder of each feature.
Layout = Mapping[str, Mapping[str, str]]


def colours(manual: Path, feature: str, made: str, photos: str) -> dict[str, str]:
    """Returns the folder of `feature`, the foreground colours.

    That is `made` if it exists, else `photos`, from which `examples` estimates them.
    """
    if (manual / made).exists():
        return {feature: made}
    return {feature.replace("foreground", "photo"): photos}


def splits(
    builder: tfds.core.GeneratorBasedBuilder, manual: Path, layout: Layout
) -> dict[str, Iterator[dict[str, Any]]]:
    """Returns the splits of `layout`, whose folders lie below `manual`, each with its examples.

    Raises ValueError that lists every missing file or folder, and says how to get the data set.
    """
    missing: dict[str, None] = {}
    found = {
        split: files({part: manual / folder for part, folder in folders.items()}, missing)
        for split, folders in layout.items()
    }
    check_missing(missing, builder.name, builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
    return {split: examples(same) for split, same in found.items()}


def files(folders: Mapping[str, Path], missing: dict[str, None]) -> list[dict[str, Any]]:
    """Returns the files of each name by feature, sorted, and adds to `missing`."""
    missing |= absent(folders.values())
    there = {part: by_stem(folder) for part, folder in folders.items() if folder.exists()}
    stems = sorted(set().union(*there.values()))
    for part, same in there.items():
        lacking = [stem for stem in stems if stem not in same] if same else ["*"]
        missing |= {str(folders[part] / f"{stem}.*"): None for stem in lacking}
    return [
        {part: same.get(stem) for part, same in there.items()} | {"name": stem} for stem in stems
    ]


def by_stem(folder: Path) -> dict[str, Path]:
    """Returns the images of a folder by stem."""
    return {nfc(path.stem): path for path in folder.iterdir() if is_image(path)}


def examples(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the encoded examples of `files`.

    The colours of a `photo` become its `foreground`, those of a `photo_denoised` its
    `foreground_denoised`. Raises ValueError, with both names, if files differ in size.
    """
    for same in found:
        first, *others = [file for part, file in same.items() if part != "name"]
        for other in others:
            check_sizes(first, other)
        yield {
            part.replace("photo", "foreground"): estimate_foreground(file, same["alpha"])
            if part.startswith("photo")
            else file
            for part, file in same.items()
        }


def estimate_foreground(photo: Path, alpha: Path) -> bytes:
    """Estimates the foreground colours of a photo: a PNG file."""
    from matting_jax.image.foreground import multilevel  # slow to import

    colours, matte = read_image(photo, "ignore"), read_alpha(alpha, grey_if_opaque=True)
    return png(np.asarray(multilevel(colours, matte)))
