"""SAD, MSE, MAD, and GFM's SAD of each region.

Arguments of `sad`, `mse` and `mad` are those of `matting_jax.metrics`.
"""

from __future__ import annotations

import numpy as np

from matting_jax.metrics.conventions import Pair, as_float, as_trimap, prepare


def sad(
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "matlab",
    fill: bool = False,
) -> float:
    """Computes the sum of absolute differences, in thousands; 0 if no pixel is unknown."""
    pair = prepare("SAD", prediction, truth, trimap, convention, fill)
    return float(np.abs(differences(pair)).sum() / 1000)


def mse(
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "matlab",
    fill: bool = False,
) -> float:
    """Computes the mean squared difference; NaN if no pixel is unknown (paddle and mmagic: 0)."""
    pair = prepare("MSE", prediction, truth, trimap, convention, fill)
    return mean(np.square(differences(pair)), pair)


def mad(
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "matlab",
    fill: bool = False,
) -> float:
    """Computes the mean absolute difference; NaN if no pixel is unknown."""
    pair = prepare("MAD", prediction, truth, trimap, convention, fill)
    return mean(np.abs(differences(pair)), pair)


def sad_split(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray) -> dict[str, float]:
    """Computes SAD of the trimap's `transition`, `foreground` and `background`.

    They add up to the SAD of the image. Arrays and errors as of `sad`; nothing is filled. Source:
    JizhiziLi/GFM, core/evaluate.py.
    """
    truth = as_float("truth", truth)
    prediction = as_float("prediction", prediction, truth.shape)
    trimap, unknown = as_trimap(trimap, truth.shape)
    absolute = np.abs(np.subtract(prediction, truth, dtype=np.float64))
    regions = {
        "transition": unknown,
        "foreground": trimap == 1,
        "background": trimap == 0,
    }
    return {name: float(absolute[region].sum() / 1000) for name, region in regions.items()}


def differences(pair: Pair) -> np.ndarray:
    """Returns prediction - truth in float64 at the pixels to sum over, as a flat array."""
    values = np.subtract(pair.prediction, pair.truth, dtype=np.float64)
    return values[pair.unknown] if pair.rules.sums == "unknown" else values.ravel()


def mean(values: np.ndarray, pair: Pair) -> float:
    """Divides the sum of `values` by the number of unknown pixels, also if all were summed."""
    count = np.count_nonzero(pair.unknown)
    if not count and pair.rules.none_is_zero:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(pair.rules.mean_scale * values.sum() / np.float64(count))
