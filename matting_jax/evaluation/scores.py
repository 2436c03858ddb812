"""Computes the metrics of an image as a row of a table, and the means of many rows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax import metrics
from matting_jax.files import write_atomically
from matting_jax.metrics.conventions import CONVENTIONS

Row = dict[str, Any]

METRICS = {
    "SAD": metrics.sad,
    "MSE": metrics.mse,
    "MAD": metrics.mad,
    "Grad": metrics.grad,
    "Conn": metrics.conn,
}
# Further columns of SAD, over regions of the trimap.
SPLIT = ("sad_transition", "sad_foreground", "sad_background")


@dataclass(frozen=True)
class Case:
    """A prediction, its truth, and what belongs to them."""

    name: str
    prediction: np.ndarray  # alpha float [H, W] in [0, 1]
    truth: np.ndarray  # alpha float [H, W] in [0, 1]
    trimap: np.ndarray | None = None  # float [H, W], 0, 0.5 and 1
    photo: np.ndarray | None = None  # uint8 [H, W, 3], only to be shown


def score(
    name: str, prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None = None
) -> Row:
    """Computes the cheap scores of one image, for evaluations during training.

    Args:
        name: name of the image.
        prediction: alpha float [H, W] in [0, 1].
        truth: alpha float [H, W] in [0, 1].
        trimap: float [H, W], 0, 0.5 and 1, to score only the unknown region.

    Returns:
        `name`, `sad`, `mse` and `mad`.
    """
    return {"name": name} | {
        column: METRICS[metric](prediction, truth, trimap)
        for metric, column in columns(("SAD", "MSE", "MAD")).items()
    }


def all_scores(case: Case, convention: str) -> Row:
    """Computes every metric of `convention`, over the whole image and the trimap's regions.

    The columns are `sad`, `mse` ... of the whole image; `sad_unknown` ... of the unknown region,
    with the known pixels of the prediction filled from the trimap; and `SPLIT`, not filled.
    """
    rules = CONVENTIONS[convention]
    row = {"name": case.name}
    for metric, column in columns(rules.metrics).items():
        row[column] = METRICS[metric](case.prediction, case.truth, convention=convention)
    if case.trimap is None:
        return row
    of_regions = [metric for metric in rules.metrics if metric not in rules.whole]
    for metric, column in columns(of_regions, "_unknown").items():
        row[column] = METRICS[metric](
            case.prediction, case.truth, case.trimap, convention=convention, fill=True
        )
    if "SAD" in of_regions:
        split = metrics.sad_split(case.prediction, case.truth, case.trimap)
        row |= {f"sad_{region}": value for region, value in split.items()}
    return row


def columns(names: Sequence[str], region: str = "") -> dict[str, str]:
    """Returns the column of each metric: its name in lower case, and the region's suffix."""
    return {name: f"{name.lower()}{region}" for name in names}


def mean_scores(rows: Sequence[Row]) -> dict[str, float]:
    """Computes the mean of each score over the images where it is finite; NaN without any."""
    return {key: mean([row[key] for row in rows]) for key in rows[0] if key != "name"}


def mean(values: Sequence[float]) -> float:
    """Computes the mean of the finite values; NaN without any."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def undefined(rows: Sequence[Row]) -> dict[str, int]:
    """Counts the images without a finite value of each score; scores without such are omitted."""
    counts = {
        key: sum(not np.isfinite(row[key]) for row in rows) for key in rows[0] if key != "name"
    }
    return {key: count for key, count in counts.items() if count}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes the scores as a table: a header, one line per image and a line of means."""
    with (
        write_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
        table.writerow({"name": "mean", **mean_scores(rows)})
