"""Scores of a network on images with known alpha."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from matting_jax.choices import one_of
from matting_jax.convert import load_checkpoint
from matting_jax.data import evaluation_pairs
from matting_jax.matter import Matter
from matting_jax.measure import check_output, measure
from matting_jax.metrics.conventions import CONVENTIONS
from matting_jax.scores import Case


def evaluate(
    config: Any,
    workdir: Path,
    checkpoint: str | None = None,
    output: str | None = None,
    *,
    convention: str = "matlab",
    save: bool = False,
    overwrite: bool = False,
) -> dict[str, float]:
    """Score `checkpoint`, or the best one of `workdir`, on the test data of `config`.

    Results as `measure` writes them, with `save` also the alphas, into the folder `output`, by
    default WORKDIR/evaluation/NAME. Returns the means. Raises FileExistsError rather than overwrite
    anything.
    """
    one_of(convention, CONVENTIONS, "--convention")
    name = Path(checkpoint).stem if checkpoint else "best"
    folder = Path(output) if output else workdir / "evaluation" / name
    check_output(folder, overwrite)
    pairs = evaluation_pairs(config)
    variables = load_checkpoint(config.name, checkpoint or workdir, **config.model)
    matter = Matter(config.name, variables, test_time=config.test_time, **config.model)
    cases = (
        partial(Case, pair[0], alpha, np.divide(pair[2], 255, dtype=np.float32), photo=pair[1])
        for pair, alpha in predictions(matter, pairs)
    )
    title = f"{config.name}, {checkpoint or f'best checkpoint of {workdir}'}"
    return measure(cases, len(pairs), folder, title, convention, save=save)


def predictions(
    matter: Matter, pairs: Sequence[tuple[str, np.ndarray, np.ndarray | None]]
) -> Iterator[tuple[tuple[str, np.ndarray, np.ndarray], np.ndarray]]:
    """Each (name, image, alpha) of `pairs` with the alpha [H, W] that `matter` gives its image."""
    numbers = range(len(pairs))
    for index in tqdm(numbers, desc="evaluate", unit="image", leave=False, disable=None):
        pair = pairs[index]
        yield pair, matter(pair[1])
