"""Compact opaque subjects: fruit, balls, boxes, leaves, stones and jars."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from . import drawing as d
from .drawing import Array, Rng


def _ball_coordinates(u: Array, v: Array) -> Array:
    """Returns the points [H, W, 3] of the unit sphere at object coordinates u, v."""
    w = np.sqrt(np.clip(1.0 - u * u - v * v, 0.0, 1.0))
    return d.unit(np.stack([u, v, w], axis=-1).astype(np.float32))


def _rotate_normals(normals: Array, matrix: Array) -> Array:
    """Rotates normals of object coordinates as the object is rotated in the image."""
    turned = normals.copy()
    turned[..., :2] = normals[..., :2] @ (matrix[:, :2] / np.hypot(*matrix[:, 0])).T
    return turned.astype(np.float32)


FRUIT_OUTLINES = {
    "orange": lambda t: 1.0 + 0.0 * t,
    "apple": lambda t: 1.0 + 0.07 * np.sin(t) - 0.20 * np.exp(-(((t + np.pi / 2) / 0.35) ** 2)),
    "lemon": lambda t: 0.8 + 0.22 * np.abs(np.cos(t)) ** 5 + 0.06 * np.cos(2 * t),
    "pear": lambda t: 0.82 - 0.06 * np.sin(t) * 3 + 0.30 * np.exp(-(((t + np.pi / 2) / 0.5) ** 2)),
    "plum": lambda t: 0.92 + 0.08 * np.cos(2 * t),
}

FRUIT_HUES = {
    "orange": (0.07, 0.07),
    "apple": (0.0, 0.2),
    "lemon": (0.14, 0.17),
    "pear": (0.13, 0.22),
    "plum": (0.93, 0.87),
}


def fruit(rng: Rng, size: int) -> Array:
    """Draws a fruit, its stem and often a leaf on a canvas."""
    name = str(rng.choice(list(FRUIT_OUTLINES)))
    matrix = d.placement(rng, size, (0.28, 0.44), 0.7)
    scale = np.hypot(*matrix[:, 0])
    light = d.light_direction(rng)
    u, v = d.to_object(matrix, size)
    around = np.arctan2(v, u)
    radius = FRUIT_OUTLINES[name](around)
    share = np.hypot(u, v) / radius
    mask = np.clip((1.0 - share) * radius * scale + 0.5, 0.0, 1.0)
    ball = _ball_coordinates(share * np.cos(around), share * np.sin(around))
    pores = d.fractal_noise(rng, (size, size), 0.6, 40.0) * rng.uniform(0.03, 0.22)
    normals = d.bump(
        _rotate_normals(ball, matrix), pores + 0.6 * d.fractal_noise(rng, (size, size), 2.5)
    )
    ripe = d.smoothstep(-1.2, 1.2, 1.2 * u * rng.normal() + d.fractal_noise(rng, (size, size), 1.6))
    first, second = (
        d.hsv(h, rng.uniform(0.6, 0.85), rng.uniform(0.45, 0.85)) for h in FRUIT_HUES[name]
    )
    albedo = d.mix(first, second, ripe)
    streaks = d.sample(
        d.fractal_noise(rng, (256, 256), 1.0), around * 256 / 2 / np.pi * 3, 20 * share
    )
    albedo = albedo * (1.0 + 0.06 * streaks[..., None])
    speckles = d.smoothstep(1.9, 2.4, d.fractal_noise(rng, (size, size), 0.5, 30.0))
    albedo = d.mix(albedo, albedo * rng.uniform(0.5, 1.5), 0.6 * speckles)
    dimple = np.exp(-(u**2 + (v + 0.78) ** 2) / 0.02)
    albedo = albedo * (1.0 - 0.5 * dimple[..., None])
    canvas = d.new_canvas(size)
    d.paint(canvas, d.shade(albedo, normals, light, specular=0.3, gloss=rng.uniform(15, 60)), mask)
    _stem(canvas, rng, matrix, light, float(FRUIT_OUTLINES[name](np.array(-np.pi / 2))))
    return canvas


def _stem(canvas: Array, rng: Rng, matrix: Array, light: Array, top: float) -> None:
    """Draws a woody stem at the top of a fruit, often with a leaf."""
    size, scale = canvas.shape[0], np.hypot(*matrix[:, 0])
    lean = rng.uniform(-0.15, 0.15)
    path = d.to_pixels(
        matrix, d.smooth_curve([[0, 0.1 - top], [lean / 3, -0.1 - top], [lean, -0.27 - top]], 14)
    )
    mask = d.stroke(size, [path], np.linspace(0.05, 0.08, 14) * scale)
    d.cast_shadow(canvas, mask, light, 0.05 * scale, 0.4)
    d.paint(canvas, d.shade(np.array([0.33, 0.24, 0.14]), d.rounded(mask, 5.0), light), mask)
    if rng.random() < 0.6:
        side = rng.choice([-1.0, 1.0])
        blade = np.array([[side * 0.55, 0.1 * rng.normal()], [0.3 * rng.normal(), 0.55]]) * 0.6
        middle = np.array([side * 0.33, -0.16 - top])
        inner = np.concatenate([blade, middle[:, None]], 1)
        _leaf_blade(canvas, rng, _compose(matrix, inner), light, d.hsv(0.25, 0.6, 0.45))


def _compose(outer: Array, inner: Array) -> Array:
    """Returns the placement [2, 3] that applies `inner`, then `outer`."""
    return np.concatenate(
        [outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2:]) + outer[:, 2:]], 1
    )


def ball(rng: Rng, size: int) -> Array:
    """Draws a ball with panels, stripes, seams or marbling on a canvas."""
    matrix = d.placement(rng, size, (0.26, 0.42))
    scale = np.hypot(*matrix[:, 0])
    u, v = d.to_object(matrix, size)
    sphere = _ball_coordinates(u, v)
    mask = np.clip((1.0 - np.hypot(u, v)) * scale + 0.5, 0.0, 1.0)
    turned = sphere @ np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    first, second = d.natural_colour(rng, 0.4, 0.95), d.natural_colour(rng, 0.1, 0.8)
    edge = 1.5 / scale
    pattern = rng.integers(4)
    if pattern == 0:
        golden = (1 + 5**0.5) / 2
        corners = [
            np.roll([0, s, t * golden], k) for k in range(3) for s in (-1, 1) for t in (-1, 1)
        ]
        near = np.sort(turned @ d.unit(np.array(corners)).T.astype(np.float32), axis=-1)
        ink = d.smoothstep(0.932 - edge, 0.932 + edge, near[..., -1])
        seam = d.smoothstep(3 * edge, 0.0, near[..., -1] - near[..., -2])
        ink = np.maximum(ink, 0.6 * seam)
    elif pattern == 1:
        wave = np.sin(rng.integers(2, 5) * np.arctan2(turned[..., 1], turned[..., 0]))
        ink = d.smoothstep(-2 * edge, 2 * edge, wave * np.hypot(turned[..., 0], turned[..., 1]))
    elif pattern == 2:
        curve = np.abs(
            turned[..., 2] - 0.45 * np.sin(2 * np.arctan2(turned[..., 1], turned[..., 0]))
        )
        lines = np.minimum(curve, np.minimum(np.abs(turned[..., 0]), np.abs(turned[..., 1])))
        ink = d.smoothstep(0.035 + edge, 0.035 - edge, lines)
    else:
        ink = d.smoothstep(
            -0.6, 0.6, np.sin(5 * turned[..., 0] + 1.5 * d.fractal_noise(rng, (size, size), 1.7))
        )
    dirt = d.fractal_noise(rng, (size, size), 1.1)
    albedo = d.mix(first, second, ink) * (1.0 + 0.07 * dirt[..., None])
    grain = d.fractal_noise(rng, (size, size), 0.3, 60.0) * rng.uniform(0.0, 0.2)
    normals = d.bump(_rotate_normals(sphere, matrix), grain - 0.8 * ink * (pattern == 2))
    canvas = d.new_canvas(size)
    light, gloss = d.light_direction(rng), rng.uniform(8, 80)
    d.paint(
        canvas, d.shade(albedo, normals, light, specular=rng.uniform(0.05, 0.5), gloss=gloss), mask
    )
    return canvas


def rotation(yaw: float, pitch: float) -> Array:
    """Returns the matrix [3, 3] that rotates about the vertical axis, then tips to the viewer."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    return np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]]) @ turn


