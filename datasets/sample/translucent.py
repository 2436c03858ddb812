"""Translucent subjects: lace and nets, glass, smoke."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from . import drawing as d
from .drawing import Array, Rng

FINE = 3


def lace(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a hanging cloth, doily or net of threads with many holes and some folds."""
    fine = size * FINE
    matrix = d.placement(rng, size, (0.38, 0.5), 0.5) * FINE
    round_piece = rng.random() < 0.3
    u, v = d.to_object(matrix, fine)
    warp = [d.enlarge(d.fractal_noise(rng, (96, 96), 2.6), fine) for _ in range(2)]
    u, v = u + 0.025 * warp[0], v + 0.025 * warp[1]
    outline = _doily_edge(rng, u, v) if round_piece else _cloth_edge(rng, u, v, warp[0])
    folds = rng.uniform(0.02, 0.06) * (0.3 + d.smoothstep(-1.0, 1.0, v)) * (not round_piece)
    phase = rng.uniform(5, 11) * u + 0.8 * warp[1]
    stretched = u + folds * np.sin(phase)
    pattern = _doily if round_piece else (_net, _tulle, _crochet, _floral)[rng.integers(4)]
    thread, relief = pattern(rng, stretched, v, FINE / np.hypot(*matrix[:, 0]))
    border = d.smoothstep(0.075, 0.06, np.abs(outline - 0.05)) * (outline > 0)
    cover = np.maximum(thread, border * rng.uniform(0.85, 1.0)) * (outline > 0)
    light = d.light_direction(rng)
    tone = 0.80 + 0.22 * np.cos(phase + light[0]) * (folds > 0) + 0.05 * warp[1]
    tone = tone + 0.16 * np.clip(relief, -0.6, 1.0)
    canvas = np.empty((size, size, 4), np.float32)
    canvas[..., 3] = d.box_reduce(cover.astype(np.float32), FINE)
    bright = d.box_reduce((cover * tone).astype(np.float32), FINE)
    colour = d.hsv(rng.random(), rng.uniform(0.0, 0.2), rng.uniform(0.7, 0.98))
    if rng.random() < 0.45:
        colour = d.natural_colour(rng, 0.08, 0.7)
    canvas[..., :3] = bright[..., None] * colour
    dye = 0.06 * d.fractal_noise(rng, (size, size), 1.5)
    canvas[..., :3] = np.clip(canvas[..., :3] * (1.0 + dye[..., None]), 0.0, canvas[..., 3:])
    return d.finish(canvas, rng.uniform(0.3, 0.5))


def _cloth_edge(rng: Rng, u: Array, v: Array, warp: Array) -> Array:
    """Returns the distance, in object units, inside a rectangle with a scalloped lower edge."""
    scallops = 0.05 * np.abs(np.sin(u * rng.uniform(8, 16)))
    sides = np.minimum(rng.uniform(0.75, 1.0) - np.abs(u + 0.15 * v * rng.normal()), v + 1.0)
    return np.minimum(sides, 0.85 + scallops + 0.03 * warp - v)


def _doily_edge(rng: Rng, u: Array, v: Array) -> Array:
    """Returns the distance, in object units, inside a disc with petals along its edge."""
    petals = np.abs(np.sin(np.arctan2(v, u) * rng.integers(6, 13)))
    return 0.85 + 0.12 * petals - np.hypot(u, v)


def _net(rng: Rng, u: Array, v: Array, pixel: float) -> tuple[Array, Array]:
    """Draws the threads [H, W] of a knotted net of diamond meshes, and their height."""
    mesh = rng.uniform(0.08, 0.2)
    wide = max(rng.uniform(0.05, 0.12) * mesh, 0.5 * pixel)
    a, b = (u + v) / mesh, (u - v) / mesh
    near = [np.abs((k + 0.5) % 1.0 - 0.5) * mesh for k in (a, b)]
    distance = np.minimum(*near)
    knot = np.hypot(*near) < 2.4 * wide
    twist = np.sin((a + b) * 40)
    return ((distance < wide) | knot).astype(np.float32), 1.0 - distance / wide + 0.4 * twist


