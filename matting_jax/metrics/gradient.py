"""Grad, the gradient error (Rhemann et al., 2009): how far edges differ in strength.

The amplitude of the gradient of both alphas, by derivatives of a Gaussian of deviation 1.4; the
error is the sum of the squared difference of the amplitudes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from matting_jax.metrics.conventions import prepare

SIGMA = 1.4
Taps = tuple[tuple[float, ...], tuple[float, ...]]


def grad(
    prediction: np.ndarray,
    truth: np.ndarray,
    trimap: np.ndarray | None = None,
    *,
    convention: str = "matlab",
    fill: bool = False,
) -> float:
    """The gradient error, in thousands (bgm: in ones, gfm: in tens); 0 where no pixel is unknown.

    Arguments as in `matting_jax.metrics`. The benchmark's filter first stretches prediction and
    truth, each for itself, to [0, 1] over the whole image; a constant one has no gradient.
    """
    pair = prepare("Grad", prediction, truth, trimap, convention, fill)
    # numba compiles for each type and layout that it meets: two types, one layout.
    common = np.result_type(pair.prediction, pair.truth)
    images = [np.require(x, common, "C") for x in (pair.prediction, pair.truth)]
    if pair.rules.grad_filter == "benchmark":
        taps, border, scales = benchmark_taps(), "edge", tuple(stretch(x) for x in images)
    else:
        taps, border, scales = scipy_taps(), "symmetric", (1.0, 1.0)
    error = 0.0
    for box in boxes(pair.unknown):
        windows = [with_margin(x, box, len(taps[0]) - 1, border) for x in images]
        error += summed_error(*windows, np.ascontiguousarray(pair.unknown[box]), *taps, scales)
    return error * pair.rules.grad_scale


def stretch(image: np.ndarray) -> float:
    """What brings the values of `image` to a range of 1, and with them its derivatives."""
    spread = float(image.max()) - float(image.min())
    return 1 / spread if spread else 0.0


def boxes(unknown: np.ndarray, rows: int = 64) -> Iterator[tuple[slice, slice]]:
    """Boxes of at most `rows` rows that together hold all unknown pixels, and few others."""
    for top in range(0, len(unknown), rows):
        band = slice(top, min(top + rows, len(unknown)))
        columns = np.flatnonzero(unknown[band].any(0))
        if columns.size:
            yield band, slice(int(columns[0]), int(columns[-1]) + 1)


def benchmark_taps() -> Taps:
    """Smoothing and derivative filter from the centre on, each of unit norm: nine taps in all."""
    x, gaussian = half_gaussian(radius=4)
    return unit(gaussian), unit(x * gaussian)


def scipy_taps() -> Taps:
    """As `benchmark_taps`, but of unit response and thirteen in all, as SciPy's gaussian_filter."""
    x, gaussian = half_gaussian(radius=6)
    smoothing = gaussian / (gaussian[0] + 2 * gaussian[1:].sum())
    return tuple(smoothing.tolist()), tuple((x / SIGMA**2 * smoothing).tolist())


def half_gaussian(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """x from 0 to `radius` and exp(-x^2 / 2 sigma^2)."""
    x = np.arange(radius + 1.0)
    return x, np.exp(-(x**2) / (2 * SIGMA**2))


def unit(taps: np.ndarray) -> tuple[float, ...]:
    """Half a filter, its centre first, scaled so that the squares of the whole add up to 1."""
    squares = np.square(taps)
    return tuple((taps / np.sqrt(squares[0] + 2 * squares[1:].sum())).tolist())


def with_margin(
    image: np.ndarray, box: tuple[slice, slice], margin: int, border: str
) -> np.ndarray:
    """The box of the image and `margin` pixels around it; outside the image as `border` says."""
    window, missing = [], []
    for side, length in zip(box, image.shape, strict=True):
        start, stop = side.start - margin, side.stop + margin
        window.append(slice(max(start, 0), min(stop, length)))
        missing.append((max(-start, 0), max(stop - length, 0)))
    return np.pad(image[tuple(window)], missing, mode=border)


@njit(cache=True)
def summed_error(prediction, truth, unknown, smoothing, derivative, scales):
    """Sum of the squared difference of the amplitudes over the unknown pixels [h, w].

    prediction, truth: float [h + 2 r, w + 2 r], with a margin as wide as the filters reach.
    """
    height, width = unknown.shape
    of_prediction, of_truth = np.empty(width, np.float32), np.empty(width, np.float32)
    of_columns = np.zeros(width)  # side by side, so that the processor can add several at once
    for y in range(height):
        amplitude(prediction, y, smoothing, derivative, scales[0], of_prediction)
        amplitude(truth, y, smoothing, derivative, scales[1], of_truth)
        for x in range(width):
            of_columns[x] += unknown[y, x] * (of_prediction[x] - of_truth[x]) ** 2
    return of_columns.sum()


@njit(cache=True)
def amplitude(image, y, smoothing, derivative, scale, result):
    """Amplitude of the gradient times `scale`, of row `y` inside the margin.

    The filters are tuples, from the centre on: r taps beside it, for smoothing the same on both
    sides, for the derivative of opposite sign. First down the columns, then along the row.
    """
    r = len(smoothing) - 1  # of tuples known when this compiles, which unrolls the loops over k
    rows = image[y : y + 2 * r + 1]
    smooth, steep = np.empty(image.shape[1]), np.empty(image.shape[1])
    for x in range(image.shape[1]):
        even, odd = smoothing[0] * rows[r, x], 0.0
        for k in range(1, r + 1):
            even += smoothing[k] * (rows[r + k, x] + rows[r - k, x])
            odd += derivative[k] * (rows[r + k, x] - rows[r - k, x])
        smooth[x], steep[x] = even, odd
    for x in range(result.size):
        across, down = 0.0, smoothing[0] * steep[x + r]
        for k in range(1, r + 1):
            across += derivative[k] * (smooth[x + r + k] - smooth[x + r - k])
            down += smoothing[k] * (steep[x + r + k] + steep[x + r - k])
        result[x] = scale * np.sqrt(across**2 + down**2)
