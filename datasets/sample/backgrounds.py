"""Background scenes: each function draws rgb [H, W, 3] in 0..1 from (rng, size)."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng


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


def _floor_coordinates(
    size: int, horizon: float, spread: float = 1.0
) -> tuple[Array, Array, Array]:
    """Returns x and z on a ground plane below a horizon (a pixel row), and nearness 0..1."""
    x, y = d.grid(size)
    drop = np.maximum(y - horizon, 0.6)
    nearness = np.clip((y - horizon) / max(size - horizon, 1.0), 0.0, 1.0)
    distance = spread * size / drop
    return (x - size / 2) * distance / size, distance, nearness


def _ground_noise(rng: Rng, x: Array, z: Array, scale: float, slope: float = 0.9) -> Array:
    """Draws noise on a ground plane, damped where the distance would make it alias."""
    tile = d.fractal_noise(rng, (512, 512), slope, 2.0)
    return d.sample(tile, x * scale, z * scale) * np.clip(60.0 / (scale * z * z + 1.0), 0.1, 1.0)


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
    gx, gz, near = _floor_coordinates(size, horizon)
    grass = _ground_noise(rng, gx, gz, 90, 0.7) + 0.8 * _ground_noise(rng, gx, gz, 14, 1.2)
    blades = d.fractal_noise(rng, (size, size), 0.7, 12.0, (4.0, 1.0)) * near
    field = d.vary(rng, tint * 1.25, 0.15)
    patches = d.smoothstep(-1, 1, _ground_noise(rng, gx, gz, 9, 1.6))
    ground = d.mix(field, d.vary(rng, d.hsv(0.13, 0.45, 0.6), 0.1), 0.6 * patches)
    ground = ground * (0.85 + 0.14 * grass + 0.16 * blades)[..., None]
    ground = d.mix(ground, haze * 0.8, 0.5 * (1 - near) ** 4)
    edge = horizon + 2.0 * d.fractal_line(rng, size, 0.8)[None, :]
    return _clip(d.mix(image, ground, np.clip(y - edge, 0, 1)))


def seaside(rng: Rng, size: int) -> Array:
    """Draws a sea with waves and glitter, a headland and often a beach."""
    image, haze = _sky(rng, size)
    x, y = d.grid(size)
    horizon = size * rng.uniform(0.3, 0.58)
    far = horizon - size * np.clip(0.05 * d.fractal_line(rng, size, 1.6) + 0.02, 0, 1)
    image = d.mix(image, haze * 0.55 + 0.08, 0.9 * np.clip(y - far[None, :], 0, 1))
    gx, gz, near = _floor_coordinates(size, horizon, 1.5)
    waves = _ground_noise(rng, gx * 0.35, gz, 60, 1.0) + 0.5 * _ground_noise(
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
        relief = _ground_noise(rng, gx, gz, 130, 0.6) + d.fractal_noise(
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
    return _clip(d.defocus(_clip(image), rng.uniform(0.5, 4.0)))


def _rectangle(x: Array, y: Array, left: float, top: float, right: float, low: float) -> Array:
    """Returns the coverage of an axis-aligned rectangle."""
    return np.clip(
        np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, low - y)) + 0.5, 0, 1
    )


def interior(rng: Rng, size: int) -> Array:
    """Draws a defocused room: wall, floor, a window, furniture, pictures and a lamp."""
    x, y = d.grid(size)
    floor_row = size * rng.uniform(0.6, 0.78)
    wall = d.natural_colour(rng, 0.4, 0.9) * 0.6 + 0.25 * rng.uniform(0.3, 1.2)
    plaster = 0.025 * d.fractal_noise(rng, (size, size), 1.2)
    image = wall * (1.0 + plaster)[..., None]
    if rng.random() < 0.4:
        stripe = d.smoothstep(-0.2, 0.2, np.sin(2 * np.pi * x / rng.uniform(14, 40)))
        image = image * (1.0 - 0.12 * stripe)[..., None]
    gx, gz, near = _floor_coordinates(size, floor_row - 0.35 * size, 0.8)
    floor = _planks(
        rng,
        gx * 9,
        gz * 9,
        d.hsv(rng.uniform(0.05, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.7)),
    )
    image = d.mix(image, floor * (0.6 + 0.5 * near[..., None]), np.clip(y - floor_row, 0, 1))
    skirting = _rectangle(x, y, -9, floor_row - 0.035 * size, size + 9, floor_row)
    image = d.mix(image, np.clip(wall * 1.15 + 0.1, 0, 1), skirting)
    light = np.zeros_like(x)
    if rng.random() < 0.75:
        image, light = _window(rng, image, floor_row)
    for _ in range(int(rng.integers(1, 4))):
        image = _picture(rng, image, floor_row)
    for _ in range(int(rng.integers(2, 5))):
        image = _furnishing(rng, image, floor_row)
    if rng.random() < 0.5:
        px, py = size * rng.choice([0.12, 0.88]), size * rng.uniform(0.2, 0.5)
        glow = np.exp(-np.hypot(x - px, y - py) / (0.14 * size))
        image = image + glow[..., None] * np.array([0.6, 0.45, 0.22])
    side = 0.72 + 0.5 * (x / size if rng.random() < 0.5 else 1 - x / size)
    image = image * (side * (0.85 + 0.3 * light))[..., None]
    return _clip(d.defocus(_clip(image), rng.choice([1.0, 2.5, 5.0, 8.0]) * rng.uniform(0.7, 1.2)))


def _planks(rng: Rng, u: Array, v: Array, colour: Array) -> Array:
    """Draws boards along v, one unit wide, with grain, seams and a tone for each board."""
    board = np.floor(u)
    tone = 1.0 + 0.16 * np.sin(board * 12.9898 + 4.0) + 0.05 * np.sin(board * 78.2)
    ends = np.abs(((v / 6.0 + 0.37 * board) % 1.0) - 0.5)
    tile = d.fractal_noise(rng, (256, 256), 1.0, 3.0, (6.0, 1.0))
    grain = d.sample(tile, u * 40, v * 6 + 31 * board)
    seam = d.smoothstep(0.46, 0.49, np.abs(u - board - 0.5)) + 0.7 * d.smoothstep(0.49, 0.498, ends)
    return colour * (tone * (1.0 + 0.10 * grain) * (1.0 - 0.5 * np.clip(seam, 0, 1)))[..., None]


def _window(rng: Rng, image: Array, floor_row: float) -> tuple[Array, Array]:
    """Adds a bright window to a room; also returns its light [H, W]."""
    size = image.shape[0]
    x, y = d.grid(size)
    wide, tall = size * rng.uniform(0.22, 0.4), size * rng.uniform(0.3, 0.5)
    left, top = rng.uniform(-0.1, 0.85) * size, rng.uniform(-0.05, 0.15) * size
    outside = landscape(rng, size) * 0.6 + 0.45
    frame = _rectangle(x, y, left - 6, top - 6, left + wide + 6, top + tall + 6)
    image = d.mix(image, np.full(3, rng.uniform(0.3, 0.95)), frame)
    for column in (0, 1):
        for row in (0, 1):
            a, b = left + column * wide / 2 + 3, top + row * tall / 2 + 3
            pane = _rectangle(x, y, a, b, a + wide / 2 - 6, b + tall / 2 - 6)
            image = d.mix(image, outside, pane)
    curtain = _rectangle(x, y, left + wide - 8, top - 14, left + wide + 0.14 * size, floor_row)
    fold = 0.75 + 0.2 * np.sin(x / rng.uniform(2.5, 5.0)) + 0.1 * np.sin(x / 7.3)
    image = d.mix(image, d.natural_colour(rng, 0.4, 0.9) * fold[..., None], curtain)
    slanted = x - 0.5 * (y - top)
    beam = _rectangle(slanted, y, left, floor_row - 0.1 * size, left + wide, size + 9.0)
    return image, d.blur(beam, 3.0) * 1.2 + np.exp(-np.hypot(x - left, y - top) / size)


def _picture(rng: Rng, image: Array, floor_row: float) -> Array:
    """Adds a framed picture or a bookshelf to the wall of a room."""
    size = image.shape[0]
    x, y = d.grid(size)
    left, top = rng.uniform(-0.05, 0.9) * size, rng.uniform(0.03, 0.4) * size
    wide, tall = rng.uniform(0.1, 0.3, 2) * size
    if rng.random() < 0.6:
        shadow = d.blur(_rectangle(x, y, left + 3, top + 5, left + wide + 4, top + tall + 6), 3.0)
        image = image * (1.0 - 0.35 * shadow)[..., None]
        image = d.mix(
            image,
            d.natural_colour(rng, 0.05, 0.7),
            _rectangle(x, y, left, top, left + wide, top + tall),
        )
        blots = d.fractal_noise(rng, (size, size), 1.8)
        paint = d.mix(d.natural_colour(rng), d.natural_colour(rng), d.smoothstep(-0.5, 0.5, blots))
        inner = _rectangle(x, y, left + 5, top + 5, left + wide - 5, top + tall - 5)
        return d.mix(image, paint, inner)
    image = d.mix(
        image,
        d.hsv(0.07, 0.5, 0.35),
        _rectangle(x, y, left, top + tall, left + 2 * wide, top + tall + 5),
    )
    return _book_row(rng, image, left, left + 2 * wide, top + tall, 0.8 * tall)


def _book_row(rng: Rng, image: Array, left: float, right: float, low: float, tall: float) -> Array:
    """Adds a row of book spines to an image."""
    size = image.shape[0]
    x, y = d.grid(size)
    while left < right:
        wide = size * rng.uniform(0.015, 0.045)
        top = low - tall * rng.uniform(0.7, 1.0)
        columns = slice(max(int(left) - 1, 0), max(int(left + wide) + 2, 0))
        part, px, py = image[:, columns], x[:, columns], y[:, columns]
        mask = _rectangle(px, py, left, top, left + wide, low)
        rounding = 0.55 + 0.5 * np.sin(np.pi * np.clip((px - left) / wide, 0, 1))
        back = d.natural_colour(rng, 0.15, 0.85) * rounding[..., None]
        band = _rectangle(
            px, py, left, top + 0.15 * tall, left + wide, top + tall * rng.uniform(0.2, 0.4)
        )
        back = d.mix(back, d.natural_colour(rng, 0.3, 0.95), 0.7 * band)
        image[:, columns] = d.mix(part, back, mask)
        left += wide + (rng.uniform(2, 8) if rng.random() < 0.1 else 0.3)
    return image


def _furnishing(rng: Rng, image: Array, floor_row: float) -> Array:
    """Adds a sofa, cabinet or plant to a room, mostly towards the sides."""
    size = image.shape[0]
    x, y = d.grid(size)
    middle = size * rng.choice([rng.uniform(-0.05, 0.3), rng.uniform(0.7, 1.05)])
    foot = floor_row + size * rng.uniform(0.0, 0.1)
    colour = d.natural_colour(rng, 0.12, 0.75)
    shadow = np.exp(-(((x - middle) / (0.2 * size)) ** 2) - (((y - foot) / (0.03 * size)) ** 2))
    image = image * (1.0 - 0.5 * shadow)[..., None]
    if rng.random() < 0.3:
        leaves = []
        for _ in range(26):
            angle, reach = rng.uniform(-np.pi, 0), rng.uniform(0.08, 0.26) * size
            tip = np.array([middle, foot - 0.25 * size]) + reach * np.array(
                [np.cos(angle), np.sin(angle)]
            )
            leaves.append(d.ellipse(tip, (0.05 * size, 0.015 * size), angle))
        mask = d.fill(size, leaves)
        green = (
            d.hsv(rng.uniform(0.22, 0.38), 0.5, 0.35)
            * (1 + 0.2 * d.fractal_noise(rng, (size, size)))[..., None]
        )
        pot = _rectangle(x, y, middle - 0.06 * size, foot - 0.14 * size, middle + 0.06 * size, foot)
        return d.mix(d.mix(image, colour, pot), green, mask)
    wide, tall = size * rng.uniform(0.14, 0.3), size * rng.uniform(0.15, 0.45)
    outline = d.blur(_rectangle(x, y, middle - wide, foot - tall, middle + wide, foot), 0.02 * size)
    mask = d.smoothstep(0.42, 0.58, outline)
    cushion = np.abs(((x - middle) / wide * rng.integers(1, 4)) % 1.0 - 0.5)
    tone = 0.7 + 0.5 * (foot - y) / tall + 0.08 * d.fractal_noise(rng, (size, size), 1.2)
    tone = tone - 0.25 * d.smoothstep(0.46, 0.5, cushion)
    return d.mix(image, colour * np.clip(tone, 0.3, 1.3)[..., None], mask)


def night_street(rng: Rng, size: int) -> Array:
    """Draws city lights at night, far out of focus, over a wet road that reflects them."""
    x, y = d.grid(size)
    ground = size * rng.uniform(0.55, 0.75)
    dusk = d.hsv(rng.uniform(0.55, 0.75), rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.25))
    image = dusk * (0.5 + 0.8 * y / size)[..., None] * np.ones(3)
    left = -0.1 * size
    while left < size:
        wide, top = size * rng.uniform(0.1, 0.25), size * rng.uniform(-0.1, 0.4)
        block = _rectangle(x, y, left, top, left + wide, ground)
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
    return _clip(d.defocus(image, size * rng.uniform(0.008, 0.035)))


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
    gx, gz = _floor_coordinates(size, ground - 0.3 * size)[:2]
    road = (
        np.full(3, rng.uniform(0.25, 0.6))
        * (1 + 0.08 * _ground_noise(rng, gx, gz, 140, 0.7))[..., None]
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
            image, d.hsv(0.07, 0.4, 0.25), _rectangle(x, y, cx - 4, cy, cx + 4, ground + 4)
        )
        image = d.mix(
            image, green * (1.2 - 0.5 * (y - cy) / size * 4)[..., None].clip(0.4, 1.5), mask
        )
    return _clip(d.defocus(_clip(image), rng.uniform(0.6, 6.0)))


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
        layer = _leaf_layer(rng, size, count, length, tint)
        image = image * (1.0 - 0.5 * d.blur(np.roll(layer[..., 3:], (6, 3), (0, 1)), 4.0))
        image = image * (1.0 - layer[..., 3:]) + layer[..., :3]
    return _clip(d.defocus(image, rng.uniform(0.6, 6.0)))


def _leaf_layer(rng: Rng, size: int, count: int, length: float, tint: Array) -> Array:
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
    return _clip(d.defocus(_clip(image), rng.uniform(0.6, 5.0)))


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
        image = _planks(rng, u * 0.8, v * 0.6, colour)
    else:
        image = _masonry(rng, u + warp, v + warp[::-1], colour, style)
    stain = d.smoothstep(0.2, 2.5, d.fractal_noise(rng, (size, size), 1.5, 2.0, (2.0, 1.0)))
    image = d.mix(image, d.vary(rng, colour * 0.5, 0.1), 0.45 * stain)
    slant = (px * rng.normal() + py * rng.normal()) * 0.7
    image = image * np.clip(1.0 + slant, 0.45, 1.5)[..., None]
    if rng.random() < 0.4:
        bough = d.blur(_leaf_layer(rng, size, 60, 0.12 * size, colour)[..., 3], rng.uniform(2, 8))
        image = image * (1.0 - 0.45 * bough)[..., None]
    return _clip(d.defocus(_clip(image), rng.uniform(0.4, 3.5)))


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


def bookshelf(rng: Rng, size: int) -> Array:
    """Draws shelves full of books."""
    x, y = d.grid(size)
    timber = d.hsv(rng.uniform(0.05, 0.1), rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.7))
    grain = d.fractal_noise(rng, (size, size), 1.0, 4.0, (1.0, 8.0))
    image = np.clip(timber * 0.3 * (1.0 + 0.1 * grain)[..., None], 0, 1)
    rows = int(rng.integers(3, 6))
    pitch = size / rows * rng.uniform(0.95, 1.25)
    low = pitch * rng.uniform(0.5, 1.0)
    while low < size + pitch:
        image = _book_row(rng, image, -5.0, size + 5.0, low, 0.85 * pitch)
        plank = _rectangle(x, y, -9, low, size + 9, low + 0.08 * pitch)
        image = d.mix(image, timber * (1.0 + 0.1 * grain)[..., None], plank)
        shade = d.smoothstep(0.45 * pitch, 0.0, y - low - 0.08 * pitch) * (y > low + 0.08 * pitch)
        image = image * (1.0 - 0.55 * shade)[..., None]
        low += pitch
    tilt = 1.0 + rng.normal(0, 0.35) * (x / size - 0.5)
    return _clip(d.defocus(_clip(image * tilt[..., None]), rng.uniform(0.6, 7.0)))


def tabletop(rng: Rng, size: int) -> Array:
    """Draws a wooden or stone table in front of a blurred room or garden."""
    y = d.grid(size)[1]
    edge = size * rng.uniform(0.35, 0.6)
    back = d.defocus(
        (interior, foliage, bookshelf, city_day)[rng.integers(4)](rng, size),
        size * rng.uniform(0.01, 0.03),
    )
    gx, gz, near = _floor_coordinates(size, edge - 0.25 * size, 0.9)
    colour = d.natural_colour(rng, 0.25, 0.8)
    if rng.random() < 0.6:
        table = _planks(rng, gx * 3.5, gz * 3, colour)
    else:
        veins = np.abs(_ground_noise(rng, gx, gz, 40, 1.4))
        table = colour * (0.75 + 0.4 * d.smoothstep(0.0, 0.4, veins))[..., None]
    table = table * (1.0 + 0.05 * d.fractal_noise(rng, (size, size), 0.7, 6.0))[..., None]
    gloss = d.blur(back[::-1], 6.0) * rng.uniform(0.0, 0.3)
    table = table * (0.65 + 0.45 * near)[..., None] + gloss * (1 - near)[..., None]
    soft = d.defocus(_clip(table), rng.uniform(1.5, 4.0))
    table = d.mix(soft, table, d.smoothstep(0.2, 0.7, near))
    return _clip(d.mix(back, table, d.smoothstep(-2.5, 2.5, y - edge)))


def _clip(image: Array) -> Array:
    return np.clip(image, 0.0, 1.0).astype(np.float32)


SCENES = {
    "landscape": landscape,
    "seaside": seaside,
    "interior": interior,
    "night_street": night_street,
    "city_day": city_day,
    "foliage": foliage,
    "forest": forest,
    "wall": wall,
    "bookshelf": bookshelf,
    "tabletop": tabletop,
}
