"""The metrics of one image as a row of a table, and what follows from many rows."""

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
# Columns of SAD in the trimap's regions, beside those of the whole image and the unknown region.
SPLIT = ("sad_transition", "sad_foreground", "sad_background")


@dataclass(frozen=True)
class Case:
    """A prediction and what it is measured against; alphas float [H, W] in [0, 1].

    trimap: 0, 0.5 and 1, or None; photo: uint8 [H, W, 3], or None, only to be shown.
    """

    name: str
    prediction: np.ndarray
    truth: np.ndarray
    trimap: np.ndarray | None = None
    photo: np.ndarray | None = None


def score(
    name: str, prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None = None
) -> Row:
    """The cheap scores of one image, for every evaluation in training; over the unknown region
    where there is a trimap.

    prediction, truth: float [H, W] in [0, 1]; trimap: 0, 0.5 and 1.
    """
    return {"name": name} | {
        column: METRICS[metric](prediction, truth, trimap)
        for metric, column in columns(("SAD", "MSE", "MAD")).items()
    }


def all_scores(case: Case, convention: str) -> Row:
    """Every metric of `convention`, over the whole image and, with a trimap, over its regions.

    Columns: `sad`, `mse` ... over the whole image; `sad_unknown` ... over the unknown region, with
    the known pixels of the prediction filled from the trimap first; and SAD's `SPLIT`, unfilled.
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
    """The column of each metric: its name in small letters, and the region's."""
    return {name: f"{name.lower()}{region}" for name in names}


def mean_scores(rows: Sequence[Row]) -> dict[str, float]:
    """The plain mean of each score over the images where it is a number; NaN if there are none."""
    return {key: mean([row[key] for row in rows]) for key in rows[0] if key != "name"}


def mean(values: Sequence[float]) -> float:
    """The mean of what is finite, NaN of nothing."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def left_out(rows: Sequence[Row]) -> dict[str, int]:
    """Of each score that is not a number in some images, in how many."""
    counts = {
        key: sum(not np.isfinite(row[key]) for row in rows) for key in rows[0] if key != "name"
    }
    return {key: count for key, count in counts.items() if count}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """The scores as a table with a line of names, a line an image and a line of means."""
    with write_atomically(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
        table.writerow({"name": "mean", **mean_scores(rows)})
