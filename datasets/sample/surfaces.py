"""Walls, floors, grounds and leaves, of which the background scenes are made."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng


def clip(image: Array) -> Array:
    """Clips an image to [0, 1], float32."""
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def floor_coordinates(size: int, horizon: float, spread: float = 1.0) -> tuple[Array, Array, Array]:
    """Returns x and z on a ground plane below a horizon (a pixel row), and nearness 0..1."""
    x, y = d.grid(size)
    drop = np.maximum(y - horizon, 0.6)
    nearness = np.clip((y - horizon) / max(size - horizon, 1.0), 0.0, 1.0)
    distance = spread * size / drop
    return (x - size / 2) * distance / size, distance, nearness


def ground_noise(rng: Rng, x: Array, z: Array, scale: float, slope: float = 0.9) -> Array:
    """Draws noise on a ground plane, damped where the distance would make it alias."""
    tile = d.fractal_noise(rng, (512, 512), slope, 2.0)
    return d.sample(tile, x * scale, z * scale) * np.clip(60.0 / (scale * z * z + 1.0), 0.1, 1.0)


def rectangle(x: Array, y: Array, left: float, top: float, right: float, low: float) -> Array:
    """Returns the coverage of an axis-aligned rectangle."""
    return np.clip(
        np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, low - y)) + 0.5, 0, 1
    )


def planks(rng: Rng, u: Array, v: Array, colour: Array) -> Array:
    """Draws boards along v, one unit wide, with grain, seams and a tone for each board."""
    board = np.floor(u)
    tone = 1.0 + 0.16 * np.sin(board * 12.9898 + 4.0) + 0.05 * np.sin(board * 78.2)
    ends = np.abs(((v / 6.0 + 0.37 * board) % 1.0) - 0.5)
    tile = d.fractal_noise(rng, (256, 256), 1.0, 3.0, (6.0, 1.0))
    grain = d.sample(tile, u * 40, v * 6 + 31 * board)
    seam = d.smoothstep(0.46, 0.49, np.abs(u - board - 0.5)) + 0.7 * d.smoothstep(0.49, 0.498, ends)
    return colour * (tone * (1.0 + 0.10 * grain) * (1.0 - 0.5 * np.clip(seam, 0, 1)))[..., None]


def leaf_layer(rng: Rng, size: int, count: int, length: float, tint: Array) -> Array:
    """Draws scattered lance-shaped leaves, each in its own tone, on a canvas."""
    at = rng.uniform(-0.05, 1.05, (count, 2)) * size
    heading = rng.normal(rng.uniform(0, 2 * np.pi), 0.9, count)
    along = (
        np.stack([np.cos(heading), np.sin(heading)], -1)
        * length
        * rng.uniform(0.6, 1.3, (count, 1))
    )
    steps = np.linspace(0, 1, 9)
    starts = at[:, None] + along[:, None] * steps[None, :-1, None]
    ends = at[:, None] + along[:, None] * steps[None, 1:, None]
    width = length * rng.uniform(0.25, 0.45) * np.sin(np.pi * (steps[1:] * 0.92 + 0.02))
    widths = np.broadcast_to(width, (count, 8))
    tone = rng.uniform(0.45, 1.35, (count, 1, 1)) * np.linspace(0.85, 1.1, 8)[None, :, None]
    colours = tint * tone + 0.04 * rng.normal(size=(count, 1, 3))
    return d.draw_segments(
        size, starts.reshape(-1, 2), ends.reshape(-1, 2), widths.ravel(), colours.reshape(-1, 3)
    )


def wall(rng: Rng, size: int) -> Array:
    """Draws a wall of bricks, boards, tiles or stones, at an angle and in slanting light."""
    x, y = d.grid(size)
    yaw, roll = rng.uniform(-0.6, 0.6), rng.normal(0, 0.05)
    px, py = d.turn(np.stack([x, y], -1) / size - 0.5, roll).transpose(2, 0, 1)
    depth = 1.0 / (1.0 + yaw * px)
    u, v = px * depth * rng.uniform(6, 12), py * depth * rng.uniform(9, 16)
    colour = d.natural_colour(rng, 0.25, 0.8)
    style = rng.integers(4)
    warp = 0.04 * d.fractal_noise(rng, (size, size), 1.3, 8.0)
    if style == 0:
        image = planks(rng, u * 0.8, v * 0.6, colour)
    else:
        image = _masonry(rng, u + warp, v + warp[::-1], colour, style)
    stain = d.smoothstep(0.2, 2.5, d.fractal_noise(rng, (size, size), 1.5, 2.0, (2.0, 1.0)))
    image = d.mix(image, d.vary(rng, colour * 0.5, 0.1), 0.45 * stain)
    slant = (px * rng.normal() + py * rng.normal()) * 0.7
    image = image * np.clip(1.0 + slant, 0.45, 1.5)[..., None]
    if rng.random() < 0.4:
        bough = d.blur(leaf_layer(rng, size, 60, 0.12 * size, colour)[..., 3], rng.uniform(2, 8))
        image = image * (1.0 - 0.45 * bough)[..., None]
    return clip(d.defocus(clip(image), rng.uniform(0.4, 3.5)))


def _masonry(rng: Rng, u: Array, v: Array, colour: Array, style: int) -> Array:
    """Draws bricks (1), tiles (2) or rough stones (3) with joints and a tone for each."""
    row = np.floor(v)
    shifted = u * (0.6 if style == 1 else 0.9) + (0.0 if style == 2 else 0.5 * (row % 2))
    column = np.floor(shifted)
    a, b = shifted - column - 0.5, v - row - 0.5
    joint = 0.02 if style == 2 else 0.05
    edge = np.minimum(0.5 - np.abs(a), (0.5 - np.abs(b)) * (0.6 if style == 1 else 1.0))
    face = d.smoothstep(joint * 0.5, joint * 1.5, edge)
    random = np.sin(row * 127.1 + column * 311.7 + 5.0) * 43758.5
    random = random - np.floor(random)
    other = d.vary(rng, colour, 0.3)
    noise = d.fractal_noise(rng, u.shape, 0.8, 6.0)
    block = d.mix(colour, other, random.astype(np.float32)) * (0.8 + 0.35 * random)[..., None]
    relief = 0.10 * np.sign(-b) * d.smoothstep(joint * 4, joint, edge) if style != 2 else 0.06 * -b
    block = block * (1.0 + relief + (0.05 if style == 2 else 0.13) * noise)[..., None]
    mortar = d.natural_colour(rng, 0.3, 0.75) * 0.4 + 0.25
    return d.mix(mortar * (1.0 + 0.1 * noise)[..., None], block, face)
