"""Video metrics: temporal coherence (Erofeev et al., 2015) and SSDA.

`prediction` and `truth`: float arrays [T, H, W] in [0, 1]; `trimap`: [T, H, W] of 0, 0.5 (or
128/255) and 1: only unknown pixels are measured, without a trimap all pixels are. Each metric
returns one float64 for each frame, [T]; papers print the mean over the frames. A frame without a
neighbour has 0. They raise ValueError for arrays of another shape or range.

tcvom   yunkezhang/TCVOM, calc_metric.py and utils/utils.py
rvm     PeterL1n/RobustVideoMatting, evaluation/evaluate_lr.py
"""

from __future__ import annotations

import numpy as np
import scipy

from matting_jax.choices import one_of
from matting_jax.metrics.conventions import as_float, as_trimap

FRAMES = ("T", "H", "W")


def dtssd(
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "rvm",
) -> np.ndarray:
    """Computes the root of squared differences between the changes of prediction and truth.

    Args:
        prediction: [T, H, W].
        truth: [T, H, W].
        trimap: [T, H, W], or None.
        convention: "rvm" averages over the whole frame, times 100, for the change from the previous
            frame, and takes no trimap. "tcvom" sums over the unknown pixels, for the change to the
            next frame.
    """
    one_of(convention, ("rvm", "tcvom"), "convention")
    if convention == "rvm" and trimap is not None:
        raise ValueError(
            "convention 'rvm' measures whole frames: pass no trimap, or convention='tcvom'"
        )
    error, unknown = errors(prediction, truth, trimap)
    change = np.square(np.diff(error, axis=0))
    if convention == "rvm":
        return np.concatenate([[0.0], 100 * np.sqrt(change.mean((1, 2)))])
    return np.append(np.sqrt(change.sum((1, 2), where=unknown[:-1])), 0.0)


def ssda(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None = None) -> np.ndarray:
    """Computes the root of the sum of squared differences of each frame, as tcvom."""
    error, unknown = errors(prediction, truth, trimap)
    return np.sqrt(np.square(error).sum((1, 2), where=unknown))


def messddt(
    prediction: np.ndarray,
    truth: np.ndarray,
    flow: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    squared: bool = True,
) -> np.ndarray:
    """Computes the sum of changes of the squared error along the motion to the next frame.

    As in tcvom, the next frame is sampled bilinearly at the end of the motion; it is 0 outside.

    Args:
        prediction: [T, H, W].
        truth: [T, H, W].
        flow: float [T - 1, H, W, 2], the motion (x, y) in pixels from frame t to t + 1; pixels
            whose motion is not finite are skipped.
        trimap: [T, H, W], or None.
        squared: whether to square the error; False is tcvom's MESSDdt_fix.
    """
    error, unknown = errors(prediction, truth, trimap)
    flow = np.asarray(flow, np.float64)
    frames, height, width = error.shape
    if flow.shape != (frames - 1, height, width, 2):
        raise ValueError(
            f"flow has shape {flow.shape}, expected [T - 1, H, W, 2] "
            f"{(frames - 1, height, width, 2)}"
        )
    change = np.zeros(frames)
    for t in range(frames - 1):
        valid = np.isfinite(flow[t]).all(-1)
        following = warp(error[t + 1], np.where(valid[..., None], flow[t], 0))
        pair = np.stack([error[t], following])
        difference = np.diff(np.square(pair) if squared else pair, axis=0)[0]
        change[t] = np.abs(difference).sum(where=unknown[t] & valid)
    return change


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Samples image [H, W] bilinearly at x + flow [H, W, 2] (x, y); 0 outside."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    positions = [y + flow[..., 1], x + flow[..., 0]]
    return scipy.ndimage.map_coordinates(image, positions, order=1, mode="grid-constant")


def errors(
    prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns prediction - truth in float64 and a mask of unknown pixels, both [T, H, W]."""
    truth = as_float("truth", truth, axes=FRAMES)
    prediction = as_float("prediction", prediction, truth.shape, FRAMES)
    if trimap is None:
        unknown = np.ones(truth.shape, bool)
    else:
        unknown = as_trimap(trimap, truth.shape, FRAMES)[1]
    return np.subtract(prediction, truth, dtype=np.float64), unknown