def box(rng: Rng, size: int) -> Array:
    """Draws a parcel, crate or printed package at an angle on a canvas."""
    matrix = d.placement(rng, size, (0.36, 0.52), 0.25)
    half = rng.uniform(0.4, 0.75, 3)
    turn = rotation(rng.uniform(0.3, 1.25), rng.uniform(0.25, 0.7))
    light = d.light_direction(rng)
    canvas = d.new_canvas(size)
    first, second = d.natural_colour(rng, 0.35, 0.85), d.natural_colour(rng, 0.2, 0.9)
    style = rng.integers(3)
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = turn[:, axis] * sign
            if normal[2] > 0.02:
                faces.append((axis, sign, normal))
    whole = []
    for axis, sign, normal in faces:
        a, b = [k for k in range(3) if k != axis]
        if a == 1:
            a, b = b, a
        middle = turn[:, axis] * sign * half[axis]
        frame = np.stack([turn[:2, a] * half[a], turn[:2, b] * half[b], middle[:2]], axis=1)
        face = _compose(matrix, frame)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 1.004
        whole.append(d.to_pixels(face, corners))
        mask = d.fill(size, [whole[-1]])
        albedo = _box_print(rng, size, face, (first, second), style)
        flat = np.broadcast_to(normal.astype(np.float32), (size, size, 3))
        gradient = 1.0 + 0.12 * d.to_object(face, size)[1] * rng.normal()
        surface = d.bump(flat, 0.5 * d.fractal_noise(rng, (size, size), 1.6))
        d.paint(canvas, d.shade(albedo * gradient[..., None], surface, light, specular=0.05), mask)
    # Faces share edges: the coverage of the outline keeps the seams between them opaque.
    outline = d.fill(size, whole)
    opaque = np.maximum(canvas[..., 3:], 1e-3)
    return np.where(opaque > 1e-3, canvas / opaque * outline[..., None], canvas).astype(np.float32)


