"""Conn, the connectivity error (Rhemann et al., 2009): what is torn from the matte's main body.

Of the pixels at which prediction and truth both reach a threshold 0.1, 0.2 ... 1, the largest
4-connected component is the main body at this threshold. A pixel is connected up to the last
threshold before the first whose body it is not in. Alpha that stands out from there by 0.15 or more
is lacking connection, so that connectedness is phi = 1 - lack; the error is the sum of the
difference of phi between prediction and truth.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from matting_jax.metrics.components import chains
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
    """The connectivity error, in thousands (bgm: in ones); 0 where no pixel is unknown.

    Arguments as in `matting_jax.metrics`. In float32, as the benchmark has it. NaN in convention
    bgm, whose code fails, where prediction and truth nowhere are 1 at one pixel.
    """
    pair = prepare("Conn", prediction, truth, trimap, convention, fill)
    pair = pair._replace(
        prediction=np.require(pair.prediction, np.float32, ["C", "W"]),
        truth=np.require(pair.truth, np.float32, ["C", "W"]),
    )
    connected = connected_up_to(pair)
    if connected is None:
        return float("nan")
    return summed_error(*pair[:3], connected) * pair.rules.conn_scale


def connected_up_to(pair: Pair) -> np.ndarray | None:
    """Up to how many tenths each pixel is connected, uint8 [H, W]; None where it is undefined."""
    rules = pair.rules
    level = passed(
        pair.prediction,
        pair.truth,
        thresholds("prediction" in rules.conn_double),
        thresholds("truth" in rules.conn_double),
    )
    tenths = chains(level, THRESHOLDS, rules.conn_order == "column")
    highest = level.max()
    if highest == THRESHOLDS or rules.conn_none == "left":
        return tenths
    if rules.conn_none == "undefined":
        return None
    # No threshold above the highest is asked for: who is connected up to there, is up to the end.
    return np.where(tenths == highest, np.uint8(THRESHOLDS), tenths)


def thresholds(double: bool) -> np.ndarray:
    """0.1, 0.2 ... 1 as float32 to compare float32 alphas with.

    With `double`, as if 8-bit alphas were compared in float64. That differs in one value:
    153 / 255 is less than the 0.6000000000000001 which 6 * 0.1 is there.
    """
    tenths = (0.1 * np.arange(1, THRESHOLDS + 1)).astype(np.float32)
    if double:
        tenths[5] = np.nextafter(tenths[5], np.float32(1))
    return tenths


@njit(cache=True)
def passed(prediction, truth, for_prediction, for_truth):
    """How many thresholds prediction and truth [H, W] both pass at each pixel, uint8 [H, W]."""
    level = np.empty(prediction.shape, np.uint8)
    for y in range(level.shape[0]):
        for x in range(level.shape[1]):
            count = 0
            for i in range(THRESHOLDS):
                both = (prediction[y, x] >= for_prediction[i]) & (truth[y, x] >= for_truth[i])
                count += both
            level[y, x] = count
    return level


@njit(cache=True)
def summed_error(prediction, truth, unknown, tenths):
    """Sum over the unknown pixels of the difference in connectedness, float64.

    tenths: uint8 [H, W], up to how many each pixel is connected.
    """
    height, width = tenths.shape
    of_columns = np.zeros(width)  # side by side, so that the processor can add several at once
    for y in range(height):
        for x in range(width):
            up_to = np.float32(0.1 * tenths[y, x])
            error = abs(phi(prediction[y, x], up_to) - phi(truth[y, x], up_to))
            of_columns[x] += error * unknown[y, x]
    return of_columns.sum()


@njit(cache=True)
def phi(alpha, up_to):
    """Connectedness of `alpha` at a pixel that is connected up to `up_to`, all float32."""
    lack = alpha - up_to
    return np.float32(1) - lack * np.float32(lack >= np.float32(0.15))
