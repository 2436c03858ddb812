"""Multi-level estimation of foreground colours (Germer et al., 2020), compiled by numba.

Source: pymatting/pymatting, estimate_foreground_ml with its defaults, to the bit. Importing
pymatting compiles all of its solvers, for a minute of CPU time where they are not cached.
"""

from __future__ import annotations

import math

import numpy as np

from matting_jax.caches import njit

REGULARIZATION, GRADIENT_WEIGHT = np.float32(1e-5), np.float32(1)
SMALL_SIDE, SMALL_SWEEPS, LARGE_SWEEPS = 32, 10, 2
MOST_OF_BACKGROUND, LEAST_OF_FOREGROUND = 0.1, 0.9  # alphas of the colours to start from


def estimate_layers(image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates the foreground and background colours of a photo, float32 [H, W, 3] in [0, 1].

    image uint8 [H, W, 3], alpha uint8 [H, W], at least 2 pixels along one side. Sizes grow
    geometrically from 1 x 1; each starts from the colours of the one before.
    """
    height, width = alpha.shape
    image, alpha = as_values(image), as_values(alpha)
    foreground, background = mean_colours(image, alpha)
    levels = math.ceil(math.log2(max(height, width)))
    for level in range(levels + 1):
        size = (round(height ** (level / levels)), round(width ** (level / levels)))
        small, soft = resize_nearest(image, size), resize_nearest(alpha, size)
        foreground, background = (resize_nearest(x, size) for x in (foreground, background))
        for _ in range(SMALL_SWEEPS if max(size) <= SMALL_SIDE else LARGE_SWEEPS):
            sweep(small, soft, foreground, background)
    return foreground, background


def as_values(image: np.ndarray) -> np.ndarray:
    """Returns bytes as float32 in [0, 1], in a new array."""
    return np.divide(image, 255, dtype=np.float32, order="C")


def resize_nearest(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image [H, W, ...] to `size`, to the pixels at floor(i * old / new)."""
    if image.shape[:2] == size:
        return image
    rows, columns = (
        np.arange(new) * old // new for new, old in zip(size, image.shape, strict=False)
    )
    return image.take(columns, 1).take(rows, 0)


@njit
def mean_colours(image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean colours [1, 1, 3] of clear foreground and of clear background.

    The sums are float32, as those of the source; those of no pixel are 0.
    """
    sums, counts = np.zeros((2, 3), np.float32), np.zeros(2, np.int64)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            opacity = alpha[y, x]
            if opacity > LEAST_OF_FOREGROUND:
                layer = 0
            elif opacity < MOST_OF_BACKGROUND:
                layer = 1
            else:
                continue
            counts[layer] += 1
            for c in range(3):
                sums[layer, c] += image[y, x, c]
    for layer in range(2):
        for c in range(3):
            sums[layer, c] /= counts[layer] + 1e-5
    return sums[0].copy().reshape(1, 1, 3), sums[1].copy().reshape(1, 1, 3)


@njit
def sweep(
    image: np.ndarray,
    alpha: np.ndarray,
    foreground: np.ndarray,
    background: np.ndarray,
) -> None:
    """Solves for the colours of each pixel in turn, given those of its four neighbours.

    The colours of a pixel minimise the squared difference from the image and from the neighbours,
    weighted by the difference of alpha. Dtypes of intermediate values are those of the source.

    Args:
        image: float32 [H, W, 3].
        alpha: float32 [H, W].
        foreground: colours float32 [H, W, 3], replaced.
        background: colours float32 [H, W, 3], replaced.
    """
    height, width = alpha.shape
    for y in range(height):
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            a = alpha[y, x]
            rest = 1.0 - a  # float64
            w1 = REGULARIZATION + GRADIENT_WEIGHT * abs(a - alpha[y, left])
            w2 = REGULARIZATION + GRADIENT_WEIGHT * abs(a - alpha[y, right])
            w3 = REGULARIZATION + GRADIENT_WEIGHT * abs(a - alpha[above, x])
            w4 = REGULARIZATION + GRADIENT_WEIGHT * abs(a - alpha[below, x])
            # The matrix of the two unknowns, and its inverse.
            ff = a * a + w1 + w2 + w3 + w4
            bb = rest * rest + w1 + w2 + w3 + w4
            fb = a * rest
            scale = 1.0 / (ff * bb - fb * fb)
            inverse_ff, inverse_fb, inverse_bb = scale * bb, scale * -fb, scale * ff
            for c in range(3):
                colour = image[y, x, c]
                f, b = np.float32(a * colour), np.float32(rest * colour)
                f += w1 * foreground[y, left, c]
                f += w2 * foreground[y, right, c]
                f += w3 * foreground[above, x, c]
                f += w4 * foreground[below, x, c]
                b += w1 * background[y, left, c]
                b += w2 * background[y, right, c]
                b += w3 * background[above, x, c]
                b += w4 * background[below, x, c]
                foreground[y, x, c] = max(0.0, min(1.0, inverse_ff * f + inverse_fb * b))
                background[y, x, c] = max(0.0, min(1.0, inverse_fb * f + inverse_bb * b))
