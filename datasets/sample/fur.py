"""Furry animals, drawn strand by strand."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng

FUR_POSES = {
    # parts as (x, y, radius x, radius y, tilt, flow x, flow y), from back to front; the last is
    # the head, in units of the animal's size
    "sitting": (
        (0.62, 0.75, 0.16, 0.42, 0.9, 0.6, -0.4),
        (0.0, 0.5, 0.52, 0.68, 0.0, 0.0, 0.5),
        (-0.2, 0.95, 0.14, 0.22, 0.0, 0.0, 0.4),
        (0.2, 0.95, 0.14, 0.22, 0.0, 0.0, 0.4),
        (0.0, -0.38, 0.40, 0.36, 0.0, 0.0, 0.1),
    ),
    "lying": (
        (0.95, 0.3, 0.35, 0.14, -0.5, 0.6, -0.2),
        (0.25, 0.35, 0.8, 0.47, 0.08, 0.5, 0.2),
        (-0.35, 0.72, 0.3, 0.14, 0.0, -0.4, 0.2),
        (-0.6, 0.05, 0.42, 0.38, 0.0, 0.0, 0.1),
    ),
    "bust": (
        (0.0, 1.15, 0.95, 0.85, 0.0, 0.0, 0.6),
        (0.0, 0.6, 0.6, 0.6, 0.0, 0.0, 0.6),
        (0.0, -0.1, 0.62, 0.58, 0.0, 0.0, 0.15),
    ),
    "ball": ((0.0, 0.3, 0.8, 0.74, 0.0, 0.0, 0.3), (-0.05, -0.2, 0.55, 0.5, 0.0, 0.0, 0.1)),
}


def fur(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a fluffy animal with dense short hairs, ears, eyes, nose and whiskers."""
    pose = str(rng.choice(list(FUR_POSES)))
    scale = size * rng.uniform(0.3, 0.4)
    origin = size * np.array([rng.normal(0.5, 0.05), rng.uniform(0.4, 0.5)])
    mirror, light = rng.choice([-1.0, 1.0]), d.light_direction(rng)
    coat = _coat(rng, size)
    length = scale * rng.uniform(0.10, 0.26)
    canvas = d.new_canvas(size)
    parts = [np.array(part) * [mirror, 1, 1, 1, mirror, mirror, 1] for part in FUR_POSES[pose]]
    head = parts[-1]
    ears = _ears(rng, head)
    for part in [*parts[:-1], *ears, head]:
        centre, radii = part[:2] * scale + origin, part[2:4] * scale
        _furry_part(canvas, rng, centre, radii, part[4:], coat, length, light)
    _muzzle(canvas, rng, head[:2] * scale + origin, head[2:4] * scale, light)
    return d.finish(canvas, rng.uniform(0.35, 0.55))


def _ears(rng: Rng, head: Array) -> list[Array]:
    """Returns two ears, round, pointed or long, as parts like those of the poses."""
    shape = rng.integers(3)
    across, out = ((0.3, 0.3), (0.24, 0.5), (0.2, 0.75))[shape]
    lean = rng.uniform(0.15, 0.5) if shape else 0.0
    ears = []
    for side in (-1.0, 1.0):
        x = head[0] + side * head[2] * rng.uniform(0.6, 0.68)
        y = head[1] - head[3] * (0.72 + 0.5 * out)
        ears.append(
            np.array([x, y, head[2] * across, head[3] * out, side * lean, 0.3 * side, -0.5])
        )
    return ears


def _coat(rng: Rng, size: int) -> Array:
    """Draws the colours [size, size, 3] of a coat: plain, patched, striped or speckled."""
    first = d.hsv(rng.uniform(0.04, 0.12), rng.uniform(0.05, 0.6), rng.uniform(0.2, 0.9))
    second = d.hsv(rng.uniform(0.04, 0.12), rng.uniform(0.0, 0.5), rng.uniform(0.12, 0.95))
    noise = d.fractal_noise(rng, (size, size), 2.0)
    kind = rng.integers(4)
    if kind == 0:
        return d.mix(first, second, 0.25 * d.smoothstep(-1, 1, noise))
    if kind == 1:
        return d.mix(first, second, d.smoothstep(0.1, 0.35, noise))
    if kind == 2:
        x, y = d.grid(size)
        wave = np.sin(2 * np.pi * y / rng.uniform(20, 40) + 1.6 * noise + 0.01 * x)
        return d.mix(first, first * 0.35, 0.8 * d.smoothstep(0.0, 0.5, wave))
    dots = d.fractal_noise(rng, (size, size), 2.0, 14.0)
    return d.mix(first, second, d.smoothstep(0.7, 1.0, dots))


