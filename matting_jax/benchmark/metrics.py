"""Measures the metrics: Conn and Grad against other implementations, all five on 100 pairs.

    python -m matting_jax.benchmark.metrics

Everything runs in one thread; each time is the minimum of several runs, which alternate.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from matting_jax import metrics

HEIGHT, WIDTH = 1080, 1920
DRAWN, PAIRS = 10, 100
FIVE = (metrics.sad, metrics.mse, metrics.mad, metrics.grad, metrics.conn)


def main() -> None:
    cv2.setNumThreads(1)
    pairs = [draw_pair(seed) for seed in range(DRAWN)]
    prediction, truth, trimap = pairs[0]
    unknown = (trimap > 0) & (trimap < 1)
    print(
        f"{WIDTH} x {HEIGHT}, {100 * unknown.mean():.0f} % unknown, "
        f"{100 * ((truth > 0) & (truth < 1)).mean():.0f} % of the truth between 0 and 1"
    )
    compare(
        "Conn",
        {
            "one pass": lambda: metrics.conn(prediction, truth, trimap),
            "one pass, whole image": lambda: metrics.conn(prediction, truth),
        },
        {"OpenCV's components per threshold": lambda: conn_by_opencv(prediction, truth, unknown)},
    )
    compare(
        "Grad",
        {
            "separable, in boxes": lambda: metrics.grad(prediction, truth, trimap),
            "separable, whole image": lambda: metrics.grad(prediction, truth),
        },
        {
            "four 9 x 9 filters, metric": lambda: grad_by_opencv(prediction, truth, unknown),
            "only the four filters": lambda: four_filters(prediction, truth),
        },
    )
    start = time.perf_counter()
    for pair in itertools.islice(itertools.cycle(pairs), PAIRS):
        for metric in FIVE:
            metric(*pair)
    seconds = time.perf_counter() - start
    print(f"SAD, MSE, MAD, Grad and Conn of {PAIRS} pairs ({DRAWN} different): {seconds:.1f} s")


def compare(
    name: str, ours: dict[str, Callable[[], Any]], others: dict[str, Callable[[], Any]]
) -> None:
    """Prints the minimum time of each implementation, and how much faster ours are.

    Args:
        name: the metric.
        ours: {description: function} of this library.
        others: {description: function} to compare with.
    """
    values, times = {}, {}
    for run in range(25):
        for way, function in {**ours, **others}.items():
            start = time.perf_counter()
            values[way] = function()
            seconds = time.perf_counter() - start
            if run:  # the first run compiles
                times[way] = min(seconds, times.get(way, seconds))
    for way, seconds in times.items():
        value = "" if values[way] is None else f", is {values[way]:.6f}"
        ratios = [f"{times[other] / seconds:.1f} x" for other in others if way in ours]
        faster = f", faster {' and '.join(ratios)}" if ratios else ""
        print(f"{name}: {way}: {1000 * seconds:.1f} ms{value}{faster}")


def conn_by_opencv(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """Computes Conn as PaddleSeg and mmagic do: components and statistics for each threshold."""
    steps = np.arange(11) * np.float32(0.1)
    up_to = np.full(truth.shape, -1, np.float32)
    for before, step in itertools.pairwise(steps):
        both = ((prediction >= step) & (truth >= step)).astype(np.uint8)
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(both, connectivity=4)
        body = np.zeros(truth.shape, np.uint8)
        if len(statistics) > 1:
            body[labels == 1 + np.argmax(statistics[1:, cv2.CC_STAT_AREA])] = 1
        up_to[(up_to == -1) & (body == 0)] = before
    up_to[up_to == -1] = 1
    phi = [1 - (x - up_to) * (x - up_to >= np.float32(0.15)) for x in (prediction, truth)]
    return float(np.sum(np.abs(phi[0] - phi[1]) * unknown, dtype=np.float64) / 1000)


def grad_by_opencv(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """Computes Grad as PaddleSeg and mmagic do: four 9 x 9 filters in float64."""
    amplitudes = []
    for image in (prediction, truth):
        image = cv2.normalize(image.astype(np.float64), None, 0, 1, cv2.NORM_MINMAX)
        across, down = (
            cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
            for kernel in (KERNEL, KERNEL.T)
        )
        amplitudes.append(np.sqrt(across**2 + down**2))
    return float(np.sum((amplitudes[0] - amplitudes[1])[unknown] ** 2) / 1000)


def four_filters(prediction: np.ndarray, truth: np.ndarray) -> None:
    for image in (prediction, truth):
        image = image.astype(np.float64)
        for kernel in (KERNEL, KERNEL.T):
            cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def derivative_kernel() -> np.ndarray:
    """Returns the derivative along x of a Gaussian with standard deviation 1.4, [9, 9], norm 1."""
    x = np.arange(-4.0, 5.0)
    gaussian = np.exp(-(x**2) / (2 * 1.4**2))
    kernel = np.outer(gaussian, x * gaussian)
    return kernel / np.sqrt(np.sum(kernel**2))


KERNEL = derivative_kernel()


def draw_pair(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws prediction, truth and trimap, float32 [H, W] of 8-bit values.

    The truth is a few soft bodies with hair. The prediction is blurred and noisy in the unknown
    region and has missing and added parts there; like that of a network with a final sigmoid, it
    has little noise near 0 and 1.
    """
    rng = np.random.default_rng(seed)
    truth = draw_matte(rng)
    near = ndimage.maximum_filter(((truth > 0) & (truth < 255)).astype(np.uint8), 25) > 0
    trimap = np.where(near, np.float32(0.5), np.float32(truth == 255))

    alpha = ndimage.gaussian_filter(truth.astype(np.float32) / 255, 1.0)
    score = np.log((alpha + 0.003) / (1.003 - alpha)) + 0.3 * rng.standard_normal(alpha.shape)
    score += 0.7 * smooth_noise(rng, 4) + 2 * smooth_noise(rng, 40)
    prediction = np.rint(255 * np.clip(1.02 / (1 + np.exp(-score)) - 0.01, 0, 1))
    prediction = np.where(near, prediction, truth)
    return prediction.astype(np.float32) / 255, truth.astype(np.float32) / 255, trimap