def _box_print(rng: Rng, size: int, face: Array, colours: tuple[Array, Array], style: int) -> Array:
    """Draws the albedo of a side of a box: cardboard with tape and label, boards or bars."""
    u, v = d.to_object(face, size)
    first, second = colours
    sharp = 2.0 / np.hypot(*face[:, 0])
    fibre = d.fractal_noise(rng, (size, size), 0.8, 6.0)

    def inside(left, right, top, bottom):
        return d.smoothstep(
            -sharp,
            sharp,
            np.minimum(np.minimum(u - left, right - u), np.minimum(v - top, bottom - v)),
        )

    if style == 0:
        albedo = np.broadcast_to(d.hsv(0.085, 0.42, 0.72), (size, size, 3))
        albedo = d.mix(albedo, np.array([0.78, 0.68, 0.5]), 0.7 * inside(-0.14, 0.14, -2, 2))
        label = inside(0.25, 0.85, 0.2, 0.75)
        albedo = d.mix(albedo, np.array([0.88, 0.87, 0.83]), label)
        bars = inside(0.32, 0.78, 0.27, 0.68) * (np.sin(v * 52) > 0.1) * (np.sin(u * 23 + 2) > -0.8)
        albedo = d.mix(albedo, np.array([0.15, 0.15, 0.17]), 0.8 * bars)
    elif style == 1:
        boards = np.abs((v * 2.0) % 1.0 - 0.5)
        tone = 0.75 + 0.35 * np.sin(np.floor(v * 2.0) * 5.1 + rng.uniform(0, 6)) ** 2
        rings = np.sin(28 * v + 3 * u + 2.5 * d.fractal_noise(rng, (size, size), 1.8))
        albedo = d.hsv(0.085, 0.5, 0.6) * (tone * (1 + 0.1 * rings))[..., None]
        albedo = d.mix(albedo, albedo * 0.25, d.smoothstep(0.44, 0.49, boards))
        frame = 1.0 - inside(-0.82, 0.82, -0.82, 0.82)
        albedo = d.mix(albedo, albedo * 1.25, frame)
    else:
        band = rng.uniform(-0.6, 0.1)
        albedo = d.mix(first, second, inside(-2, 2, band, band + 0.5))
        albedo = d.mix(albedo, 1.0 - 0.6 * first, inside(-0.6, 0.5, 0.3, 0.42))
        letters = inside(-0.7, 0.7, band + 0.12, band + 0.38) * (
            np.sin(u * 21 + 3 * np.sin(u * 9)) > 0
        )
        albedo = d.mix(albedo, first * 0.6 + 0.35, 0.9 * letters)
    return albedo * (1.0 + 0.045 * fibre[..., None])


def leaf(rng: Rng, size: int) -> Array:
    """Draws a single large leaf, green or in autumn colours, on a canvas."""
    matrix = d.placement(rng, size, (0.36, 0.52))
    canvas = d.new_canvas(size)
    colour = d.hsv(
        rng.choice([0.25, 0.22, 0.1, 0.05, 0.02]), rng.uniform(0.45, 0.8), rng.uniform(0.35, 0.75)
    )
    _leaf_blade(canvas, rng, matrix, d.light_direction(rng), colour)
    return canvas


