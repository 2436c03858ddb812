"""Published evaluation codes: how they differ, and what all of them share.

matlab   the Composition-1k benchmark (Xu et al., 2017), as in Yaoyi-Li/GCA-Matting
bgm      PeterL1n/BackgroundMattingV2, eval/
paddle   PaddlePaddle/PaddleSeg, Matting/ppmatting/metrics/metric.py
mmagic   open-mmlab/mmagic, mmagic/evaluation/metrics/
gfm      JizhiziLi/GFM, core/evaluate.py
rvm      PeterL1n/RobustVideoMatting, evaluation/evaluate_lr.py

docs/metrics.md has a table of them, with the papers that use each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from matting_jax.choices import one_of

ALL = ("SAD", "MSE", "MAD", "Grad", "Conn")


@dataclass(frozen=True)
class Convention:
    """The rules of one published code. The defaults are those of the benchmark."""

    metrics: tuple[str, ...] = ("SAD", "MSE", "Grad", "Conn")
    whole: tuple[str, ...] = ()  # the metrics that take no trimap
    rounds: bool = False  # to 8 bits; the other codes do not round
    known: str = "as is"  # the prediction's known pixels: "as is", "filled" or "must be filled"
    sums: str = "unknown"  # pixels that SAD, MSE and MAD sum over: "unknown" or "all"
    none_is_zero: bool = False  # MSE and MAD are 0 if no pixel is unknown, instead of divided by 0
    mean_scale: float = 1.0  # factor of MSE and MAD
    grad_filter: str = "benchmark"  # or "scipy": see gradient.py
    grad_scale: float = 1 / 1000
    conn_scale: float = 1 / 1000
    conn_order: str = "column"  # the first of equally large components in this order counts
    # Thresholds that no pixel reaches end the chains ("left"), are "skipped", or make the metric
    # "undefined".
    conn_none: str = "left"
    conn_double: tuple[str, ...] = ()  # the arrays compared with the thresholds in float64


CONVENTIONS = {
    # The benchmark has no MAD; here it is the mean over the pixels of its MSE.
    "matlab": Convention(metrics=ALL),
    "bgm": Convention(grad_scale=1.0, conn_scale=1.0, conn_none="undefined"),
    "paddle": Convention(rounds=True, known="filled", none_is_zero=True, conn_order="row"),
    "mmagic": Convention(
        rounds=True,
        known="must be filled",
        sums="all",
        none_is_zero=True,
        conn_order="row",
        conn_double=("prediction", "truth"),
    ),
    "gfm": Convention(
        metrics=ALL,
        whole=("Grad", "Conn"),
        known="filled",
        sums="all",
        grad_filter="scipy",
        grad_scale=1 / 10,
        conn_order="row",
        conn_none="skipped",
        conn_double=("truth",),
    ),
    "rvm": Convention(
        metrics=("MSE", "MAD", "Grad", "Conn"), whole=ALL, mean_scale=1000.0, conn_order="row"
    ),
}


class Pair(NamedTuple):
    """A validated prediction with its truth."""

    prediction: np.ndarray  # [H, W] float
    truth: np.ndarray  # [H, W] float
    unknown: np.ndarray  # [H, W] bool, the pixels to measure; all without a trimap
    rules: Convention


def prepare(
    metric: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None,
    convention: str,
    fill: bool,
) -> Pair:
    """Validates the arguments of a metric and applies the rules of a convention.

    Args:
        metric: name of the metric, one of `ALL`.
        prediction: as in `matting_jax.metrics`.
        truth: as in `matting_jax.metrics`.
        trimap: as in `matting_jax.metrics`.
        convention: as in `matting_jax.metrics`.
        fill: as in `matting_jax.metrics`.

    Raises:
        ValueError: if the convention does not define the metric, or not with a trimap; if it needs
            a filled prediction and gets another; for arrays of another shape, range or values.
    """
    rules = CONVENTIONS[one_of(convention, CONVENTIONS, "convention")]
    if metric not in rules.metrics:
        others = [name for name, other in CONVENTIONS.items() if metric in other.metrics]
        raise ValueError(f"convention {convention!r} has no {metric}; {', '.join(others)} have one")
    if trimap is not None and metric in rules.whole:
        raise ValueError(
            f"convention {convention!r} measures {metric} over the whole image: pass no trimap"
        )
    if fill and trimap is None:
        raise ValueError("fill=True needs a trimap")

    truth = as_float("truth", truth)
    prediction = as_float("prediction", prediction, truth.shape)
    if rules.rounds:
        prediction, truth = (np.rint(255 * x) / 255 for x in (prediction, truth))
    if trimap is None:
        return Pair(prediction, truth, np.ones(truth.shape, bool), rules)
    trimap, unknown = as_trimap(trimap, truth.shape)
    if fill or rules.known != "as is":
        filled = np.where(unknown, prediction, trimap.astype(prediction.dtype))
        if not fill and rules.known == "must be filled" and (filled != prediction).any():
            raise ValueError(
                f"convention {convention!r} needs predictions whose known pixels equal the trimap: "
                "pass fill=True"
            )
        prediction = filled
    return Pair(prediction, truth, unknown, rules)


def fill_known(prediction: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Sets the prediction to 0 where the trimap is 0, and to 1 where it is 1.

    Arrays and errors as in `matting_jax.metrics`; the result has the dtype of the prediction.
    """
    prediction = as_float("prediction", prediction)
    trimap, unknown = as_trimap(trimap, prediction.shape)
    return np.where(unknown, prediction, trimap.astype(prediction.dtype))