def _furry_part(
    canvas: Array,
    rng: Rng,
    centre: Array,
    radii: Array,
    pose: Array,
    coat: Array,
    length: float,
    light: Array,
) -> None:
    """Draws one ellipsoid of the animal: dark underfur, then hairs from the rim to the middle."""
    size = canvas.shape[0]
    length = min(length, 0.55 * float(radii.min()))
    count = int(np.clip(radii[0] * radii[1] * 0.55, 350, 5200))
    share = np.sqrt(rng.random(count)) ** 0.85
    around = rng.uniform(0, 2 * np.pi, count)
    local = np.stack([np.cos(around), np.sin(around)], -1) * share[:, None]
    root = d.turn(local * radii, pose[0]) + centre
    outward = d.unit(d.turn(local / radii, pose[0]))
    facing = np.concatenate([outward * share[:, None], np.sqrt(1 - share**2)[:, None]], -1)
    tuft = (
        0.5 * d.fractal_noise(rng, (size, size), 1.8, 12.0),
        d.fractal_noise(rng, (size, size), 1.8),
    )
    column, row = (np.clip(root[:, k], 0, size - 1).astype(int) for k in (0, 1))
    sway = np.stack([noise[row, column] for noise in tuft], -1) * 0.35
    heading = (
        pose[1:] + outward * (share**2)[:, None] * 1.1 + sway + rng.normal(0, 0.25, (count, 2))
    )
    heading = d.unit(heading)
    reach = length * rng.uniform(0.5, 1.25, count) * (0.55 + 0.45 * share)
    droop = np.array([0.0, 0.3]) + 0.3 * rng.normal(size=(count, 2))
    steps = np.linspace(0, 1, 5)[None, :, None]
    path = root[:, None] + reach[:, None, None] * (
        steps * heading[:, None] + steps**2 * 0.5 * droop[:, None]
    )
    bright = np.clip(0.38 + 0.75 * (facing @ light), 0.22, 1.15) * rng.uniform(0.72, 1.2, count)
    base = coat[row, column] * bright[:, None]
    tone = np.linspace(0.75, 1.2, 4)[None, :, None]
    colours = base[:, None] * tone
    widths = rng.uniform(0.5, 1.1, (count, 1)) * np.array([1.2, 1.0, 0.7, 0.35])
    order = np.argsort(-share, kind="stable")
    mask = d.fill(size, [d.ellipse(centre, radii * 0.97, pose[0])])
    d.cast_shadow(canvas, mask, light, 0.12 * float(radii.mean()), 0.4)
    under = d.extend_colour(*_scattered(size, row, column, base * 0.6))
    d.paint(canvas, under, d.blur(mask, 1.2))
    flat = [
        part[order].reshape(-1, part.shape[-1]) for part in (path[:, :-1], path[:, 1:], colours)
    ]
    d.overlay(canvas, d.draw_segments(size, flat[0], flat[1], widths[order].ravel(), flat[2]))


def _scattered(size: int, row: Array, column: Array, colours: Array) -> tuple[Array, Array]:
    """Puts colours at single pixels [size, size, 3], and returns where they are."""
    image, known = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    image[row, column], known[row, column] = colours, 1.0
    return image, known


def _muzzle(canvas: Array, rng: Rng, centre: Array, radii: Array, light: Array) -> None:
    """Draws eyes, nose, mouth and whiskers on a furry head."""
    size = canvas.shape[0]
    a, b = radii
    apart, eye = rng.uniform(0.34, 0.45), rng.uniform(0.09, 0.14)
    iris = d.hsv(rng.choice([0.08, 0.12, 0.25, 0.55]), 0.6, rng.uniform(0.08, 0.5))
    for side in (-1.0, 1.0):
        middle = centre + [side * apart * a, -0.08 * b]
        for share, ink in ((1.15, iris * 0.15), (0.95, iris), (0.6, iris * 0.08)):
            disc = d.fill(size, [d.ellipse(middle, np.array([eye, eye]) * a * share)])
            d.paint(canvas, ink, d.blur(disc, 0.5))
        spark = middle + light[:2] * eye * a * 0.5
        d.paint(canvas, [0.95] * 3, d.fill(size, [d.ellipse(spark, np.full(2, 0.25 * eye * a))]))
    nose = np.array([[-0.13, 0.26], [0.13, 0.26], [0.05, 0.38], [-0.05, 0.38]])
    mask = d.fill(size, [d.smooth_curve(nose, 30, closed=True) * radii + centre])
    skin = d.hsv(0.02, rng.uniform(0.1, 0.5), rng.uniform(0.12, 0.6))
    d.paint(canvas, d.shade(skin, d.rounded(mask, 0.1 * a), light, specular=0.4), mask)
    smile = [d.smooth_curve([[0, 0.38], [s * 0.07, 0.5], [s * 0.22, 0.5]], 12) for s in (-1, 1)]
    mouth = d.stroke(size, [line * radii + centre for line in smile], 0.03 * a + 0.5)
    d.paint(canvas, skin * 0.25, 0.8 * d.blur(mouth, 0.6))
    count = int(rng.integers(4, 8))
    whiskers = []
    for side in (-1.0, 1.0):
        for rise in np.linspace(-0.5, 0.45, count) + rng.normal(0, 0.05, count):
            reach = rng.uniform(0.8, 1.3)
            whiskers.append(
                [
                    [side * 0.2, 0.42 + 0.1 * rise],
                    [side * (0.3 + 0.5 * reach), 0.4 + 0.4 * rise],
                    [side * (0.3 + reach), 0.5 + 0.9 * rise],
                ]
            )
    lines = np.stack([d.smooth_curve(w, 12) * radii + centre for w in whiskers])
    tone = rng.choice([0.08, 0.85])
    ends = lines[:, :-1].reshape(-1, 2), lines[:, 1:].reshape(-1, 2)
    widths = np.tile(np.linspace(0.6, 0.25, 11), len(lines))
    d.overlay(canvas, d.draw_segments(size, *ends, widths, np.full((len(widths), 3), tone)))
