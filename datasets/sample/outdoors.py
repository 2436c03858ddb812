"""Background scenes outdoors; each function draws rgb [H, W, 3] in 0..1 from (rng, size)."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng
from .surfaces import clip, floor_coordinates, ground_noise, leaf_layer, rectangle


def _sky(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a sky [size, size, 3] with clouds, and the colour [3] of its haze at the horizon."""
    x, y = d.grid(size)
    top, low = (
        (d.hsv(0.59, 0.6, 0.72), d.hsv(0.56, 0.16, 0.92)),
        (d.hsv(0.6, 0.1, 0.72), d.hsv(0.58, 0.04, 0.88)),
        (d.hsv(0.63, 0.42, 0.45), d.hsv(0.07, 0.5, 0.95)),
        (d.hsv(0.68, 0.3, 0.3), d.hsv(0.96, 0.3, 0.68)),
        (d.hsv(0.58, 0.35, 0.85), d.hsv(0.11, 0.15, 0.97)),
    )[rng.choice(5, p=[0.34, 0.2, 0.13, 0.08, 0.25])]
    sky = d.mix(d.vary(rng, top), low, d.smoothstep(0, size * rng.uniform(0.45, 0.7), y))
    clouds = d.fractal_noise(
        rng, (size, size), rng.uniform(1.4, 1.8), 2.5, (1.0, rng.uniform(1.5, 4))
    )
    cover = d.smoothstep(rng.uniform(-0.6, 0.9), 2.0, clouds)
    lit = d.blur(clouds, 3.0)
    relief = np.clip(0.5 + 2.0 * (lit - np.roll(lit, (5, -3), (0, 1))), 0.0, 1.0)
    cloud = d.mix(low * 0.7 + 0.02, np.clip(low * 1.12 + 0.06, 0, 1), relief)
    sky = d.mix(sky, cloud, 0.9 * cover)
    sun = np.hypot(x - rng.uniform(0, size), y - rng.uniform(0.1, 0.5) * size) / size
    return np.clip(sky + 0.25 * low * np.exp(-sun * 6)[..., None], 0, 1), low


def landscape(rng: Rng, size: int) -> Array:
    """Draws hazy ridges under a cloudy sky, with trees and a meadow or field in front."""
    image, haze = _sky(rng, size)
    y = d.grid(size)[1]
    level = size * rng.uniform(0.3, 0.6)
    tint = d.hsv(rng.uniform(0.12, 0.36), rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.5))
    layers = int(rng.integers(3, 6))
    for k in range(layers):
        near = (k + 1) / layers
        slope = 1.8 if near < 0.6 else 1.1
        ridge = level + size * (
            0.10 * (near - 0.6) + 0.05 * (1.3 - near) * d.fractal_line(rng, size, slope)
        )
        if near >= 0.6:
            ridge = ridge - size * 0.025 * np.abs(d.fractal_line(rng, size, 0.7, 20.0))
        mask = np.clip(y - ridge[None, :] + 0.5, 0, 1)
        texture = d.fractal_noise(rng, (size, size), 1.0, 8.0, (1.0, 1.5))
        tone = d.vary(rng, tint) * (0.75 + 0.16 * texture)[..., None]
        lit = np.gradient(d.blur(texture, 1.5), axis=1)[..., None] * 0.25
        image = d.mix(image, d.mix(tone + lit, haze * 0.9, (1 - near) ** 0.8 * 0.85), mask)
    horizon = level + 0.05 * size
    gx, gz, near = floor_coordinates(size, horizon)
    grass = ground_noise(rng, gx, gz, 90, 0.7) + 0.8 * ground_noise(rng, gx, gz, 14, 1.2)
    blades = d.fractal_noise(rng, (size, size), 0.7, 12.0, (4.0, 1.0)) * near
    field = d.vary(rng, tint * 1.25, 0.15)
    patches = d.smoothstep(-1, 1, ground_noise(rng, gx, gz, 9, 1.6))
    ground = d.mix(field, d.vary(rng, d.hsv(0.13, 0.45, 0.6), 0.1), 0.6 * patches)
    ground = ground * (0.85 + 0.14 * grass + 0.16 * blades)[..., None]
    ground = d.mix(ground, haze * 0.8, 0.5 * (1 - near) ** 4)
    edge = horizon + 2.0 * d.fractal_line(rng, size, 0.8)[None, :]
    return clip(d.mix(image, ground, np.clip(y - edge, 0, 1)))