def as_float(
    name: str,
    array: np.ndarray,
    shape: tuple[int, ...] | None = None,
    axes: tuple[str, ...] = ("H", "W"),
) -> np.ndarray:
    """Returns an array as float64 if it is float64, otherwise as float32.

    Args:
        name: name of the argument in errors.
        array: the array.
        shape: required shape, or None.
        axes: names of the required axes.

    Raises:
        ValueError: for another shape, another type, or values outside [0, 1].
    """
    array = as_shaped(name, array, shape, axes)
    if array.dtype.kind not in "fb":
        raise ValueError(f"{name} must be float in [0, 1], got {array.dtype}: divide uint8 by 255")
    if bad := array.size - np.count_nonzero(np.isfinite(array)):
        raise ValueError(f"{name} is NaN or infinite in {bad} of {array.size} values")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"{name} must lie in [0, 1] (8-bit values: divide by 255)")
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def as_trimap(
    trimap: np.ndarray, shape: tuple[int, ...], axes: tuple[str, ...] = ("H", "W")
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the trimap as an array, and a mask of its unknown pixels.

    Raises ValueError for another shape and for values other than 0, 0.5 (or 128/255) and 1.
    """
    trimap = as_shaped("trimap", trimap, shape, axes)
    unknown = (trimap > 0.4975) & (trimap < 0.5025)
    known = (trimap == 0) | (trimap == 1)
    if not (known ^ unknown).all():
        wrong = trimap[~known & ~unknown][0]
        advice = ": divide uint8 by 255" if trimap.dtype.kind in "iu" else ""
        raise ValueError(f"trimap holds {wrong}, expected only 0, 0.5 (or 128/255) and 1{advice}")
    return trimap, unknown


def as_shaped(
    name: str, array: np.ndarray, shape: tuple[int, ...] | None, axes: tuple[str, ...]
) -> np.ndarray:
    """Returns an array; raises ValueError for other axes or another shape, and if it is empty."""
    array = np.asarray(array)
    if array.ndim != len(axes) or shape is not None and array.shape != shape:
        expected = f"[{', '.join(axes)}]" + (f" {shape}" if shape else "")
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
    if not array.size:
        raise ValueError(f"{name} has no pixels")
    return array
