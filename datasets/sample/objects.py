"""Opaque subjects: solid ones, those with holes, and blurred by motion."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng
from .pierced import (
    chain,
    furniture,
    glasses,
    grille,
    leaf_with_holes,
    mug,
    scissors,
    twig,
    wheel,
)
from .solids import ball, box, fruit, jar, leaf, stone


def solid(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a compact opaque object: fruit, ball, box, leaf, stone or jar."""
    draw = (fruit, ball, box, leaf, stone, jar)[rng.integers(6)]
    return d.finish(draw(rng, size), rng.uniform(0.35, 0.65))


def holes(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws an opaque object with holes: wheel, furniture, mug, scissors, chain, grille or twig."""
    draw = (wheel, furniture, mug, scissors, chain, glasses, grille, twig, leaf_with_holes)
    return d.finish(draw[rng.integers(len(draw))](rng, size), rng.uniform(0.35, 0.6))


def moving(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws an object with motion blur, straight or rotating."""
    draw = (fruit, ball, box, leaf, stone, jar, mug, wheel)
    canvas = draw[rng.integers(len(draw))](rng, size)
    if rng.random() < 0.7:
        canvas = _smear_straight(canvas, rng.uniform(0.06, 0.22) * size, rng.uniform(0, np.pi))
    else:
        pivot = size * rng.uniform(0.2, 0.8, 2)
        canvas = _smear_turning(canvas, rng.uniform(0.12, 0.45), pivot)
    return d.finish(canvas, 0.4)


def _smear_straight(canvas: Array, length: float, angle: float) -> Array:
    """Averages a canvas along a line of `length` pixels."""
    reach = int(length / 2) + 2
    kernel_size = 2 * reach + 1
    end = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    middle = np.array([reach + 0.5, reach + 0.5])
    kernel = d.stroke(kernel_size, [np.stack([middle - end, middle + end])], 1.0)
    return np.maximum(d.convolve(canvas, kernel / kernel.sum()), 0.0)


def _smear_turning(canvas: Array, angle: float, pivot: Array) -> Array:
    """Averages a canvas over rotations about a pivot, in steps of half the angle each."""
    size = canvas.shape[0]
    x, y = d.grid(size)
    points = np.stack([x, y], -1) - pivot
    for step in 0.25 * angle * 0.5 ** np.arange(6):
        turned = [d.turn(points, sign * step) + pivot - 0.5 for sign in (-1, 1)]
        clipped = [np.clip(t, 0, size - 1) for t in turned]
        canvas = 0.5 * sum(d.sample(canvas, t[..., 0], t[..., 1]) for t in clipped)
    return canvas.astype(np.float32)
