"""Scores a task by counts that add up over the test images, such as a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from matting_jax.data import EvaluationImage
from matting_jax.evaluation import previews
from matting_jax.evaluation.batches import compute_images
from matting_jax.evaluation.scores import write_csv
from matting_jax.evaluation.shares import Shares
from matting_jax.files import write_folder_atomically
from matting_jax.prediction.matter import Matter
from matting_jax.tasks.task import Evaluation, Pictures, Scores, add_up

COUNTS = "counts.npz"


def count_images(
    evaluation: Evaluation,
    matter: Matter,
    images: Sequence[EvaluationImage],
    config: ConfigDict,
    shown: int,
) -> tuple[Any, Pictures]:
    """Returns the sum of the counts of all images, and the pictures of the first `shown`.

    Images of one size follow one another, shared out among the devices of this process. The next
    ones are read meanwhile.
    """
    stages = evaluation.stages(matter, images, config, shown)
    with closing(compute_images(images, lambda height, width: (), *stages)) as results:
        return add_up(results)


def score_counts(
    evaluation: Evaluation,
    counts: np.ndarray,
    pictures: Pictures,
    config: ConfigDict,
    folder: Path,
    title: str,
) -> Scores:
    """Writes and prints the scores, and returns them.

    Args:
        evaluation: how the task is scored.
        counts: the sum of the counts of all images.
        pictures: pictures by name of some images, for preview.png.
        config: config of the run.
        folder: where scores.csv and preview.png are written.
        title: name of the network and its checkpoint.
    """
    scores = evaluation.score(counts, config)
    with write_folder_atomically(folder) as temporary:
        write_csv(temporary / "scores.csv", [{"name": title, **scores}])
        if pictures:
            Image.fromarray(previews.draw_grid(pictures)).save(temporary / "preview.png")
    print(title, *(f"{name} {value:.4f}" for name, value in scores.items()), sep="\n")
    return scores


def score_share(
    evaluation: Evaluation,
    counts: Any,
    pictures: Pictures,
    config: ConfigDict,
    title: str,
    shares: Shares,
) -> Scores:
    """Keeps the counts of a share; the process that completes them does what `score_counts` does.

    Takes what that takes, for the images of the share, whose counts are 0 if there are none.
    Returns the scores of all images if they were written, else those of the share.
    """
    with shares.write() as temporary:
        write_share(temporary / COUNTS, counts, pictures)
    with shares.complete() as folders:
        if folders:
            parts = [read_share(folder / COUNTS) for folder in folders]
            counts = sum(part for part, _ in parts)
            pictures = [row for _, rows in parts for row in rows]
            return score_counts(evaluation, counts, pictures, config, shares.folder, title)
    return evaluation.score(counts, config) if np.ndim(counts) else {}


def write_share(path: Path, counts: Any, pictures: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Writes counts, and pictures as they are drawn, with 8 bits."""
    arrays = {
        f"{number}/{name}": previews.to_bytes(picture)
        for number, row in enumerate(pictures)
        for name, picture in row.items()
    }
    np.savez(path, counts=counts, **arrays)


def read_share(path: Path) -> tuple[np.ndarray, Pictures]:
    """Returns counts and pictures, float in [0, 1], of a file of `write_share`."""
    rows: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            number, _, name = key.partition("/")
            if name:
                rows.setdefault(number, {})[name] = arrays[key] / np.float32(255)
        return arrays["counts"], [*rows.values()]