def seaside(rng: Rng, size: int) -> Array:
    """Draws a sea with waves and glitter, a headland and often a beach."""
    image, haze = _sky(rng, size)
    x, y = d.grid(size)
    horizon = size * rng.uniform(0.3, 0.58)
    far = horizon - size * np.clip(0.05 * d.fractal_line(rng, size, 1.6) + 0.02, 0, 1)
    image = d.mix(image, haze * 0.55 + 0.08, 0.9 * np.clip(y - far[None, :], 0, 1))
    gx, gz, near = floor_coordinates(size, horizon, 1.5)
    waves = ground_noise(rng, gx * 0.35, gz, 60, 1.0) + 0.5 * ground_noise(
        rng, gx * 0.5, gz, 20, 1.3
    )
    fine = d.fractal_noise(rng, (size, size), 1.0, 10.0, (0.8, 5.0))
    deep = d.hsv(rng.uniform(0.47, 0.6), rng.uniform(0.3, 0.65), rng.uniform(0.25, 0.6))
    sea = d.mix(haze * 0.85, deep, d.smoothstep(-0.1, 0.5, near))
    swell = 0.16 * waves + (0.05 + 0.07 * near) * fine
    sea = sea * (1.0 + swell)[..., None]
    glitter = np.exp(-(((x - rng.uniform(0, size)) / (0.1 * size + 0.3 * (y - horizon))) ** 2))
    sea = sea + (0.5 * haze) * (glitter * d.smoothstep(0.5, 1.6, waves + fine))[..., None]
    foam = d.smoothstep(1.3, 2.2, waves + 0.6 * fine) * near
    image = d.mix(image, d.mix(sea, np.full(3, 0.9), 0.6 * foam), np.clip(y - horizon + 0.5, 0, 1))
    if rng.random() < 0.7:
        shore = size * rng.uniform(0.7, 0.9) + 0.05 * size * d.fractal_line(rng, size, 2.0)[None, :]
        shore = shore + rng.uniform(-0.25, 0.25) * (x - size / 2)
        sand = d.hsv(rng.uniform(0.08, 0.12), rng.uniform(0.2, 0.45), rng.uniform(0.55, 0.85))
        relief = ground_noise(rng, gx, gz, 130, 0.6) + d.fractal_noise(
            rng, (size, size), 1.3, 5.0, (1, 3)
        )
        beach = sand * (1.0 + 0.07 * relief)[..., None]
        beach = beach * (0.72 + 0.28 * d.smoothstep(0, 30, y - shore))[..., None]
        image = d.mix(image, beach, d.smoothstep(-2, 2, y - shore))
        image = d.mix(
            image,
            np.full(3, 0.93),
            0.7 * np.exp(-(((y - shore + 5) / 4) ** 2)) * np.clip(0.6 + 0.4 * fine, 0, 1),
        )
    return clip(d.defocus(clip(image), rng.uniform(0.5, 4.0)))


def night_street(rng: Rng, size: int) -> Array:
    """Draws city lights at night, far out of focus, over a wet road that reflects them."""
    x, y = d.grid(size)
    ground = size * rng.uniform(0.55, 0.75)
    dusk = d.hsv(rng.uniform(0.55, 0.75), rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.25))
    image = dusk * (0.5 + 0.8 * y / size)[..., None] * np.ones(3)
    left = -0.1 * size
    while left < size:
        wide, top = size * rng.uniform(0.1, 0.25), size * rng.uniform(-0.1, 0.4)
        block = rectangle(x, y, left, top, left + wide, ground)
        cells = np.sin(np.floor((x - left) / 7) * 91.7 + np.floor((y - top) / 10) * 37.3 + left)
        panes = ((x - left) % 7 > 2.5) & ((y - top) % 10 > 4) & (cells > rng.uniform(0.2, 0.9))
        facade = d.natural_colour(rng, 0.06, 0.3)
        lamp = d.hsv(rng.uniform(0.06, 0.16), rng.uniform(0.2, 0.7), rng.uniform(0.5, 1.0))
        image = d.mix(image, d.mix(facade, lamp, panes * 1.0), block)
        left += wide * rng.uniform(0.7, 1.1)
    for _ in range(int(rng.integers(25, 80))):
        px, py = rng.uniform(0, size), ground - size * np.abs(rng.normal(0.02, 0.16))
        hue = rng.choice([0.0, 0.02, 0.09, 0.12, 0.13, 0.35, 0.58, 0.8])
        spot = d.hsv(hue, rng.uniform(0.2, 0.9), 1.0) * rng.uniform(0.7, 3.0)
        reach = slice(max(int(py) - 2, 0), int(py) + 2), slice(max(int(px) - 2, 0), int(px) + 2)
        image[reach] = np.maximum(image[reach], spot)
    mirror = np.clip((2 * ground - y).astype(int), 0, size - 1)
    ripple = (4 * d.fractal_noise(rng, (size, size), 1.0, 10.0, (0.7, 3.0))).astype(int)
    column = np.clip(x.astype(int) + ripple, 0, size - 1)
    wet = image[mirror, column] * rng.uniform(0.3, 0.7) + 0.05
    wet = (
        d.blur(wet, 1.0)
        * (1 + 0.2 * d.fractal_noise(rng, (size, size), 1.0, 5.0, (1, 3)))[..., None]
    )
    image = np.where((y > ground)[..., None], wet, image)
    return clip(d.defocus(image, size * rng.uniform(0.008, 0.035)))


