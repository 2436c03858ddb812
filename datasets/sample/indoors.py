"""Background scenes indoors; each function draws rgb [H, W, 3] in 0..1 from (rng, size)."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng
from .outdoors import city_day, foliage, landscape
from .surfaces import clip, floor_coordinates, ground_noise, planks, rectangle


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
    gx, gz, near = floor_coordinates(size, floor_row - 0.35 * size, 0.8)
    floor = planks(
        rng,
        gx * 9,
        gz * 9,
        d.hsv(rng.uniform(0.05, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.7)),
    )
    image = d.mix(image, floor * (0.6 + 0.5 * near[..., None]), np.clip(y - floor_row, 0, 1))
    skirting = rectangle(x, y, -9, floor_row - 0.035 * size, size + 9, floor_row)
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
    return clip(d.defocus(clip(image), rng.choice([1.0, 2.5, 5.0, 8.0]) * rng.uniform(0.7, 1.2)))


def _window(rng: Rng, image: Array, floor_row: float) -> tuple[Array, Array]:
    """Adds a bright window to a room; also returns its light [H, W]."""
    size = image.shape[0]
    x, y = d.grid(size)
    wide, tall = size * rng.uniform(0.22, 0.4), size * rng.uniform(0.3, 0.5)
    left, top = rng.uniform(-0.1, 0.85) * size, rng.uniform(-0.05, 0.15) * size
    outside = landscape(rng, size) * 0.6 + 0.45
    frame = rectangle(x, y, left - 6, top - 6, left + wide + 6, top + tall + 6)
    image = d.mix(image, np.full(3, rng.uniform(0.3, 0.95)), frame)
    for column in (0, 1):
        for row in (0, 1):
            a, b = left + column * wide / 2 + 3, top + row * tall / 2 + 3
            pane = rectangle(x, y, a, b, a + wide / 2 - 6, b + tall / 2 - 6)
            image = d.mix(image, outside, pane)
    curtain = rectangle(x, y, left + wide - 8, top - 14, left + wide + 0.14 * size, floor_row)
    fold = 0.75 + 0.2 * np.sin(x / rng.uniform(2.5, 5.0)) + 0.1 * np.sin(x / 7.3)
    image = d.mix(image, d.natural_colour(rng, 0.4, 0.9) * fold[..., None], curtain)
    slanted = x - 0.5 * (y - top)
    beam = rectangle(slanted, y, left, floor_row - 0.1 * size, left + wide, size + 9.0)
    return image, d.blur(beam, 3.0) * 1.2 + np.exp(-np.hypot(x - left, y - top) / size)


def _picture(rng: Rng, image: Array, floor_row: float) -> Array:
    """Adds a framed picture or a bookshelf to the wall of a room."""
    size = image.shape[0]
    x, y = d.grid(size)
    left, top = rng.uniform(-0.05, 0.9) * size, rng.uniform(0.03, 0.4) * size
    wide, tall = rng.uniform(0.1, 0.3, 2) * size
    if rng.random() < 0.6:
        shadow = d.blur(rectangle(x, y, left + 3, top + 5, left + wide + 4, top + tall + 6), 3.0)
        image = image * (1.0 - 0.35 * shadow)[..., None]
        image = d.mix(
            image,
            d.natural_colour(rng, 0.05, 0.7),
            rectangle(x, y, left, top, left + wide, top + tall),
        )
        blots = d.fractal_noise(rng, (size, size), 1.8)
        paint = d.mix(d.natural_colour(rng), d.natural_colour(rng), d.smoothstep(-0.5, 0.5, blots))
        inner = rectangle(x, y, left + 5, top + 5, left + wide - 5, top + tall - 5)
        return d.mix(image, paint, inner)
    image = d.mix(
        image,
        d.hsv(0.07, 0.5, 0.35),
        rectangle(x, y, left, top + tall, left + 2 * wide, top + tall + 5),
    )
    return book_row(rng, image, left, left + 2 * wide, top + tall, 0.8 * tall)


def book_row(rng: Rng, image: Array, left: float, right: float, low: float, tall: float) -> Array:
    """Adds a row of book spines to an image."""
    size = image.shape[0]
    x, y = d.grid(size)
    while left < right:
        wide = size * rng.uniform(0.015, 0.045)
        top = low - tall * rng.uniform(0.7, 1.0)
        columns = slice(max(int(left) - 1, 0), max(int(left + wide) + 2, 0))
        part, px, py = image[:, columns], x[:, columns], y[:, columns]
        mask = rectangle(px, py, left, top, left + wide, low)
        rounding = 0.55 + 0.5 * np.sin(np.pi * np.clip((px - left) / wide, 0, 1))
        back = d.natural_colour(rng, 0.15, 0.85) * rounding[..., None]
        band = rectangle(
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
        pot = rectangle(x, y, middle - 0.06 * size, foot - 0.14 * size, middle + 0.06 * size, foot)
        return d.mix(d.mix(image, colour, pot), green, mask)
    wide, tall = size * rng.uniform(0.14, 0.3), size * rng.uniform(0.15, 0.45)
    outline = d.blur(rectangle(x, y, middle - wide, foot - tall, middle + wide, foot), 0.02 * size)
    mask = d.smoothstep(0.42, 0.58, outline)
    cushion = np.abs(((x - middle) / wide * rng.integers(1, 4)) % 1.0 - 0.5)
    tone = 0.7 + 0.5 * (foot - y) / tall + 0.08 * d.fractal_noise(rng, (size, size), 1.2)
    tone = tone - 0.25 * d.smoothstep(0.46, 0.5, cushion)
    return d.mix(image, colour * np.clip(tone, 0.3, 1.3)[..., None], mask)


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
        image = book_row(rng, image, -5.0, size + 5.0, low, 0.85 * pitch)
        plank = rectangle(x, y, -9, low, size + 9, low + 0.08 * pitch)
        image = d.mix(image, timber * (1.0 + 0.1 * grain)[..., None], plank)
        shade = d.smoothstep(0.45 * pitch, 0.0, y - low - 0.08 * pitch) * (y > low + 0.08 * pitch)
        image = image * (1.0 - 0.55 * shade)[..., None]
        low += pitch
    tilt = 1.0 + rng.normal(0, 0.35) * (x / size - 0.5)
    return clip(d.defocus(clip(image * tilt[..., None]), rng.uniform(0.6, 7.0)))


def tabletop(rng: Rng, size: int) -> Array:
    """Draws a wooden or stone table in front of a blurred room or garden."""
    y = d.grid(size)[1]
    edge = size * rng.uniform(0.35, 0.6)
    back = d.defocus(
        (interior, foliage, bookshelf, city_day)[rng.integers(4)](rng, size),
        size * rng.uniform(0.01, 0.03),
    )
    gx, gz, near = floor_coordinates(size, edge - 0.25 * size, 0.9)
    colour = d.natural_colour(rng, 0.25, 0.8)
    if rng.random() < 0.6:
        table = planks(rng, gx * 3.5, gz * 3, colour)
    else:
        veins = np.abs(ground_noise(rng, gx, gz, 40, 1.4))
        table = colour * (0.75 + 0.4 * d.smoothstep(0.0, 0.4, veins))[..., None]
    table = table * (1.0 + 0.05 * d.fractal_noise(rng, (size, size), 0.7, 6.0))[..., None]
    gloss = d.blur(back[::-1], 6.0) * rng.uniform(0.0, 0.3)
    table = table * (0.65 + 0.45 * near)[..., None] + gloss * (1 - near)[..., None]
    soft = d.defocus(clip(table), rng.uniform(1.5, 4.0))
    table = d.mix(soft, table, d.smoothstep(0.2, 0.7, near))
    return clip(d.mix(back, table, d.smoothstep(-2.5, 2.5, y - edge)))