def _tulle(rng: Rng, u: Array, v: Array, pixel: float) -> tuple[Array, Array]:
    """Draws a veil of very fine meshes with embroidered dots: threads and height."""
    mesh = rng.uniform(2.5, 4.5) * pixel
    near = [
        np.abs(((u * c + v * s) / mesh) % 1.0 - 0.5) for c, s in ((1, 0), (0.5, 0.87), (-0.5, 0.87))
    ]
    film = np.minimum(np.minimum(near[0], near[1]), near[2]) < rng.uniform(0.07, 0.12)
    gap = rng.uniform(0.12, 0.25)
    row = np.floor(v / gap)
    x, y = (u / gap + 0.5 * (row % 2)) % 1.0 - 0.5, (v / gap) % 1.0 - 0.5
    distance = np.hypot(x, y) / 0.2
    dot = distance < 1.0
    return np.maximum(film * 0.75, dot).astype(np.float32), dot * (1.0 - distance)


def _crochet(rng: Rng, u: Array, v: Array, pixel: float) -> tuple[Array, Array]:
    """Draws rows of crocheted rings joined by bars."""
    cell = rng.uniform(0.13, 0.24)
    x, y = (u / cell) % 1.0 - 0.5, (v / cell) % 1.0 - 0.5
    radius = np.hypot(x, y)
    wide = max(rng.uniform(0.07, 0.12), 0.8 * pixel / cell)
    ring = np.abs(radius - 0.34)
    inner = np.minimum(np.abs(x), np.abs(y)) + 0.3 * (radius < 0.3) * rng.integers(2)
    petals = np.abs(radius - 0.17 * (1 + 0.35 * np.cos(6 * np.arctan2(y, x))))
    distance = np.minimum(np.minimum(ring, inner + 0.02), petals + 0.02)
    stitches = np.sin(np.arctan2(y, x) * 24)
    return (distance < wide).astype(np.float32), 1.0 - distance / wide + 0.4 * stitches


def _floral(rng: Rng, u: Array, v: Array, pixel: float) -> tuple[Array, Array]:
    """Draws solid flowers on a fine hexagonal net."""
    ground, _ = _net(rng, u * 2.2, v * 2.2, pixel * 2.0)
    gap = rng.uniform(0.35, 0.55)
    row = np.floor(v / gap)
    x, y = (u / gap + 0.5 * (row % 2)) % 1.0 - 0.5, (v / gap) % 1.0 - 0.5
    radius, around = np.hypot(x, y), np.arctan2(y, x) + row
    petals = int(rng.integers(5, 9))
    edge = 0.36 * (0.72 + 0.28 * np.abs(np.cos(around * petals / 2)))
    slits = (np.abs(np.sin(around * petals / 2)) < 0.16) & (radius > 0.12)
    flower = (radius < edge) & ~slits & (np.abs(radius - 0.1) > 0.018)
    sprig = np.abs(y - 0.12 * np.sin(2 * np.pi * x)) < 0.03
    relief = flower * (np.cos(around * petals) * 0.6 + 0.5 * np.sin(radius * 130) + 0.2)
    return np.maximum(ground, flower | sprig).astype(np.float32), relief + 0.0


def _doily(rng: Rng, u: Array, v: Array, pixel: float) -> tuple[Array, Array]:
    """Draws a round piece of crocheted lace: rings, spokes and petals around the centre."""
    radius, around = np.hypot(u, v), np.arctan2(v, u)
    rays = int(rng.integers(8, 15))
    rings = int(rng.integers(5, 8))
    wide = max(0.014, 0.8 * pixel)
    shifted = radius * rings + 0.22 * np.cos(around * rays * 2)
    ring = np.abs((shifted % 1.0) - 0.5) / rings
    band = np.floor(shifted)
    spoke = np.abs(((around / (2 * np.pi) * rays * (1 + band % 3)) % 1.0) - 0.5)
    spoke = spoke * 2 * np.pi * radius / (rays * (1 + band % 3))
    petal = (np.cos(around * rays) * 0.5 + 0.5 > np.abs(shifted % 1.0 - 0.5) * 2.2) & (
        band % 3 == 2
    )
    distance = np.where(petal, 0.3 * wide, np.minimum(ring, spoke))
    stitches = np.sin(radius * 300) * 0.3
    return (distance < wide).astype(np.float32), 1.0 - distance / wide + stitches


GLASS_PROFILES = {
    # (height, radius) pairs from the rim at 0 to the foot at 2
    "tumbler": ((0, 0.72), (0.1, 0.71), (1.0, 0.64), (1.9, 0.56), (2.0, 0.54)),
    "wine": (
        (0, 0.48),
        (0.3, 0.58),
        (0.7, 0.6),
        (1.0, 0.4),
        (1.12, 0.07),
        (1.5, 0.05),
        (1.85, 0.07),
        (1.95, 0.4),
        (2.0, 0.5),
    ),
    "bottle": (
        (0, 0.17),
        (0.1, 0.18),
        (0.12, 0.15),
        (0.55, 0.17),
        (0.85, 0.45),
        (1.0, 0.5),
        (1.9, 0.5),
        (2.0, 0.46),
    ),
    "vase": ((0, 0.5), (0.25, 0.36), (0.6, 0.42), (1.2, 0.75), (1.7, 0.68), (2.0, 0.42)),
    "bulb": ((0, 0.25), (0.4, 0.27), (0.7, 0.45), (1.2, 0.75), (1.6, 0.7), (1.9, 0.4), (2.0, 0.1)),
}


