"""Metrics of the plain difference: SAD, MSE, MAD.

`prediction` and `truth`: float arrays [H, W] in [0, 1]; `trimap` [H, W], 0, 0.5 (or 128/255) and 1.
With a trimap only its unknown pixels count, else all. Equal to the code of the Composition-1k
benchmark, which fills nothing from the trimap.
"""
from __future__ import annotations

import numpy as np


def sad(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None = None) -> float:
    """Sum of absolute differences, in thousands."""
    return float(np.abs(difference(prediction, truth, trimap)).sum() / 1000)


def mse(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None = None) -> float:
    """Mean squared difference; NaN where no pixel is unknown."""
    return mean(np.square(difference(prediction, truth, trimap)))


def mad(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None = None) -> float:
    """Mean absolute difference; NaN where no pixel is unknown."""
    return mean(np.abs(difference(prediction, truth, trimap)))


def mean(values: np.ndarray) -> float:
    """The mean, NaN of nothing."""
    return float(values.mean()) if values.size else float("nan")


def difference(
    prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None
) -> np.ndarray:
    """prediction - truth in float64 at the pixels that count, as a flat array.

    Raises ValueError for arrays of different shapes or values outside [0, 1].
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    for name, array in (("prediction", prediction), ("truth", truth), ("trimap", trimap)):
        if array is None:
            continue
        if np.shape(array) != truth.shape or truth.ndim != 2:
            raise ValueError(f"{name} has shape {np.shape(array)}, expected [H, W] {truth.shape}")
        if not (np.min(array) >= 0 and np.max(array) <= 1):
            raise ValueError(f"{name} must lie in [0, 1] and hold no NaN")
    values = prediction.astype(np.float64) - truth.astype(np.float64)
    if trimap is None:
        return values.ravel()
    return values[(np.asarray(trimap) > 0) & (np.asarray(trimap) < 1)]
