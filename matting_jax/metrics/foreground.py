"""Metrics of the foreground's colours, which exist where the true alpha is above 0.

`prediction` and `truth`: float arrays [H, W, 3] in [0, 1]; `alpha`: the true one [H, W]; `trimap`
[H, W], 0, 0.5 (or 128/255) and 1: only its unknown pixels count, without one all pixels do.
ValueError for arrays of another shape or range.

bgm   PeterL1n/BackgroundMattingV2, eval/
rvm   PeterL1n/RobustVideoMatting, evaluation/evaluate_lr.py
"""

from __future__ import annotations

import numpy as np

from matting_jax.choices import one_of
from matting_jax.metrics.conventions import as_float, as_trimap


def foreground_sad(
    prediction: np.ndarray,
    truth: np.ndarray,
    alpha: np.ndarray,
    trimap: np.ndarray | None = None,
) -> float:
    """Sum over the pixels of the absolute difference, the mean of three colours, in thousands.

    No published code prints it: it is defined here, on the pixels of bgm's foreground MSE.
    """
    values, _ = differences(prediction, truth, alpha, trimap)
    return float(np.abs(values).mean(-1).sum() / 1000)


def foreground_mse(
    prediction: np.ndarray,
    truth: np.ndarray,
    alpha: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "bgm",
) -> float:
    """Mean squared difference over pixels and colours; NaN where no pixel counts.

    "bgm" divides by the number of all unknown pixels, with those of alpha 0, whose difference is
    taken for 0. "rvm" divides by that of the pixels with alpha above 0, multiplies by 1000, and
    measures the whole image: ValueError with a trimap.
    """
    one_of(convention, ("bgm", "rvm"), "convention")
    if convention == "rvm" and trimap is not None:
        raise ValueError("convention 'rvm' measures MSE over the whole image: pass no trimap")
    values, unknown = differences(prediction, truth, alpha, trimap)
    if convention == "rvm":
        return 1000 * mean(np.square(values), len(values))
    return mean(np.square(values), unknown)


def foreground_mad(prediction: np.ndarray, truth: np.ndarray, alpha: np.ndarray) -> float:
    """Mean absolute difference over the pixels with alpha above 0 and over colours, times 1000, as
    rvm has it; NaN where there is no such pixel."""
    values, _ = differences(prediction, truth, alpha, None)
    return 1000 * mean(np.abs(values), len(values))


def differences(
    prediction: np.ndarray, truth: np.ndarray, alpha: np.ndarray, trimap: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """prediction - truth [N, 3] in float64 where a foreground counts; number of unknown pixels."""
    alpha = as_float("alpha", alpha)
    colours, axes = (*alpha.shape, 3), ("H", "W", "3")
    prediction = as_float("prediction", prediction, colours, axes)
    truth = as_float("truth", truth, colours, axes)
    if trimap is None:
        unknown = np.ones(alpha.shape, bool)
    else:
        unknown = as_trimap(trimap, alpha.shape)[1]
    counted = unknown & (alpha > 0)
    values = np.subtract(prediction[counted], truth[counted], dtype=np.float64)
    return values, int(np.count_nonzero(unknown))


def mean(values: np.ndarray, count: int) -> float:
    """The sum of `values` [N, 3] over pixels, averaged over colours and over `count` pixels."""
    return float(values.mean(-1).sum() / count) if count else float("nan")
