"""Data sets whose parts lie in folders beside one another, in files of the same names."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from matting_jax.data.examples import check_sizes
from matting_jax.data.images import is_image, read_alpha, read_image
from matting_jax.data.manual import Path, absent, check_missing

# Splits by name; of each the features, and the folders that hold their files.
Layout = Mapping[str, Mapping[str, str]]
Example = tuple[int, dict[str, Any]]
GREY = ("alpha", "trimap")


def info(
    builder: tfds.core.GeneratorBasedBuilder, features: Iterable[str], homepage: str, about: str
) -> tfds.core.DatasetInfo:
    """What TFDS keeps of a data set with these images, in colour but for alpha and trimap."""
    images = {
        name: tfds.features.Image(shape=(None, None, 1 if name in GREY else 3))
        for name in features
    }
    return tfds.core.DatasetInfo(
        builder=builder,
        description=about,
        features=tfds.features.FeaturesDict({**images, "name": tfds.features.Text()}),
        homepage=homepage,
        disable_shuffling=True,
    )


def colours(manual: Path, feature: str, made: str, photos: str) -> dict[str, str]:
    """`feature`, a foreground, from the folder `made` if it is there, else from `photos`, whose
    colours `examples` then estimates."""
    if (manual / made).exists():
        return {feature: made}
    return {feature.replace("foreground", "photo"): photos}


def splits(
    builder: tfds.core.GeneratorBasedBuilder, manual: Path, layout: Layout
) -> dict[str, Any]:
    """The splits of `layout`, whose folders lie below `manual`, each with its examples.

    Raises ValueError that names every missing file or folder, and how to get the data set.
    """
    missing: dict[str, None] = {}
    found = {
        split: files({part: manual / folder for part, folder in folders.items()}, missing)
        for split, folders in layout.items()
    }
    check_missing(missing, builder.name, builder.MANUAL_DOWNLOAD_INSTRUCTIONS)
    return {split: builder._generate_examples(same) for split, same in found.items()}


def files(folders: Mapping[str, Path], missing: dict[str, None]) -> list[dict[str, Any]]:
    """The files of each name, by part, and the `name`, sorted; what is missing is noted."""
    missing |= absent(folders.values())
    there = {part: _by_stem(folder) for part, folder in folders.items() if folder.exists()}
    stems = sorted(set().union(*there.values()))
    for part, same in there.items():
        lacking = [stem for stem in stems if stem not in same] if same else ["*"]
        missing |= {str(folders[part] / f"{stem}.*"): None for stem in lacking}
    return [{part: same.get(stem) for part, same in there.items()} | {"name": stem}
            for stem in stems]  # fmt: skip


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in folder.iterdir() if is_image(path)}


def examples(found: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """TFDS's examples of `files`, in which the colours of a `photo` become its `foreground`.

    Those of a `photo_denoised` become `foreground_denoised`. Raises ValueError, naming both files,
    where parts differ in size.
    """
    for same in found:
        first, *others = [file for part, file in same.items() if part != "name"]
        for other in others:
            check_sizes(first, other)
        yield {
            part.replace("photo", "foreground"): _foreground(file, same["alpha"])
            if part.startswith("photo")
            else file
            for part, file in same.items()
        }


def _foreground(photo: Path, alpha: Path) -> bytes:
    """The colours of what is seen in a photo through its alpha, estimated: a PNG file."""
    from matting_jax.foreground import multilevel  # slow to import

    colours = multilevel(read_image(photo), read_alpha(alpha))
    stream = io.BytesIO()
    Image.fromarray(np.asarray(colours)).save(stream, "png", compress_level=1)
    return stream.getvalue()