def draw_matte(rng: np.random.Generator) -> np.ndarray:
    """Draws bodies with soft edges, one of them with hair (at twice the size), uint8 [H, W]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    field = smooth_noise(rng, 90) - 0.004 * (np.hypot(x - WIDTH / 2, 1.2 * (y - HEIGHT / 2)) - 330)
    bodies = np.rint(255 * np.clip(10 * field + 0.5, 0, 1)).astype(np.uint8)
    hair = Image.new("L", (2 * WIDTH, 2 * HEIGHT))
    pen = ImageDraw.Draw(hair)
    roots = np.argwhere((np.abs(field) < 0.05) & (y < HEIGHT / 2))
    for root in roots[rng.integers(0, len(roots), 2500)]:
        outwards = root - (HEIGHT / 2, WIDTH / 2)
        angle = np.arctan2(*outwards) + rng.normal(0, 0.5)
        angles = angle + rng.normal(0, 0.1) * np.arange(12)
        steps = rng.uniform(4, 16) * np.stack([np.cos(angles), np.sin(angles)], -1)
        strand = 2 * root[::-1] + np.cumsum(steps, 0)
        pen.line([tuple(point) for point in strand.tolist()], int(rng.integers(60, 256)), 2)
    hair = np.asarray(hair.resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    return np.maximum(bodies, hair)


def smooth_noise(rng: np.random.Generator, size: float) -> np.ndarray:
    """Draws noise of mean 0, deviation 1 and grain of about `size` pixels, float32 [H, W]."""
    shape = round(HEIGHT / size) + 3, round(WIDTH / size) + 3
    coarse = Image.fromarray(rng.standard_normal(shape, np.float32))
    noise = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return (noise - noise.mean()) / noise.std()


if __name__ == "__main__":
    main()