def _leaf_blade(canvas: Array, rng: Rng, matrix: Array, light: Array, colour: Array) -> None:
    """Draws a veined leaf along u from -1 to 1 of the object frame."""
    size = canvas.shape[0]
    scale = np.hypot(*matrix[:, 0])
    t = np.linspace(0, 1, 160)
    width = rng.uniform(0.9, 1.5) * t ** rng.uniform(0.5, 0.8) * (1 - t) ** rng.uniform(0.7, 1.0)
    teeth = rng.uniform(0.0, 0.05) * ((t * rng.integers(14, 26)) % 1.0) * np.sin(np.pi * t)
    bend = rng.uniform(-0.25, 0.25)
    spine = bend * (1 - (2 * t - 1) ** 2)
    upper = np.stack([2 * t - 1, spine + width + teeth], -1)
    lower = np.stack([2 * t - 1, spine - width - teeth], -1)
    mask = d.fill(size, [d.to_pixels(matrix, np.concatenate([upper, lower[::-1]]))])
    stalk = d.smooth_curve([[-0.95, 0.0], [-1.15, -0.3 * bend], [-1.35, -0.9 * bend]], 16)
    stalk_mask = d.stroke(size, [d.to_pixels(matrix, stalk)], 0.04 * scale)
    u, v = d.to_object(matrix, size)
    side = v - bend * (1 - u * u)
    slant = u - rng.uniform(0.4, 0.9) * np.abs(side) + 0.12 * side * side
    veins = np.abs(((slant * 5.5 + 0.5 * (side > 0)) % 1.0) - 0.5)
    thin = 0.055 * (1.0 - 0.5 * np.clip(np.abs(side), 0, 1))
    vein = np.maximum(
        d.smoothstep(thin.mean() + 0.05, 0.0, veins), d.smoothstep(0.035, 0.01, np.abs(side))
    )
    folds = np.cos(2 * np.pi * (slant * 5.5 + 0.5 * (side > 0)))
    height = (0.018 * folds - 0.25 * side * side - 0.05 * np.abs(side)) * scale
    height = height + 1.2 * d.fractal_noise(rng, (size, size), 2.0)
    spots = d.smoothstep(0.2, 2.2, d.fractal_noise(rng, (size, size), 1.4))
    albedo = d.mix(
        colour * (1.0 + 0.1 * d.fractal_noise(rng, (size, size), 1.0))[..., None],
        d.vary(rng, d.hsv(0.1, 0.6, 0.4)),
        0.6 * spots,
    )
    albedo = d.mix(albedo, np.clip(colour * 1.3 + 0.1, 0, 1), 0.6 * vein)
    d.cast_shadow(canvas, mask, light, 0.06 * scale, 0.45)
    d.paint(canvas, d.shade(albedo * 0.7, d.rounded(stalk_mask, 4.0), light), stalk_mask)
    d.paint(canvas, d.shade(albedo, d.normals_of(d.blur(height, 0.8)), light, specular=0.12), mask)


def stone(rng: Rng, size: int) -> Array:
    """Draws a rough stone or a loaf-like lump on a canvas."""
    matrix = d.placement(rng, size, (0.3, 0.46))
    scale = np.hypot(*matrix[:, 0])
    outline = 1.0 + 0.05 * d.fractal_line(rng, 64, 1.8, 2.0)
    outline = d.smooth_curve(outline[::4, None] * [[1.0]], 180, closed=True)[:, 0]
    t = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    points = np.stack([np.cos(t), rng.uniform(0.6, 0.95) * np.sin(t)], -1) * outline[:, None]
    mask = d.fill(size, [d.to_pixels(matrix, points)])
    relief = d.fractal_noise(rng, (size, size), rng.uniform(1.3, 1.7), 4.0) * rng.uniform(1.0, 2.5)
    normals = d.bump(d.rounded(mask, 0.6 * scale), relief)
    first = d.natural_colour(rng, 0.25, 0.75)
    layers = np.sin(6 * d.to_object(matrix, size)[1] + 2 * d.fractal_noise(rng, (size, size), 1.6))
    albedo = d.mix(first, d.vary(rng, first * 0.7, 0.1), d.smoothstep(-0.8, 0.8, layers))
    albedo = albedo * (1.0 + 0.12 * d.fractal_noise(rng, (size, size), 0.6)[..., None])
    canvas = d.new_canvas(size)
    d.paint(canvas, d.shade(albedo, normals, d.light_direction(rng), specular=0.04), mask)
    return canvas