def city_day(rng: Rng, size: int) -> Array:
    """Draws house fronts with rows of windows along a street, and trees."""
    image = _sky(rng, size)[0]
    x, y = d.grid(size)
    ground = size * rng.uniform(0.68, 0.85)
    vanish = size * rng.uniform(0.2, 0.8)
    left = -0.15 * size
    while left < size:
        wide = size * rng.uniform(0.18, 0.4)
        away = abs(left + wide / 2 - vanish) / size
        top = size * (0.4 - 0.8 * away) + rng.uniform(-0.1, 0.1) * size
        lean = 0.35 * np.sign(left + wide / 2 - vanish) * (x - left - wide / 2)
        image = _house(rng, image, (left, top, left + wide, ground), lean)
        left += wide
    gx, gz = floor_coordinates(size, ground - 0.3 * size)[:2]
    road = (
        np.full(3, rng.uniform(0.25, 0.6))
        * (1 + 0.08 * ground_noise(rng, gx, gz, 140, 0.7))[..., None]
    )
    mark = d.smoothstep(0.5, 0.52, np.abs((gx * 1.2 + 0.3) % 1.0 - 0.5) + 0.05) * (
        (gz * 3) % 1.0 > 0.5
    )
    road = d.mix(road, np.full(3, 0.78), 0.6 * mark)
    image = d.mix(image, road, np.clip(y - ground, 0, 1))
    for _ in range(int(rng.integers(1, 4))):
        cx, cy = rng.uniform(0, size), ground - size * rng.uniform(0.25, 0.4)
        crown = np.hypot(x - cx, (y - cy) * 1.2) / (size * rng.uniform(0.12, 0.2))
        leaves = d.fractal_noise(rng, (size, size), 1.0, 8.0)
        mask = d.smoothstep(0.1, -0.05, crown - 1.0 + 0.25 * leaves)
        green = d.hsv(rng.uniform(0.18, 0.33), 0.5, 0.4) * (0.9 + 0.22 * leaves)[..., None]
        image = d.mix(
            image, d.hsv(0.07, 0.4, 0.25), rectangle(x, y, cx - 4, cy, cx + 4, ground + 4)
        )
        image = d.mix(
            image, green * (1.2 - 0.5 * (y - cy) / size * 4)[..., None].clip(0.4, 1.5), mask
        )
    return clip(d.defocus(clip(image), rng.uniform(0.6, 6.0)))


def _house(rng: Rng, image: Array, frame: tuple[float, float, float, float], lean: Array) -> Array:
    """Adds a house front with windows to an image, in a frame (left, top, right, bottom)."""
    x, y = d.grid(image.shape[0])
    left, top, right, low = frame
    row = (y - lean * (low - y) / (low - top + 1.0) * 0.6 - top) / max(low - top, 1.0)
    front = np.clip(np.minimum(x - left, right - x) + 0.5, 0, 1) * d.smoothstep(0.0, 0.01, row)
    colour = d.natural_colour(rng, 0.3, 0.85)
    plaster = 0.07 * d.fractal_noise(rng, x.shape, 1.0, 4.0)
    floors, bays = int(rng.integers(3, 7)), int(rng.integers(2, 6))
    u, v = (x - left) / (right - left) * bays % 1.0, row * floors % 1.0
    pane = _soft_box(u, 0.25, 0.75, 0.04) * _soft_box(v, 0.25, 0.8, 0.04)
    sill = _soft_box(u, 0.2, 0.8, 0.03) * _soft_box(v, 0.8, 0.87, 0.03)
    cell = np.sin(np.floor(row * floors) * 7.1 + np.floor((x - left) / (right - left) * bays) * 3.3)
    view = (0.2 + 0.18 * cell + 0.25 * (1 - v))[..., None] * np.array([0.8, 0.9, 1.0])
    wall = d.mix(colour * (1 + plaster)[..., None], np.clip(view, 0.03, 1), pane)
    wall = d.mix(wall, np.clip(colour * 1.25, 0, 1), sill)
    return d.mix(image, wall * rng.uniform(0.65, 1.1), front)


