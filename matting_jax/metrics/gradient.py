"""Grad, the gradient error (Rhemann et al., 2009).

The gradient amplitudes of both alphas come from derivatives of a Gaussian with sigma 1.4; the error
is the sum of their squared differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from matting_jax.caches import njit
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
    """Computes the gradient error, in thousands (bgm: ones, gfm: tens); 0 if no pixel is unknown.

    Arguments as in `matting_jax.metrics`. The benchmark first stretches prediction and truth to
    [0, 1], each on its own and over the whole image; a constant image has no gradient.
    """
    pair = prepare("Grad", prediction, truth, trimap, convention, fill)
    # numba compiles for each type and layout: these are two types and one layout.
    common = np.result_type(pair.prediction, pair.truth)
    images = [np.require(x, common, "C") for x in (pair.prediction, pair.truth)]
    if pair.rules.grad_filter == "benchmark":
        taps, border, scales = benchmark_taps(), "edge", tuple(stretch_factor(x) for x in images)
    else:
        taps, border, scales = scipy_taps(), "symmetric", (1.0, 1.0)
    error = 0.0
    for box in find_boxes(pair.unknown):
        windows = [crop_padded(x, box, len(taps[0]) - 1, border) for x in images]
        error += sum_errors(*windows, np.ascontiguousarray(pair.unknown[box]), *taps, scales)
    return error * pair.rules.grad_scale


def stretch_factor(image: np.ndarray) -> float:
    """Returns the factor that scales the value range of `image` to 1; 0 for a constant image."""
    spread = float(image.max()) - float(image.min())
    return 1 / spread if spread else 0.0


def find_boxes(unknown: np.ndarray, rows: int = 64) -> Iterator[tuple[slice, slice]]:
    """Yields boxes of at most `rows` rows that cover all unknown pixels and few others."""
    for top in range(0, len(unknown), rows):
        band = slice(top, min(top + rows, len(unknown)))
        columns = np.flatnonzero(unknown[band].any(0))
        if columns.size:
            yield band, slice(int(columns[0]), int(columns[-1]) + 1)


def benchmark_taps() -> Taps:
    """Returns smoothing and derivative taps from the centre outwards, unit norm, nine in all."""
    x, gaussian = half_gaussian(radius=4)
    return normalise_taps(gaussian), normalise_taps(x * gaussian)


def scipy_taps() -> Taps:
    """Returns the taps of SciPy's gaussian_filter: unit response, thirteen in all."""
    x, gaussian = half_gaussian(radius=6)
    smoothing = gaussian / (gaussian[0] + 2 * gaussian[1:].sum())
    return tuple(smoothing.tolist()), tuple((x / SIGMA**2 * smoothing).tolist())


def half_gaussian(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x from 0 to `radius` and exp(-x^2 / 2 sigma^2)."""
    x = np.arange(radius + 1.0)
    return x, np.exp(-(x**2) / (2 * SIGMA**2))


def normalise_taps(taps: np.ndarray) -> tuple[float, ...]:
    """Scales half a filter, its centre first, so that the squares of all taps add up to 1."""
    squares = np.square(taps)
    return tuple((taps / np.sqrt(squares[0] + 2 * squares[1:].sum())).tolist())


def crop_padded(
    image: np.ndarray, box: tuple[slice, slice], margin: int, border: str
) -> np.ndarray:
    """Crops a box with `margin` pixels around it; `border` is the mode of `np.pad`."""
    window, missing = [], []
    for side, length in zip(box, image.shape, strict=True):
        start, stop = side.start - margin, side.stop + margin
        window.append(slice(max(start, 0), min(stop, length)))
        missing.append((max(-start, 0), max(stop - length, 0)))
    return np.pad(image[tuple(window)], missing, mode=border)


@njit
def sum_errors(
    prediction: np.ndarray,
    truth: np.ndarray,
    unknown: np.ndarray,
    smoothing: tuple[float, ...],
    derivative: tuple[float, ...],
    scales: tuple[float, float],
) -> float:
    """Sums the squared differences of the amplitudes over the unknown pixels [h, w].

    prediction, truth: float [h + 2 r, w + 2 r] with a margin of the filters' radius r.
    """
    height, width = unknown.shape
    prediction_row, truth_row = np.empty(width, np.float32), np.empty(width, np.float32)
    sums = np.zeros(width)  # one sum per column, so that additions are vectorised
    for y in range(height):
        write_amplitude(prediction, y, smoothing, derivative, scales[0], prediction_row)
        write_amplitude(truth, y, smoothing, derivative, scales[1], truth_row)
        for x in range(width):
            sums[x] += unknown[y, x] * (prediction_row[x] - truth_row[x]) ** 2
    return sums.sum()


@njit
def write_amplitude(
    image: np.ndarray,
    y: int,
    smoothing: tuple[float, ...],
    derivative: tuple[float, ...],
    scale: float,
    result: np.ndarray,
) -> None:
    """Writes the gradient amplitude times `scale`, of row `y` inside the margin, to `result`.

    The filters are tuples from the centre outwards with r taps off the centre: the smoothing is
    symmetric, the derivative antisymmetric. Columns are filtered first, then the row.
    """
    r = len(smoothing) - 1  # known at compile time, which unrolls the loops over k
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