def glass(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a glass vessel or sphere: a transparent middle, bright rims, reflections and liquid."""
    matrix = d.placement(rng, size, (0.36, 0.5), 0.25) * 2.0
    if rng.random() < 0.2:
        canvas = _glass_ball(rng, size, matrix)
    else:
        name = str(rng.choice(list(GLASS_PROFILES)))
        canvas = _vessel(rng, size, matrix, np.array(GLASS_PROFILES[name]))
    return d.finish(d.box_reduce(canvas, 2), rng.uniform(0.35, 0.55))


def _surroundings(rng: Rng, tint: Array) -> Array:
    """Draws the blurred panorama [128, 256, 3] that glass reflects: sky, room, windows."""
    y = np.linspace(0, 1, 128, dtype=np.float32)[:, None]
    tone = 0.78 - 0.55 * y + 0.16 * d.fractal_noise(rng, (128, 256), 1.5)
    for _ in range(int(rng.integers(2, 5))):
        row, column = int(rng.integers(5, 70)), int(rng.integers(0, 230))
        tone[row : row + int(rng.integers(15, 45)), column : column + int(rng.integers(5, 22))] += (
            1.0
        )
    tone = d.blur(np.clip(tone, 0.02, 1.2), 2.0)
    return np.clip(tone[..., None] * (0.45 + 0.6 * tint), 0.0, 1.0).astype(np.float32)


def _skin_of_glass(
    rng: Rng, panorama: Array, normals: Array, tint: Array, thickness: float
) -> tuple[Array, Array]:
    """Computes colour [H, W, 3] and opacity [H, W] of a glass surface from its normals."""
    turned = 1.0 - np.clip(normals[..., 2], 0.0, 1.0)
    column = (np.arctan2(normals[..., 0], normals[..., 2] + 0.3) / (2 * np.pi) + 0.5) * 255
    row = np.clip(normals[..., 1] * 0.5 + 0.45, 0, 0.98) * 127
    reflection = d.sample(panorama, column, row)
    bright = reflection.max(-1)
    opacity = thickness + (0.93 - thickness) * np.clip(turned, 0, 1) ** 2.2
    opacity = opacity + 0.85 * d.smoothstep(0.72, 0.98, bright) * (1 - opacity)
    bent = 0.5 + 0.5 * np.sin(9 * turned**2 + 2.0 * normals[..., 1])
    body = tint * (0.25 + 0.65 * bent)[..., None] * (1.0 - 0.35 * turned[..., None])
    return d.mix(body, reflection, np.clip(0.35 + 0.65 * bright, 0, 1)), np.clip(opacity, 0, 0.97)


def _glass_ball(rng: Rng, size: int, matrix: Array) -> Array:
    """Draws a glass ball or a soap bubble on a canvas [2 size, 2 size, 4]."""
    u, v = d.to_object(matrix, 2 * size)
    inside = np.clip(1.0 - u * u - v * v, 0.0, 1.0)
    normals = d.unit(np.stack([u, v, np.sqrt(inside)], -1).astype(np.float32))
    tint = d.hsv(rng.random(), rng.uniform(0.05, 0.4), rng.uniform(0.6, 0.95))
    colour, opacity = _skin_of_glass(
        rng, _surroundings(rng, tint), normals, tint, rng.uniform(0.06, 0.35)
    )
    film = np.sin(6 * normals[..., 2:] + [0.0, 2.1, 4.2] + 2 * v[..., None])
    colour = np.clip(colour + rng.uniform(0.0, 0.15) * film, 0, 1)
    mask = np.clip((1.0 - np.hypot(u, v)) * np.hypot(*matrix[:, 0]) + 0.5, 0, 1)
    canvas = d.new_canvas(2 * size)
    d.paint(canvas, colour, (opacity * mask).astype(np.float32))
    return canvas


def _vessel(rng: Rng, size: int, matrix: Array, profile: Array) -> Array:
    """Draws a vessel on a canvas [2 size, 2 size, 4]: back wall, liquid, front wall, rim."""
    fine, scale = 2 * size, np.hypot(*matrix[:, 0])
    u, v = d.to_object(matrix, fine)
    profile = profile * [1.0, rng.uniform(0.85, 1.15)]
    curve = PchipInterpolator(profile[:, 0], profile[:, 1])
    tilt, tint = rng.uniform(0.1, 0.24), d.hsv(rng.random(), rng.uniform(0.0, 0.35), 0.85)
    panorama, thickness = _surroundings(rng, tint), rng.uniform(0.05, 0.28)
    level = rng.uniform(0.25, 0.9) if rng.random() < 0.6 and profile[0, 1] > 0.3 else None
    bottom = 1.0 if profile[:, 1].min() < 0.1 and profile[-1, 1] > 0.2 else 1.88
    canvas = d.new_canvas(fine)
    for side in (-1.0, 1.0):
        t, height, radius = _wall(curve, u, v + 1.0, tilt * side)
        mask = _inside(u, radius, height, 0.0, 2.0, scale)
        slope = curve.derivative()(np.clip(height, 0, 2)).astype(np.float32)
        depth = np.sqrt(np.clip(1 - t * t, 0, 1))
        normals = d.unit(np.stack([t, np.clip(-slope, -1.5, 1.5) * 0.6 - 0.1, depth + 0.02], -1))
        strength = 0.55 if side < 0 else 1.0
        colour, opacity = _skin_of_glass(rng, panorama, normals * [side, 1, 1], tint, thickness)
        d.paint(canvas, colour, opacity * mask * strength)
        if side < 0 and level is not None:
            _liquid(canvas, rng, matrix, curve, (level, bottom), (u, v), tilt)
    for height, width in ((0.0, 0.035), (2.0, 0.05)):
        reach = float(curve(height))
        ring = d.to_pixels(matrix * 0.5, d.ellipse((0, height - 1), (reach, tilt * reach)))
        lip = d.stroke(size, [np.concatenate([ring, ring[:1]])], max(1.0, 0.5 * width * scale))
        lit = d.shade(
            np.clip(tint + 0.1, 0, 1), d.rounded(lip, 3.0), d.light_direction(rng), specular=0.6
        )
        both = [np.repeat(np.repeat(part, 2, 0), 2, 1) for part in (lit, d.blur(lip, 0.5))]
        d.paint(canvas, both[0], both[1] * rng.uniform(0.5, 0.8))
    return canvas


def _wall(
    curve: PchipInterpolator, u: Array, height: Array, tilt: float
) -> tuple[Array, Array, Array]:
    """Returns the horizontal position -1..1, height and radius of the wall at each pixel."""
    reached, table = height, curve(np.linspace(0, 2, 512)).astype(np.float32)
    for _ in range(3):
        radius = table[np.clip(reached * 255.5, 0, 511).astype(np.int32)]
        t = np.clip(u / radius, -1, 1)
        reached = height - tilt * radius * np.sqrt(1 - t * t)
    return t, reached, table[np.clip(reached * 255.5, 0, 511).astype(np.int32)]


def _inside(u: Array, radius: Array, height: Array, top: float, end: float, scale: float) -> Array:
    """Returns the coverage of the wall between two heights."""
    edge = np.minimum(radius - np.abs(u), np.minimum(height - top, end - height))
    return np.clip(edge * scale + 0.5, 0.0, 1.0)


def _liquid(
    canvas: Array,
    rng: Rng,
    matrix: Array,
    curve: PchipInterpolator,
    span: tuple[float, float],
    place: tuple[Array, Array],
    tilt: float,
) -> None:
    """Draws a coloured liquid between two heights of a vessel, with its surface."""
    scale = np.hypot(*matrix[:, 0])
    u, v = place
    colour = d.hsv(
        rng.choice([0.0, 0.95, 0.08, 0.12, 0.3, 0.55]),
        rng.uniform(0.3, 0.85),
        rng.uniform(0.3, 0.85),
    )
    t, height, radius = _wall(curve, u, v + 1.0, tilt)
    body = _inside(u, radius * 0.95, height, span[0], span[1], scale)
    dense = rng.uniform(0.35, 0.9)
    deep = np.clip(1 - t * t, 0, 1) ** 0.25
    tone = (0.55 + 0.45 * np.abs(t) ** 2 + 0.3 * d.smoothstep(span[0], span[1], height))[..., None]
    d.paint(canvas, np.clip(colour * tone, 0, 1), body * dense * (0.45 + 0.55 * deep))
    reach = 0.95 * float(curve(span[0]))
    disc = 1.0 - np.hypot(u / reach, (v + 1.0 - span[0]) / (tilt * reach))
    surface = np.clip(disc * scale * tilt * reach + 0.5, 0.0, 1.0)
    shine = np.clip(colour * 1.15 + 0.12 + 0.15 * u[..., None], 0, 1)
    d.paint(canvas, shine, surface * min(0.95, dense + 0.1))


def smoke(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a plume, cloud or wisps of smoke or steam: turbulent density lit from one side."""
    x, y = d.grid(size)
    shift = [d.fractal_noise(rng, (size, size), 1.9, 3.0) for _ in range(2)]
    strength = size * rng.uniform(0.02, 0.04)
    x, y = x + strength * shift[0], y + strength * shift[1]
    form = (_plume, _cloud, _wisps)[rng.integers(3)]
    density = form(rng, size, x, y)
    detail = d.sample(d.fractal_noise(rng, (size, size), 1.75, 4.0), x, y)
    density = density * np.exp(0.45 * detail)
    density = d.blur(np.maximum(density - 0.02, 0.0), rng.uniform(1.0, 2.5))
    thick = rng.uniform(1.2, 3.0)
    alpha = 1.0 - np.exp(-thick * density)
    light = d.light_direction(rng)
    heap = d.blur(density, 6.0) * size / 32
    normals = d.normals_of(heap)
    tone = rng.uniform(0.15, 0.95) if rng.random() < 0.7 else rng.uniform(0.75, 0.95)
    colour = d.hsv(rng.random(), rng.choice([0.04, 0.12, 0.4], p=[0.6, 0.35, 0.05]), tone)
    inner = d.smoothstep(0.2, 1.6, d.blur(density, 6.0))
    lit = d.shade(colour, normals, light, ambient=0.65, specular=0.0)
    lit = lit * (1.0 - 0.25 * inner + 0.03 * detail)[..., None]
    canvas = d.new_canvas(size)
    d.paint(canvas, np.clip(lit, 0, 1), np.clip(alpha, 0, 1).astype(np.float32))
    return d.finish(canvas, 0.4)


def _plume(rng: Rng, size: int, x: Array, y: Array) -> Array:
    """Returns the density of a column that rises from the lower border, widens and leans."""
    rise = np.clip(1.05 - y / size, 0.0, 1.2)
    middle = size * (rng.normal(0.5, 0.08) + rng.normal(0, 0.2) * rise**1.5)
    middle = middle + 0.05 * size * np.sin(rise * rng.uniform(5, 9) + rng.uniform(0, 6))
    width = size * (rng.uniform(0.05, 0.1) + rng.uniform(0.12, 0.24) * rise)
    billow = 0.8 + 0.45 * d.sample(d.fractal_noise(rng, (size, size), 2.0, 5.0), x, y)
    fade = d.smoothstep(rng.uniform(0.9, 1.25), 0.35, rise)
    return np.exp(-(((x - middle) / width) ** 2)) * np.clip(billow, 0.0, 2.0) * (0.25 + fade)


def _cloud(rng: Rng, size: int, x: Array, y: Array) -> Array:
    """Returns the density of a rolling cloud made of several puffs."""
    density = np.zeros_like(x)
    for _ in range(int(rng.integers(6, 12))):
        cx, cy = size * np.clip(rng.normal([0.5, 0.52], [0.2, 0.13]), 0.1, 0.9)
        radius = size * rng.uniform(0.1, 0.22)
        puff = np.hypot(x - cx, (y - cy) * 1.15) / radius
        density = density + 0.8 * (d.smoothstep(1.7, 0.1, puff) * rng.uniform(0.6, 1.3))
    return density


def _wisps(rng: Rng, size: int, x: Array, y: Array) -> Array:
    """Returns the density of thin curling sheets, as of incense."""
    noise = d.sample(d.fractal_noise(rng, (size, size), 2.4, 3.0, (2.0, 1.0)), x, y)
    ridges = np.exp(-((noise / rng.uniform(0.12, 0.3)) ** 2))
    second = d.sample(d.fractal_noise(rng, (size, size), 2.3, 3.0, (2.0, 1.0)), x, y)
    veil = 0.35 * d.smoothstep(-0.5, 1.5, second)
    reach = np.hypot((x / size - 0.5) / rng.uniform(0.28, 0.42), (y / size - 0.5) / 0.6)
    return (0.8 * ridges + veil) * d.smoothstep(1.15, 0.25, reach)