def _soft_box(value: Array, low: float, high: float, soft: float) -> Array:
    """Returns 1 between low and high, with soft edges."""
    return d.smoothstep(low - soft, low, value) * d.smoothstep(high + soft, high, value)


def foliage(rng: Rng, size: int) -> Array:
    """Draws leaves at several distances, sharp to far out of focus, with light between them."""
    far = d.fractal_noise(rng, (size, size), 1.5, 3.0)
    hue = rng.choice([0.25, 0.28, 0.33, 0.12, 0.07])
    image = d.mix(d.hsv(hue, 0.6, 0.12), d.hsv(hue - 0.04, 0.4, 0.8), d.smoothstep(-1.5, 2.0, far))
    for _ in range(int(rng.integers(10, 50))):
        px, py = rng.integers(0, size - 3, 2)
        image[py : py + 3, px : px + 3] = rng.uniform(1.0, 2.2)
    depths = np.sort(rng.uniform(0.0, 0.045, 4))[::-1] * size
    for k, radius in enumerate(depths):
        image = d.defocus(image, radius * 0.6)
        count = int(rng.integers(60, 130))
        length = size * rng.uniform(0.035, 0.075) * (0.7 + 0.25 * k)
        tint = d.hsv(hue + rng.normal(0, 0.02), rng.uniform(0.4, 0.7), rng.uniform(0.25, 0.65))
        layer = leaf_layer(rng, size, count, length, tint)
        image = image * (1.0 - 0.5 * d.blur(np.roll(layer[..., 3:], (6, 3), (0, 1)), 4.0))
        image = image * (1.0 - layer[..., 3:]) + layer[..., :3]
    return clip(d.defocus(image, rng.uniform(0.6, 6.0)))


def forest(rng: Rng, size: int) -> Array:
    """Draws tree trunks that fade into mist over a forest floor."""
    x, y = d.grid(size)
    mist = d.hsv(rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.9))
    image = mist * (1.0 + 0.08 * d.fractal_noise(rng, (size, size), 1.5))[..., None]
    ground = size * rng.uniform(0.6, 0.75)
    bark = d.hsv(rng.uniform(0.03, 0.12), rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.4))
    texture = d.fractal_noise(rng, (size, size), 1.0, 4.0, (6.0, 1.0))
    soil = d.hsv(rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.45))
    litter = d.fractal_noise(rng, (size, size), 0.7, 8.0, (1.0, 2.0))
    for near in np.sort(rng.uniform(0.05, 1.0, int(rng.integers(10, 22)))):
        foot = ground + size * 0.3 * near**2
        earth = d.mix(mist, soil * (1 + 0.25 * litter)[..., None], 0.25 + 0.75 * near)
        image = d.mix(image, earth, np.clip((y - foot - 3 * litter) / 6, 0, 1))
        middle = rng.uniform(0, size) + rng.normal(0, 0.05) * (y - size / 2)
        half = size * (0.008 + 0.045 * near) * rng.uniform(0.6, 1.3)
        half = half * (1 + 0.3 * np.exp((y - foot) / (0.06 * size)).clip(0, 1))
        t = (x - middle) / half
        mask = np.clip((1 - np.abs(t)) * half + 0.5, 0, 1) * np.clip(foot + 4 - y, 0, 1)
        lit = (0.75 + 0.45 * t * rng.choice([-1, 1]) + 0.22 * texture)[..., None].clip(0.2, 1.6)
        image = d.mix(image, d.mix(mist, bark * lit, 0.15 + 0.85 * near), mask)
    crown = d.fractal_noise(rng, (size, size), 1.1, 5.0)
    leaves = d.smoothstep(0.2, 0.9, crown + 1.6 * (0.35 - y / size) * 2)
    green = d.hsv(rng.uniform(0.1, 0.33), 0.55, rng.uniform(0.3, 0.6))
    image = d.mix(image, green * (0.8 + 0.25 * litter)[..., None], 0.8 * leaves)
    return clip(d.defocus(clip(image), rng.uniform(0.6, 5.0)))
