"""Opaque subjects with holes: wheels, furniture, mugs, scissors, chains, grilles and twigs."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from . import drawing as d
from .drawing import Array, Rng
from .solids import JAR_PROFILES, leaf, pot, rotation


def _tube(
    canvas: Array,
    paths: Sequence[Array],
    width: float | Array,
    albedo: Array,
    light: Array,
    shadow: float = 0.0,
    specular: float = 0.3,
) -> None:
    """Draws shaded round bars along paths, `width` pixels wide, with their shadows."""
    mask = d.stroke(canvas.shape[0], paths, width)
    if shadow:
        d.cast_shadow(canvas, mask, light, shadow, 0.45)
    normals = d.rounded(mask, float(np.max(width)) / 2, 0.18)
    d.paint(canvas, d.shade(albedo, normals, light, specular=specular), mask)


def _material(rng: Rng, size: int) -> Array:
    """Draws the albedo [size, size, 3] of metal, painted or wooden parts."""
    noise = d.fractal_noise(rng, (size, size), 1.0, 4.0, (1.0, rng.uniform(1.0, 4.0)))
    colour = d.natural_colour(rng, 0.15, 0.85)
    if rng.random() < 0.35:
        colour = d.hsv(rng.uniform(0.05, 0.12), rng.uniform(0.4, 0.7), rng.uniform(0.3, 0.75))
    return colour * (1.0 + rng.uniform(0.04, 0.14) * noise[..., None])


def wheel(rng: Rng, size: int) -> Array:
    """Draws a spoked wheel, seen slightly from the side, on a canvas."""
    matrix = d.placement(rng, size, (0.32, 0.46))
    matrix[:, 0] *= rng.uniform(0.6, 1.0)
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    light = d.light_direction(rng)
    canvas = d.new_canvas(size)
    count = int(rng.integers(10, 30))
    angles = np.arange(count) * 2 * np.pi / count
    cross = rng.choice([0.0, 0.5, 1.2])
    lean = np.where(np.arange(count) % 2, cross, -cross)
    rim = np.stack([np.cos(angles), np.sin(angles)], -1) * 0.84
    hub = np.stack([np.cos(angles + lean), np.sin(angles + lean)], -1) * 0.09
    spokes = [d.to_pixels(matrix, np.stack(pair)) for pair in zip(hub, rim, strict=True)]
    metal = _material(rng, size)
    thickness = rng.uniform(0.008, 0.03) if rng.random() < 0.7 else rng.uniform(0.04, 0.09)
    _tube(canvas, spokes, max(0.7, thickness * scale), metal, light)
    for radius, width, albedo in (
        (0.92, 0.12, _material(rng, size) * 0.4),
        (0.84, 0.05, metal),
        (0.05, 0.11, metal),
    ):
        ring = d.to_pixels(matrix, d.ellipse((0, 0), (radius, radius)))
        _tube(canvas, [np.concatenate([ring, ring[:1]])], width * scale, albedo, light, 2.0)
    return canvas


def furniture(rng: Rng, size: int) -> Array:
    """Draws a chair, stool, ladder or cage of bars in space, far bars first, on a canvas."""
    matrix = d.placement(rng, size, (0.36, 0.5), 0.3)
    scale = np.hypot(*matrix[:, 0])
    turn = rotation(rng.uniform(0.25, 1.2), rng.uniform(0.15, 0.55))
    light, albedo = d.light_direction(rng), _material(rng, size)
    bars, boards = (_chair, _ladder, _cage)[rng.integers(3)](rng)
    width = rng.uniform(0.07, 0.13)
    parts = [(float((np.array(bar) @ turn.T)[:, 2].mean()), bar, False) for bar in bars]
    parts += [(float((np.array(board) @ turn.T)[:, 2].mean()), board, True) for board in boards]
    canvas = d.new_canvas(size)
    for depth, part, flat in sorted(parts, key=lambda item: item[0]):
        points = d.to_pixels(matrix, (np.array(part) @ turn.T)[:, :2])
        tone = albedo * np.clip(0.9 + 0.2 * depth, 0.6, 1.15)
        if flat:
            mask = np.maximum(
                d.fill(size, [points]),
                d.stroke(size, [np.concatenate([points, points[:1]])], 0.07 * scale),
            )
            d.cast_shadow(canvas, mask, light, 0.08 * scale, 0.4)
            normal = d.bump(
                d.rounded(mask, 0.06 * scale), d.fractal_noise(rng, (size, size), 1.6) * 0.3
            )
            d.paint(canvas, d.shade(tone * 1.05, normal, light), mask)
        else:
            _tube(canvas, [points], width * scale, tone, light, 0.04 * scale)
    return canvas


def _chair(rng: Rng) -> tuple[list, list]:
    """Returns the bars and boards (3-D point lists) of a chair or, with a low back, a stool."""
    w, seat, top = rng.uniform(0.45, 0.6), 0.1, -rng.uniform(0.7, 1.1)
    legs = [[(x, seat, z), (x * 1.08, 1.1, z * 1.08)] for x in (-w, w) for z in (-w, w)]
    rails = [[(-w, 0.65, z), (w, 0.65, z)] for z in (-w, w)]
    rails += [[(x, 0.75, -w), (x, 0.75, w)] for x in (-w, w)]
    posts = [[(x, seat, -w), (x, top, -w * 1.2)] for x in (-w, w)]
    count = int(rng.integers(2, 6))
    if rng.random() < 0.5:
        posts += [[(-w, y, -w * 1.1), (w, y, -w * 1.1)] for y in np.linspace(top, -0.1, count)]
    else:
        posts += [[(x, seat, -w), (x, top, -w * 1.2)] for x in np.linspace(-w, w, count + 2)[1:-1]]
        posts += [[(-w, top, -w * 1.2), (w, top, -w * 1.2)]]
    return legs + rails + posts, [[(-w, seat, -w), (w, seat, -w), (w, seat, w), (-w, seat, w)]]


def _ladder(rng: Rng) -> tuple[list, list]:
    """Returns the bars (3-D point lists) of a stepladder."""
    w, count = rng.uniform(0.35, 0.5), int(rng.integers(4, 7))
    bars = [[(x * 0.8, -1.1, 0.0), (x, 1.1, z)] for x in (-w, w) for z in (-0.6, 0.6)]
    for share in np.linspace(0.1, 0.9, count):
        half = w * (0.8 + 0.2 * share)
        y = -1.1 + 2.2 * share
        bars.append([(-half, y, 0.6 * share), (half, y, 0.6 * share)])
    bars.append([(-0.95 * w, 0.7, -0.5), (0.95 * w, 0.7, -0.5)])
    return bars, []


def _cage(rng: Rng) -> tuple[list, list]:
    """Returns the bars and boards (3-D point lists) of a slatted crate or a shelf."""
    w, h = rng.uniform(0.5, 0.8), rng.uniform(0.6, 0.9)
    corners = [(-w, -w), (w, -w), (w, w), (-w, w)]
    bars = [[(x, -h, z), (x, h, z)] for x, z in corners]
    for y in np.linspace(-h, h, int(rng.integers(3, 6))):
        bars += [
            [(*p[:1], y, p[1]), (*q[:1], y, q[1])]
            for p, q in zip(corners, corners[1:] + corners[:1], strict=True)
        ]
    count = int(rng.integers(0, 4))
    bars += [[(x, -h, w), (x, h, w)] for x in np.linspace(-w, w, count + 2)[1:-1]]
    return bars, [[(x, h, z) for x, z in corners]]


def mug(rng: Rng, size: int) -> Array:
    """Draws a mug or jug and the opening of its handle on a canvas."""
    canvas = d.new_canvas(size)
    matrix = d.placement(rng, size, (0.26, 0.36), 0.3)
    scale = np.hypot(*matrix[:, 0])
    light = d.light_direction(rng)
    profile = np.array(JAR_PROFILES[rng.choice([0, 1, 3])])
    profile[:, 1] *= rng.uniform(0.8, 0.95)
    side, reach = rng.choice([-1.0, 1.0]), rng.uniform(0.45, 0.8)
    edge = PchipInterpolator(profile[:, 0], profile[:, 1])
    handle = np.array(
        [
            [edge(0.4) - 0.08, -0.55],
            [edge(0.4) + reach, -0.5],
            [edge(1.0) + reach, 0.2],
            [edge(1.5) - 0.08, 0.62],
        ]
    ) * [side, 1.0]
    path = d.to_pixels(matrix, d.smooth_curve(handle, 50))
    _tube(canvas, [path], rng.uniform(0.13, 0.22) * scale, _material(rng, size), light)
    pot(canvas, rng, matrix, profile, light)
    return canvas


def scissors(rng: Rng, size: int) -> Array:
    """Draws open scissors, two blades and ring handles, on a canvas."""
    matrix = d.placement(rng, size, (0.42, 0.56))
    scale = np.hypot(*matrix[:, 0])
    light = d.light_direction(rng)
    steel = d.hsv(0.6, 0.05, rng.uniform(0.5, 0.75)) * np.ones((size, size, 1))
    steel = steel * (1 + 0.1 * d.fractal_noise(rng, (size, size), 1.0, 4.0, (1, 6))[..., None])
    grip = _material(rng, size)
    opening = rng.uniform(0.12, 0.45)
    canvas = d.new_canvas(size)
    for side in (-1.0, 1.0):
        half = matrix.copy()
        half[:, :2] = matrix[:, :2] @ d.turn(np.eye(2), side * opening).T * [1.0, side]
        blade = np.array([[-0.1, 0.07], [0.3, 0.10], [1.05, -0.05], [0.3, -0.06], [-0.1, -0.07]])
        mask = d.fill(size, [d.to_pixels(half, blade)])
        d.cast_shadow(canvas, mask, light, 0.03 * scale, 0.4)
        d.paint(canvas, d.shade(steel, d.rounded(mask, 0.06 * scale), light, specular=0.6), mask)
        shank = d.to_pixels(half, np.array([[-0.05, 0.0], [-0.45, -0.08]]))
        _tube(canvas, [shank], 0.11 * scale, steel * 0.9, light, 2.0, 0.5)
        loop = d.to_pixels(half, d.ellipse((-0.72, -0.14), (0.3, 0.2), 0.3))
        _tube(canvas, [np.concatenate([loop, loop[:1]])], 0.11 * scale, grip, light, 2.0)
    screw = d.fill(size, [d.to_pixels(matrix, d.ellipse((0, 0), (0.045, 0.045)))])
    d.paint(canvas, d.shade(steel * 0.8, d.rounded(screw, 0.04 * scale), light), screw)
    return canvas


def chain(rng: Rng, size: int) -> Array:
    """Draws a few interlinked rings along a bent line on a canvas."""
    matrix = d.placement(rng, size, (0.34, 0.46))
    scale = np.hypot(*matrix[:, 0])
    light, albedo = d.light_direction(rng), _material(rng, size)
    count = int(rng.integers(4, 8))
    line = d.smooth_curve(
        [
            [-1, 0.4 * rng.normal()],
            [-0.3, 0.4 * rng.normal()],
            [0.35, 0.4 * rng.normal()],
            [1, 0.4 * rng.normal()],
        ],
        count,
    )
    heading = np.arctan2(*np.gradient(line, axis=0).T[::-1])
    length = 1.3 * np.linalg.norm(np.diff(line, axis=0), axis=1).mean()
    canvas = d.new_canvas(size)
    arcs = []
    for k, (centre, angle) in enumerate(zip(line, heading, strict=True)):
        flat = rng.uniform(0.6, 0.75) if k % 2 else rng.uniform(0.35, 0.5)
        ring = d.ellipse(centre, (length * 0.62, length * 0.62 * flat), angle)
        arcs.append(d.to_pixels(matrix, np.concatenate([ring, ring[:1]])))
    width = rng.uniform(0.11, 0.16) * scale
    for ring in arcs:
        _tube(canvas, [ring[36:]], width, albedo, light, 3.0, 0.5)
    for ring in arcs[::-1]:
        _tube(canvas, [ring[:37]], width, albedo, light, 3.0, 0.5)
    return canvas


def glasses(rng: Rng, size: int) -> Array:
    """Draws a pair of glasses without lenses on a canvas."""
    matrix = d.placement(rng, size, (0.38, 0.5), 0.6)
    scale = np.hypot(*matrix[:, 0])
    light, albedo = d.light_direction(rng), _material(rng, size) * 0.8
    squareness = rng.uniform(0.45, 1.0)
    t = np.linspace(0, 2 * np.pi, 90)
    rim = np.stack(
        [
            np.sign(np.cos(t)) * np.abs(np.cos(t)) ** squareness * 0.42,
            np.sign(np.sin(t)) * np.abs(np.sin(t)) ** squareness * 0.33,
        ],
        -1,
    )
    width = rng.uniform(0.05, 0.11) * scale
    canvas = d.new_canvas(size)
    drop = rng.uniform(0.1, 0.7)
    for side in (-1.0, 1.0):
        arm = d.smooth_curve(
            [[side * 0.95, -0.1], [side * 0.75, -0.5 * drop - 0.25], [side * 0.5, -drop - 0.3]], 24
        )
        _tube(canvas, [d.to_pixels(matrix, arm)], width * 0.9, albedo * 0.8, light)
    for side in (-1.0, 1.0):
        _tube(canvas, [d.to_pixels(matrix, rim + [side * 0.52, 0])], width, albedo, light, 3.0, 0.5)
    bridge = d.smooth_curve([[-0.14, -0.05], [0, -0.14], [0.14, -0.05]], 16)
    _tube(canvas, [d.to_pixels(matrix, bridge)], width, albedo, light, 2.0, 0.5)
    return canvas


def grille(rng: Rng, size: int) -> Array:
    """Draws wrought ironwork, a frame with bars and scrolls, on a canvas."""
    matrix = d.placement(rng, size, (0.36, 0.46), 0.35)
    matrix[:, 0] *= rng.uniform(0.7, 1.0)
    scale = np.hypot(*matrix[:, 1])
    light, albedo = d.light_direction(rng), _material(rng, size)
    canvas = d.new_canvas(size)
    xs = np.linspace(-0.9, 0.9, int(rng.integers(4, 8)))
    bars = [d.to_pixels(matrix, np.array([[x, -0.95], [x, 0.95]])) for x in xs]
    t = np.linspace(0, rng.uniform(2.0, 3.2) * np.pi, 50)
    curl = (np.stack([np.cos(t), np.sin(t)], -1) * (1 - t / t[-1] * 0.85)[:, None]) * 0.2
    scrolls = []
    for x in (xs[:-1] + xs[1:]) / 2:
        for y, side in ((-0.5, 1), (-0.05, -1), (0.45, 1)):
            squeeze = [(xs[1] - xs[0]) * 2.3 * side, 1.0]
            scrolls.append(d.to_pixels(matrix, curl * squeeze + [x, y]))
    _tube(canvas, scrolls, rng.uniform(0.04, 0.07) * scale, albedo, light)
    _tube(canvas, bars, rng.uniform(0.05, 0.09) * scale, albedo, light, 2.0)
    for y in (-0.95, -0.28, 0.2, 0.95):
        rail = d.to_pixels(matrix, np.array([[-0.98, y], [0.98, y]]))
        _tube(canvas, [rail], rng.uniform(0.08, 0.11) * scale, albedo, light, 2.0)
    return canvas


def twig(rng: Rng, size: int) -> Array:
    """Draws a branching twig with many small leaves on a canvas."""
    matrix = d.placement(rng, size, (0.4, 0.5), 0.5)
    scale = np.hypot(*matrix[:, 0])
    light, bark = d.light_direction(rng), _material(rng, size) * [0.7, 0.6, 0.5]
    canvas = d.new_canvas(size)
    stems = [(np.array([rng.normal(0, 0.1), 1.0]), -np.pi / 2 + rng.normal(0, 0.15), 1.0, 0)]
    paths, leaves = [], []
    while stems:
        start, heading, length, level = stems.pop(0)
        steps = np.linspace(0, length, 12)
        bend = heading + np.cumsum(rng.normal(0, 0.09, 12))
        step = np.stack([np.cos(bend), np.sin(bend)], -1) * np.gradient(steps)[:, None]
        path = start + np.cumsum(step, axis=0)
        paths.append((level, d.to_pixels(matrix, path)))
        for k in range(2, 12, 3):
            side = rng.choice([-1.0, 1.0])
            if level < 2 and rng.random() < 0.85 - 0.1 * level:
                stems.append(
                    (path[k], bend[k] + side * rng.uniform(0.4, 0.9), length * 0.55, level + 1)
                )
            leaves.append((path[k], bend[k] + side * rng.uniform(0.3, 1.2)))
    for level in (2, 1, 0):
        width = np.maximum((0.08 - 0.02 * level) * scale * np.linspace(1, 0.35, 12), 1.2)
        stems = [path for order, path in paths if order == level]
        _tube(canvas, stems, width, bark, light, specular=0.05)
    leaf_colour = d.hsv(rng.choice([0.27, 0.22, 0.1, 0.04]), rng.uniform(0.4, 0.75), 0.5)
    leaves = [leaves[k] for k in rng.permutation(len(leaves))[:30]]
    _small_leaves(canvas, rng, matrix, leaves, leaf_colour, light)
    return canvas


def _small_leaves(
    canvas: Array, rng: Rng, matrix: Array, leaves: list, colour: Array, light: Array
) -> None:
    """Draws simple leaves at (position, heading) pairs, each with its own tilt to the light."""
    size, scale = canvas.shape[0], np.hypot(*matrix[:, 0])
    t = np.linspace(0, 1, 20)
    plump = rng.uniform(0.35, 0.7)
    for place, heading in leaves:
        length = rng.uniform(0.3, 0.55)
        half = plump * t**0.7 * (1 - t) * length
        shape = np.concatenate(
            [np.stack([t * length, half], -1), np.stack([t * length, -half], -1)[::-1]]
        )
        mask = d.fill(size, [d.to_pixels(matrix, d.turn(shape, heading) + place)])
        d.cast_shadow(canvas, mask, light, 0.04 * scale, 0.4)
        tilt = d.unit(np.array([rng.normal(0, 0.4), rng.normal(0, 0.4), 1.0])).astype(np.float32)
        normals = d.unit(d.rounded(mask, 0.05 * scale) + tilt)
        d.paint(canvas, d.shade(d.vary(rng, colour, 0.12), normals, light, specular=0.1), mask)


def leaf_with_holes(rng: Rng, size: int) -> Array:
    """Draws a broad leaf with slits and holes between its veins on a canvas."""
    canvas = leaf(rng, size)
    mask = canvas[..., 3]
    rows, columns = np.nonzero(mask > 0.9)
    points = np.stack([columns, rows], -1).astype(float)
    centre = points.mean(0)
    axis = np.linalg.eigh(np.cov((points - centre).T))[1][:, 1]
    normal = np.array([-axis[1], axis[0]])
    reach = 2.0 * (points - centre).std(0).max()
    cuts = []
    for along in np.linspace(-0.65, 0.6, int(rng.integers(5, 8))):
        for side in (-1.0, 1.0):
            middle = centre + axis * along * reach + side * normal * reach * rng.uniform(0.16, 0.24)
            radii = reach * np.array([rng.uniform(0.08, 0.15), rng.uniform(0.03, 0.055)])
            heading = np.arctan2(*(side * normal + 0.6 * axis)[::-1])
            cuts.append(d.ellipse(middle, radii, heading))
    return canvas * (1.0 - d.fill(size, cuts))[..., None]
