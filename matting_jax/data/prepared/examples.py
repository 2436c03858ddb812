"""What TFDS is told of a data set, and foregrounds and composites as its encoded examples."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from matting_jax.data.prepared.manual import Foreground, Path
from matting_jax.data.prepared.merge import lay_under, merge

GREY = ("alpha", "trimap")


def info(
    builder: tfds.core.GeneratorBasedBuilder, features: Iterable[str], homepage: str, about: str
) -> tfds.core.DatasetInfo:
    """What TFDS keeps of a data set with these images, in colour but for alpha and trimap."""
    images = {
        name: tfds.features.Image(shape=(None, None, 1 if name in GREY else 3)) for name in features
    }
    return tfds.core.DatasetInfo(
        builder=builder,
        description=about,
        features=tfds.features.FeaturesDict({**images, "name": tfds.features.Text()}),
        homepage=homepage,
        disable_shuffling=True,
    )


def foreground_examples(foregrounds: Iterable[Foreground]) -> Iterator[dict[str, Any]]:
    """foreground, alpha and name of each; ValueError where the two differ in size."""
    for foreground in foregrounds:
        check_sizes(foreground.colours, foreground.alpha)
        yield {
            "foreground": foreground.colours,
            "alpha": foreground.alpha,
            "name": foreground.name,
        }


def composite_examples(
    foreground: Foreground, backgrounds: Iterable[Path]
) -> Iterator[dict[str, Any]]:
    """image and alpha of a foreground over each background, as Adobe's own script merges them.

    Raises ValueError where the foreground and its alpha differ in size.
    """
    check_sizes(foreground.colours, foreground.alpha)
    colours = np.asarray(_opened(foreground.colours).convert("RGB"))
    # Of alphas stored in colour the script reads the first channel.
    alpha = np.asarray(_opened(foreground.alpha).convert("RGB"))[..., 0]
    height, width = alpha.shape
    alpha_file = png(alpha)
    for path in backgrounds:
        background = lay_under(_opened(path).convert("RGB"), width, height)
        image = merge(colours, alpha, np.asarray(background))
        yield {"image": png(image), "alpha": alpha_file}


def check_sizes(path: Path, other: Path) -> None:
    """Raises ValueError, naming both files, when they differ in size."""
    width, height = _size(path)
    other_width, other_height = _size(other)
    if (width, height) != (other_width, other_height):
        raise ValueError(
            f"{path} has {width} x {height} pixels, but {other} has {other_width} x "
            f"{other_height}: restore both as they were sent."
        )


def _size(path: Path) -> tuple[int, int]:
    with path.open("rb") as file, Image.open(file) as image:
        return image.size


def _opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def png(image: np.ndarray) -> bytes:
    """A PNG file of an image uint8 [H, W] or [H, W, 3]."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png", compress_level=1)
    return stream.getvalue()
