"""Scores of a network on images with known alpha."""
from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from matting_jax import metrics
from matting_jax.convert import load_checkpoint
from matting_jax.data import evaluation_pairs
from matting_jax.files import written_whole
from matting_jax.matter import Matter

Row = dict[str, Any]


def evaluate(
    config: Any,
    workdir: Path,
    checkpoint: str | None = None,
    *,
    save: bool = False,
    overwrite: bool = False,
) -> dict[str, float]:
    """Score `checkpoint`, or the best one of `workdir`, on the test data of `config`.

    Writes `evaluation/NAME.csv` in the workdir, a line an image, and with `save` the alphas beside
    it as PNG; prints and returns the means. Raises FileExistsError rather than overwrite them.
    """
    name = Path(checkpoint).stem if checkpoint else "best"
    table = workdir / "evaluation" / f"{name}.csv"
    alphas = table.with_suffix("")
    existing = table if table.exists() else alphas
    if existing.exists() and not overwrite:
        raise FileExistsError(f"{existing} exists already: pass --overwrite to replace it")
    pairs = evaluation_pairs(config)
    variables = load_checkpoint(config.name, checkpoint or workdir, **config.model)
    matter = Matter(config.name, variables, test_time=config.test_time, **config.model)

    rows = []
    for pair, alpha in predictions(matter, pairs):
        rows.append(score(pair[0], alpha, pair[2]))
        if save:
            save_alpha(alphas / f"{pair[0]}.png", alpha)
    write_csv(table, rows)
    means = mean_scores(rows)
    print(f"{len(rows)} images: " + ", ".join(f"{k.upper()} {v:.4f}" for k, v in means.items()))
    print(f"each image: {table}")
    return means


def predictions(
    matter: Matter, pairs: Sequence[tuple[str, np.ndarray, np.ndarray]]
) -> Iterator[tuple[tuple[str, np.ndarray, np.ndarray], np.ndarray]]:
    """Each (name, image, alpha) of `pairs` with the alpha [H, W] that `matter` gives its image."""
    numbers = range(len(pairs))
    for index in tqdm(numbers, desc="evaluate", unit="image", leave=False, disable=None):
        pair = pairs[index]
        yield pair, matter(pair[1])


def score(name: str, prediction: np.ndarray, truth: np.ndarray) -> Row:
    """One image's scores over all its pixels; prediction in [0, 1], truth uint8, both [H, W]."""
    truth = truth.astype(np.float32) / 255
    return {
        "name": name,
        "sad": metrics.sad(prediction, truth),
        "mse": metrics.mse(prediction, truth),
        "mad": metrics.mad(prediction, truth),
    }


def mean_scores(rows: Sequence[Row]) -> dict[str, float]:
    """The plain mean over images of each score."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "name"}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """The scores as a table with a line of names, a line an image and a line of means."""
    with written_whole(path) as partial, partial.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
        table.writerow({"name": "mean", **mean_scores(rows)})


def save_alpha(path: Path, alpha: np.ndarray) -> None:
    """Alpha [H, W] in [0, 1] as an 8-bit grey PNG."""
    with written_whole(path) as file:
        Image.fromarray(np.rint(255 * alpha).astype(np.uint8)).save(file)
