"""Metrics of foreground colours, measured where the true alpha is above 0.

`prediction` and `truth`: float arrays [H, W, 3] in [0, 1]; `alpha`: the true alpha [H, W];
`trimap`: [H, W] of 0, 0.5 (or 128/255) and 1: only unknown pixels are measured, without a trimap
all pixels are. They raise ValueError for arrays of another shape or range.

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
    """Computes the sum over pixels of the absolute difference, averaged over RGB, in thousands.

    No published code has it: it is defined here, on the pixels of bgm's foreground MSE.
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
    """Computes the mean squared difference over pixels and channels; NaN if there is no pixel.

    Args:
        prediction: foreground colours [H, W, 3].
        truth: true foreground colours [H, W, 3].
        alpha: true alpha [H, W].
        trimap: [H, W], or None.
        convention: "bgm" divides by the number of unknown pixels; pixels with alpha 0 contribute 0.
            "rvm" divides by the number of pixels with alpha above 0, multiplies by 1000, and takes
            no trimap.
    """
    one_of(convention, ("bgm", "rvm"), "convention")
    if convention == "rvm" and trimap is not None:
        raise ValueError("convention 'rvm' measures MSE over the whole image: pass no trimap")
    values, unknown = differences(prediction, truth, alpha, trimap)
    if convention == "rvm":
        return 1000 * mean(np.square(values), len(values))
    return mean(np.square(values), unknown)


def foreground_mad(prediction: np.ndarray, truth: np.ndarray, alpha: np.ndarray) -> float:
    """Computes rvm's mean absolute difference over pixels with alpha above 0 and channels, x 1000.

    NaN if there is no such pixel.
    """
    values, _ = differences(prediction, truth, alpha, None)
    return 1000 * mean(np.abs(values), len(values))


def differences(
    prediction: np.ndarray, truth: np.ndarray, alpha: np.ndarray, trimap: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """Returns prediction - truth [N, 3] in float64 and the number of unknown pixels."""
    alpha = as_float("alpha", alpha)
    colours, axes = (*alpha.shape, 3), ("H", "W", "3")
    prediction = as_float("prediction", prediction, colours, axes)
    truth = as_float("truth", truth, colours, axes)
    if trimap is None:
        unknown = np.ones(alpha.shape, bool)
    else:
        unknown = as_trimap(trimap, alpha.shape)[1]
    measured = unknown & (alpha > 0)
    values = np.subtract(prediction[measured], truth[measured], dtype=np.float64)
    return values, int(np.count_nonzero(unknown))


def mean(values: np.ndarray, count: int) -> float:
    """Averages `values` [N, 3] over channels and divides their sum by `count` pixels."""
    return float(values.mean(-1).sum() / count) if count else float("nan")
