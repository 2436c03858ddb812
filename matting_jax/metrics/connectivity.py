"""Conn, the connectivity error (Rhemann et al., 2009).

Among the pixels at which prediction and truth both reach a threshold 0.1, 0.2 ... 1, the largest
4-connected component is the main body at this threshold. A pixel is connected up to the last
threshold before the first whose main body does not contain it. If alpha exceeds that threshold by
0.15 or more, the excess is disconnected, and the connectedness is phi = 1 - excess. The error is
the sum of the absolute differences of phi between prediction and truth.
"""

from __future__ import annotations

import numpy as np

from matting_jax.caches import njit
from matting_jax.metrics.components import count_chains
from matting_jax.metrics.conventions import Pair, prepare

THRESHOLDS = 10


def conn(
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "matlab",
    fill: bool = False,
) -> float:
    """Computes the connectivity error, in thousands (bgm: in ones); 0 if no pixel is unknown.

    Arguments as in `matting_jax.metrics`. Uses float32 like the benchmark. Convention bgm, whose
    code fails there, returns NaN if prediction and truth are 1 at no common pixel.
    """
    pair = prepare("Conn", prediction, truth, trimap, convention, fill)
    pair = pair._replace(
        prediction=np.require(pair.prediction, np.float32, ["C", "W"]),
        truth=np.require(pair.truth, np.float32, ["C", "W"]),
    )
    connected = connected_up_to(pair)
    if connected is None:
        return float("nan")
    return sum_errors(*pair[:3], connected) * pair.rules.conn_scale


def connected_up_to(pair: Pair) -> np.ndarray | None:
    """Returns up to how many tenths each pixel is connected, uint8 [H, W]; None if undefined."""
    rules = pair.rules
    level = count_passed(
        pair.prediction,
        pair.truth,
        thresholds("prediction" in rules.conn_double),
        thresholds("truth" in rules.conn_double),
    )
    tenths = count_chains(level, THRESHOLDS, rules.conn_order == "column")
    highest = level.max()
    if highest == THRESHOLDS or rules.conn_none == "left":
        return tenths
    if rules.conn_none == "undefined":
        return None
    # Thresholds above the highest are skipped: what is connected up to there is fully connected.
    return np.where(tenths == highest, np.uint8(THRESHOLDS), tenths)


def thresholds(double: bool) -> np.ndarray:
    """Returns the thresholds 0.1, 0.2 ... 1 as float32.

    With `double`, comparisons give the results of 8-bit alphas in float64. That differs for one
    value: 153 / 255 is smaller than 6 * 0.1 = 0.6000000000000001.
    """
    tenths = (0.1 * np.arange(1, THRESHOLDS + 1)).astype(np.float32)
    if double:
        tenths[5] = np.nextafter(tenths[5], np.float32(1))
    return tenths


@njit
def count_passed(
    prediction: np.ndarray,
    truth: np.ndarray,
    prediction_tenths: np.ndarray,
    truth_tenths: np.ndarray,
) -> np.ndarray:
    """Counts the thresholds that prediction and truth [H, W] both reach, uint8 [H, W]."""
    level = np.empty(prediction.shape, np.uint8)
    for y in range(level.shape[0]):
        for x in range(level.shape[1]):
            count = 0
            for i in range(THRESHOLDS):
                both = (prediction[y, x] >= prediction_tenths[i]) & (truth[y, x] >= truth_tenths[i])
                count += both
            level[y, x] = count
    return level


@njit
def sum_errors(
    prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray, tenths: np.ndarray
) -> float:
    """Sums the differences in connectedness over the unknown pixels, in float64.

    tenths: uint8 [H, W], up to how many each pixel is connected.
    """
    height, width = tenths.shape
    sums = np.zeros(width)  # one sum per column, so that additions are vectorised
    for y in range(height):
        for x in range(width):
            up_to = np.float32(0.1 * tenths[y, x])
            error = abs(phi(prediction[y, x], up_to) - phi(truth[y, x], up_to))
            sums[x] += error * unknown[y, x]
    return sums.sum()


@njit
def phi(alpha: np.float32, up_to: np.float32) -> np.float32:
    """Computes the connectedness of `alpha` at a pixel connected up to `up_to`, in float32."""
    excess = alpha - up_to
    return np.float32(1) - excess * np.float32(excess >= np.float32(0.15))
