"""Predicts and scores the alphas of test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import groupby

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from matting_jax.data import EvaluationImage, photo_files
from matting_jax.data.files.sizes import read_size
from matting_jax.evaluation import previews
from matting_jax.evaluation.batches import compute_images
from matting_jax.evaluation.scores import mean_scores, score
from matting_jax.overlap import overlap
from matting_jax.prediction.inputs import as_float_trimap, multiply_opacity
from matting_jax.prediction.jobs import compile_ahead
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.programs import Needed
from matting_jax.prediction.whole import common_sizes

Heads = dict[str, np.ndarray]
Pictures = list[dict[str, np.ndarray]]
Predicted = tuple[EvaluationImage, np.ndarray, Heads | None]


def score_alphas(
    matter: Matter, images: Sequence[EvaluationImage], config: ConfigDict, shown: int
) -> tuple[dict[str, float], Pictures]:
    """Scores the alphas of `images`: the evaluation of tasks without their own.

    The scores are those of the unknown region where the network takes a trimap. Images without
    alpha are shown but not scored.

    Args:
        matter: the network.
        images: the test data.
        config: not read.
        shown: number of images to show.

    Returns:
        The mean scores, and the pictures of the first `shown` images, by name.
    """
    rows, pictures = [], []
    for image, alpha, heads in predictions_and_heads(matter, images, shown):
        inputs, truth = select_inputs(matter, image), None
        if image.alpha is not None:
            truth = image.alpha.astype(np.float32) / 255
            trimap = as_float_trimap(inputs["trimap"])[..., 0] if "trimap" in inputs else None
            rows.append(score(image.name, alpha, truth, trimap))
        if heads is not None:
            pictures.append(previews.draw_row(image.image, inputs, heads, alpha, truth))
    return mean_scores(rows) if rows else {}, pictures


def predictions(
    matter: Matter, images: Sequence[EvaluationImage], source: str = "the network"
) -> Iterator[tuple[int, EvaluationImage, np.ndarray]]:
    """Yields number, image and alpha [H, W] of each image, 0 where the photo is transparent.

    Images of one network size follow one another, in batches. The next ones are read meanwhile, and
    the programs of the next sizes are compiled.

    Args:
        matter: the network.
        images: the images.
        source: the checkpoint, for the error message.

    Raises:
        ValueError: names the image and `source` if an alpha is not finite.
    """

    def predict(_: int, image: EvaluationImage) -> Predicted:
        return image, matter(image.image, **select_inputs(matter, image)), None

    def count_pixels(predicted: Predicted) -> int:
        return predicted[1].size

    if sizes := common_sizes(photo_files(images)):
        matter.resize_on_device(sizes)
    stages = images.__getitem__, predict, partial(finish, source), count_pixels
    with closing(compute_images(images, matter.list_programs, *stages)) as results:
        for number, result in results:
            yield number, *result.result()[:2]


def predictions_and_heads(
    matter: Matter, images: Sequence[EvaluationImage], shown: int, source: str = "the network"
) -> Iterator[Predicted]:
    """Yields each image with its alpha and, for the first ones, all outputs of the network.

    The next image is read meanwhile, and the programs of the next sizes are compiled.

    Args:
        matter: the network.
        images: the images.
        shown: number of images whose outputs are yielded; None is yielded for the others.
        source: the checkpoint, for the error message.

    Raises:
        ValueError: names the image and `source` if an alpha is not finite.
    """

    def predict(number: int, image: EvaluationImage) -> Predicted:
        inputs = select_inputs(matter, image)
        if number < shown:
            return image, *matter.alpha_and_heads(image.image, **inputs)
        return image, matter(image.image, **inputs), None

    with ExitStack() as stack:
        numbers = stack.enter_context(
            closing(compile_ahead(find_runs(matter, images, shown), keep=True))
        )
        stages = overlap(numbers, images.__getitem__, predict, partial(finish, source))
        results = stack.enter_context(closing(stages))
        bar = tqdm(results, "evaluate", len(images), unit="image", leave=False, disable=None)
        for _, result in bar:
            yield result.result()


def finish(source: str, number: int, predicted: Predicted) -> Predicted:
    """Returns a prediction with the photo's own transparency.

    Raises ValueError, with `source`, if the alpha is not finite.
    """
    image, alpha, heads = predicted
    if bad := np.count_nonzero(~np.isfinite(alpha)):
        raise ValueError(
            f"the alpha of {image.name}, predicted by {source}, is NaN or infinite in {bad} of "
            f"{alpha.size} pixels"
        )
    return image, multiply_opacity(alpha, image.opacity), heads


def find_runs(
    matter: Matter, images: Sequence[EvaluationImage], shown: int
) -> list[tuple[tuple[Needed, ...], list[int]]]:
    """Returns the numbers of the images, in order, in runs that need the same programs.

    The last pass of the first `shown` images returns all outputs, and that program then serves the
    others of its size.
    """
    files = photo_files(images)
    if not files:
        return [((), list(range(len(images))))]
    programs = [matter.list_programs(*read_size(file)) for file in files]
    whole = {needed.with_all_heads() for listed in programs[:shown] for needed in listed[-1:]}
    programs = [
        tuple(y if (y := x.with_all_heads()) in whole else x for x in listed) for listed in programs
    ]
    return [(key, list(run)) for key, run in groupby(range(len(images)), programs.__getitem__)]


def select_inputs(matter: Matter, image: EvaluationImage) -> dict[str, np.ndarray]:
    """Returns what the network needs in addition to the image.

    Raises ValueError if the image has none.
    """
    inputs = {kind: getattr(image, kind) for kind in matter.needs}
    for kind, value in inputs.items():
        if value is None:
            raise ValueError(
                f"{matter.name} needs a {kind} for the test image {image.name}: put it into a "
                f"folder {kind}/ next to image/ and alpha/, with the same name"
            )
    return inputs