JAR_PROFILES = (
    ((0, 0.45), (0.12, 0.42), (0.3, 0.75), (0.75, 1.0), (1.4, 0.9), (2.0, 0.55)),
    ((0, 0.8), (0.1, 0.85), (0.6, 0.83), (1.4, 0.83), (1.9, 0.8), (2.0, 0.75)),
    ((0, 0.28), (0.5, 0.25), (0.8, 0.6), (1.3, 0.85), (1.8, 0.8), (2.0, 0.5)),
    ((0, 1.0), (0.12, 0.98), (0.14, 0.9), (1.0, 0.78), (1.9, 0.62), (2.0, 0.6)),
)


def jar(rng: Rng, size: int) -> Array:
    """Draws a glazed pot, vase or tin on a canvas."""
    canvas = d.new_canvas(size)
    matrix = d.placement(rng, size, (0.27, 0.42), 0.35)
    profile = np.array(JAR_PROFILES[rng.integers(len(JAR_PROFILES))])
    profile[:, 1] *= rng.uniform(0.75, 1.05)
    pot(canvas, rng, matrix, profile, d.light_direction(rng))
    return canvas


def pot(canvas: Array, rng: Rng, matrix: Array, profile: Array, light: Array) -> None:
    """Draws an opaque body of revolution, open at the top, with glazed bands or patterns."""
    size, scale = canvas.shape[0], np.hypot(*matrix[:, 0])
    u, v = d.to_object(matrix, size)
    tilt = rng.uniform(0.12, 0.3)
    curve = PchipInterpolator(profile[:, 0], profile[:, 1])
    height = v + 1.0
    radius = curve(np.clip(height, 0, 2)).astype(np.float32)
    for _ in range(3):
        across = np.sqrt(np.clip(1 - (u / radius) ** 2, 0, 1))
        front = height - tilt * radius * across
        radius = curve(np.clip(front, 0, 2)).astype(np.float32)
    edge = np.minimum((radius - np.abs(u)), np.minimum(front, 2.0 - front))
    mask = np.clip(edge * scale + 0.5, 0.0, 1.0)
    mouth = profile[0, 1]
    opening = d.fill(size, [d.to_pixels(matrix, d.ellipse((0, -1), (mouth, tilt * mouth)))])
    t = np.clip(u / radius, -1, 1)
    slope = curve.derivative()(np.clip(front, 0, 2)).astype(np.float32)
    body = d.unit(np.stack([t, -slope * 0.8 - 0.15, np.sqrt(1 - t * t) + 0.02], -1))
    turn = np.arcsin(t) / np.pi + rng.random()
    albedo = _glaze(rng, size, turn, front)
    relief = 0.5 * d.fractal_noise(rng, (size, size), 1.8) + 0.15 * np.sin(front * 60)
    normals = d.bump(_rotate_normals(body, matrix), relief)
    gloss = rng.uniform(15, 90)
    inner = d.shade(albedo * 0.45, _rotate_normals(body * [-1, 1, 0.6], matrix), light)
    d.paint(canvas, inner, opening)
    lit = d.shade(albedo, normals, light, specular=rng.uniform(0.1, 0.55), gloss=gloss)
    d.paint(canvas, lit, mask)
    ring = d.to_pixels(matrix, d.ellipse((0, -1), (mouth, tilt * mouth)))
    lip = d.stroke(size, [np.concatenate([ring, ring[:1]])], 0.05 * scale)
    bright = d.shade(np.clip(albedo * 1.1, 0, 1), d.rounded(lip, 3.0), light, specular=0.4)
    d.paint(canvas, bright, lip)


def _glaze(rng: Rng, size: int, turn: Array, height: Array) -> Array:
    """Draws the albedo of pottery by angle and height: glaze, bands or a pattern."""
    first, second = d.natural_colour(rng, 0.3, 0.9), d.natural_colour(rng, 0.15, 0.85)
    albedo = np.broadcast_to(first, (size, size, 3))
    style = rng.integers(4)
    if style == 1:
        lines = d.smoothstep(0.0, 0.15, np.sin(height * rng.uniform(8, 16) + rng.uniform(0, 6)))
        albedo = d.mix(albedo, second, lines)
    elif style == 2:
        drip = 0.7 + 0.25 * d.sample(
            np.tile(d.fractal_line(rng, 256), (4, 1)), turn * 256, 0 * turn
        )
        albedo = d.mix(albedo, second, d.smoothstep(0.03, -0.03, height - drip))
    elif style == 3:
        cells = np.sin(2 * np.pi * turn * 7) * np.sin(height * 9)
        band = d.smoothstep(0.3, 0.35, height) * d.smoothstep(1.7, 1.65, height)
        albedo = d.mix(albedo, second, d.smoothstep(0.2, 0.32, np.abs(cells)) * band)
    mottle = d.fractal_noise(rng, (size, size), 1.0)
    return albedo * (1.0 + 0.06 * mottle[..., None])
