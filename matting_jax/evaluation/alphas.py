"""Predicts and scores the alphas of test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from matting_jax.data import EvaluationImage, photo_files
from matting_jax.data.files.sizes import read_size
from matting_jax.evaluation import previews
from matting_jax.evaluation.scores import mean_scores, score
from matting_jax.overlap import overlap
from matting_jax.prediction.inputs import as_float_trimap, multiply_opacity
from matting_jax.prediction.jobs import compile_ahead
from matting_jax.prediction.matter import Matter
from matting_jax.prediction.programs import Needed

Pictures = list[dict[str, np.ndarray]]


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
    for image, alpha in predictions(matter, images):
        inputs, truth = select_inputs(matter, image), None
        if image.alpha is not None:
            truth = image.alpha.astype(np.float32) / 255
            trimap = as_float_trimap(inputs["trimap"])[..., 0] if "trimap" in inputs else None
            rows.append(score(image.name, alpha, truth, trimap))
        if len(pictures) < shown:
            heads = matter.heads(image.image, **inputs)
            pictures.append(previews.draw_row(image.image, inputs, heads, alpha, truth))
    return mean_scores(rows) if rows else {}, pictures


def predictions(
    matter: Matter, images: Sequence[EvaluationImage], source: str = "the network"
) -> Iterator[tuple[EvaluationImage, np.ndarray]]:
    """Yields each image with its alpha [H, W], 0 where the photo itself is transparent.

    The next image is read meanwhile, and the programs of the next sizes are compiled. Raises
    ValueError that names the image and `source`, the checkpoint, if it is not finite.
    """

    def predict(number: int, image: EvaluationImage) -> tuple[EvaluationImage, np.ndarray]:
        return image, matter(image.image, **select_inputs(matter, image))

    def finish(
        number: int, predicted: tuple[EvaluationImage, np.ndarray]
    ) -> tuple[EvaluationImage, np.ndarray]:
        image, alpha = predicted
        if bad := np.count_nonzero(~np.isfinite(alpha)):
            raise ValueError(
                f"the alpha of {image.name}, predicted by {source}, is NaN or infinite in {bad} of "
                f"{alpha.size} pixels"
            )
        return image, multiply_opacity(alpha, image.opacity)

    with ExitStack() as stack:
        numbers = stack.enter_context(closing(compile_ahead(find_runs(matter, images), keep=True)))
        results = stack.enter_context(
            closing(overlap(numbers, images.__getitem__, predict, finish))
        )
        bar = tqdm(results, "evaluate", len(images), unit="image", leave=False, disable=None)
        for _, result in bar:
            yield result.result()


def find_runs(
    matter: Matter, images: Sequence[EvaluationImage]
) -> list[tuple[tuple[Needed, ...], list[int]]]:
    """Returns the numbers of the images, in order, in runs that need the same programs."""
    files = photo_files(images)
    if not files:
        return [((), list(range(len(images))))]
    programs = [tuple(matter.list_programs(*read_size(file))) for file in files]
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
