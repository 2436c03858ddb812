"""Heads of hair, drawn hair by hair."""

import numpy as np

from . import drawing as d
from .drawing import Array, Rng

# The end of the scalp: the largest y of a hair root (up is negative) for each depth z of the head.
SCALP_DEPTH = np.array([-1.0, 0.0, 0.35, 0.7, 1.0])

SCALP_LIMIT = np.array([0.55, 0.2, -0.2, -0.52, -0.62])

HAIR_STYLES = {
    # length (in head heights), gravity, curl, lift off the scalp, disorder
    "straight": (2.3, 0.30, 0.03, 0.12, 0.05),
    "wavy": (2.1, 0.24, 0.12, 0.25, 0.08),
    "curly": (1.1, 0.05, 0.26, 0.9, 0.16),
    "short": (0.45, 0.10, 0.05, 0.5, 0.14),
    "windy": (1.8, 0.05, 0.10, 0.4, 0.12),
}

HAIR_COLOURS = ((0.04, 0.3, 0.13), (0.06, 0.5, 0.26), (0.07, 0.55, 0.4), (0.04, 0.7, 0.45))
HAIR_COLOURS += ((0.11, 0.42, 0.72), (0.1, 0.28, 0.82), (0.09, 0.05, 0.6), (0.1, 0.06, 0.85))


def hair(rng: Rng, size: int) -> tuple[Array, Array]:
    """Draws a bust with hundreds of single hairs, seen from the front, the side or behind."""
    radius = size * rng.uniform(0.15, 0.21)
    radii = np.array([radius, radius * 1.28, radius * 1.12], np.float32)
    centre = size * np.array([rng.normal(0.5, 0.07), rng.uniform(0.38, 0.48), 0.0])
    yaw = rng.uniform(-0.7, 0.7) + (np.pi if rng.random() < 0.4 else 0.0)
    light = d.light_direction(rng)
    dye = HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))]
    colour = d.vary(rng, d.hsv(*dye)) if rng.random() < 0.93 else d.hsv(rng.random(), 0.5, 0.6)
    skin = d.hsv(rng.uniform(0.04, 0.08), rng.uniform(0.32, 0.55), rng.uniform(0.38, 0.9))

    paths, layer = _hair_paths(rng, centre, radii, yaw, str(rng.choice(list(HAIR_STYLES))))
    lines, depth = _hair_lines(rng, paths, layer, colour, light)
    behind = depth < -0.25 * radii[2]
    canvas = d.new_canvas(size)
    shade = colour * 0.3
    d.paint(canvas, shade, _mass(size, paths[paths[:, :, 2].mean(1) < 0], 0.8))
    d.overlay(canvas, d.draw_segments(size, *(part[behind] for part in lines)))
    _shoulders(canvas, rng, centre, radii, yaw, skin, light)
    _head(canvas, rng, centre, radii, yaw, skin, shade, light)
    front = ~behind
    veil = d.draw_segments(size, *(part[front] for part in lines))
    d.cast_shadow(canvas, veil[..., 3], light, 0.05 * radius, 0.45)
    d.paint(canvas, shade, _mass(size, paths[paths[:, 0, 2] > -0.4 * radii[2]][:, :8], 0.9))
    d.overlay(canvas, veil)
    return d.finish(canvas, rng.uniform(0.35, 0.6))


def _hair_roots(rng: Rng, count: int, yaw: float) -> tuple[Array, Array]:
    """Draws unit vectors [n, 3] to hair roots: in the head's frame and in view."""
    roots = d.unit(rng.normal(size=(count * 3, 3)))
    limit = np.interp(roots[:, 2], SCALP_DEPTH, SCALP_LIMIT)
    roots = roots[roots[:, 1] < limit + rng.normal(0, 0.04, len(roots))][:count]
    return roots, _turn_head(roots, yaw)


def _turn_head(vectors: Array, yaw: float) -> Array:
    """Rotates vectors [..., 3] of the head's frame by the yaw of the head."""
    c, s = np.cos(yaw), np.sin(yaw)
    return vectors @ np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def _hair_paths(
    rng: Rng, centre: Array, radii: Array, yaw: float, style: str
) -> tuple[Array, Array]:
    """Draws hair curves [n, steps, 3] in pixels that fall around head and shoulders, and layers."""
    length, gravity, curl, lift, disorder = HAIR_STYLES[style]
    roots, seen = _hair_roots(rng, 2600 if length < 2 else 2200, yaw)
    count, steps = len(roots), 26
    part = rng.uniform(-0.4, 0.4)
    comb = np.stack([np.sign(roots[:, 0] - part), np.full(count, 0.1), np.full(count, -0.9)], -1)
    comb = _turn_head(comb, yaw)
    clump = rng.integers(0, 130, count)
    layer = rng.random(count) ** 1.5
    stray = rng.random(count) < 0.07
    wild = np.where(stray, 3.0, 1.0) * disorder
    drift = rng.normal(size=(130, 3))[clump] * 0.25 + rng.normal(size=(count, 3)) * 0.4
    pull = np.array([0.0, gravity, 0.0])
    if style == "windy":
        pull = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.35), 0.06, -0.02])
    reach = length * radii[1] * rng.uniform(0.9, 1.15, count) * np.where(stray, 1.05, 1.0)
    stride = (reach / steps * rng.uniform(0.75, 1.0, count))[:, None]
    direction = d.unit(comb * (1.0 - 0.7 * lift) + seen * (lift + 0.8 * wild[:, None]))
    point = centre + seen * radii
    shell = 1.0 + 0.03 + 0.17 * layer[:, None] * (0.4 + lift)
    paths = [point]
    for _ in range(steps - 1):
        drift = 0.93 * drift + 0.16 * rng.normal(size=(count, 3))
        push = pull + wild[:, None] * drift
        direction = d.unit(direction + push)
        point = _outside(point + stride * direction, centre, radii * shell, yaw)
        means = np.stack([np.bincount(clump, point[:, k], 130) for k in range(3)], -1)
        means /= np.maximum(np.bincount(clump, minlength=130), 1)[:, None]
        together = 0.03 * (~stray[:, None]) * (length > 1)
        point = point + together * (means[clump] - point)
        paths.append(point)
    return _curled(rng, np.stack(paths, axis=1), clump, curl * radii[0]), layer + stray


def _outside(point: Array, centre: Array, radii: Array, yaw: float) -> Array:
    """Moves points [n, 3] out of the head and shoulders, and away from the face."""
    relative = (point - centre) / radii
    distance = np.linalg.norm(relative, axis=1, keepdims=True)
    relative = relative / np.minimum(distance, 1.0).clip(0.05)
    own = _turn_head(relative, -yaw)
    face = (own[:, 2] > 0.15) & (np.abs(own[:, 0]) < 0.95) & (own[:, 1] > -0.45)
    own[:, 0] += np.where(face, 0.22 * np.sign(own[:, 0]) * (1.1 - np.abs(own[:, 0])), 0.0)
    own[:, 2] -= np.where(face, 0.10, 0.0)
    point = centre + _turn_head(own, yaw) * radii
    body = centre + np.array([0.0, 2.75 * radii[0, 1], 0.0])
    shape = radii * np.array([2.2, 1.3, 0.95])
    relative = (point - body) / shape
    distance = np.linalg.norm(relative, axis=1, keepdims=True)
    return body + relative / np.minimum(distance, 1.0).clip(0.05) * shape


def _curled(rng: Rng, paths: Array, clump: Array, amplitude: float) -> Array:
    """Curls paths [n, steps, 3] into waves that hairs of a clump share."""
    along = np.linspace(0, 1, paths.shape[1])[None, :]
    turns = rng.uniform(1.2, 3.0) * rng.uniform(0.8, 1.2, 130)[clump][:, None]
    phase = rng.uniform(0, 2 * np.pi, 130)[clump][:, None] + rng.normal(0, 0.5, (len(paths), 1))
    swing = amplitude * np.minimum(1.0, 2.5 * along) * rng.uniform(0.5, 1.2, (len(paths), 1))
    angle = 2 * np.pi * turns * along + phase
    wave = np.stack([np.sin(angle), 0.4 * np.cos(angle), np.cos(angle)], axis=-1)
    return paths + swing[..., None] * wave


def _hair_lines(
    rng: Rng, paths: Array, layer: Array, colour: Array, light: Array
) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """Returns the segments of all hairs from back to front (ends, widths, colours) and depths."""
    count, steps = paths.shape[:2]
    tangent = d.unit(np.diff(paths, axis=1))
    half = d.unit(light + np.array([0.0, 0.0, 1.0]))
    across = np.sqrt(np.clip(1.0 - (tangent @ light) ** 2, 0.0, 1.0))
    glint = np.clip(1.0 - (tangent @ half) ** 2, 0.0, 1.0) ** 22
    depth = paths[:, :-1, 2]
    spread = float(np.abs(depth).max()) + 1e-3
    open_air = 0.35 + 0.65 * np.minimum(layer, 1.0)[:, None] ** 0.6
    open_air = open_air * (0.72 + 0.28 * np.clip(depth / spread * 2.0, -1.0, 1.0))
    tone = rng.uniform(0.7, 1.25, (count, 1)) * (0.22 + 0.85 * across) * open_air
    along = np.linspace(0, 1, steps - 1)[None, :]
    base = colour * (1.0 + 0.25 * along[..., None]) + 0.02 * rng.normal(size=(count, 1, 3))
    gloss = (0.10 + 0.30 * colour) * rng.uniform(0.2, 1.3, (count, 1, 1))
    colours = base * tone[..., None] + gloss * (glint * open_air)[..., None]
    widths = rng.uniform(0.3, 1.15, (count, 1)) * (1.1 - 0.75 * along**2)
    widths = np.where(layer[:, None] > 1.0, 0.25, widths)
    order = np.argsort((depth + 4.0 * layer[:, None]).ravel(), kind="stable")
    flat = [
        paths[:, :-1, :2].reshape(-1, 2),
        paths[:, 1:, :2].reshape(-1, 2),
        widths.ravel(),
        colours.reshape(-1, 3),
    ]
    return tuple(part[order] for part in flat), depth.ravel()[order]


def _mass(size: int, paths: Array, keep: float) -> Array:
    """Returns the coverage [size, size] of the dense hair, without its loose outline."""
    picked = paths[::4, : max(2, int(paths.shape[1] * keep)), :2]
    shape = d.stroke(size, picked[:, ::2], 3.0)
    return d.smoothstep(0.80, 0.97, d.blur(shape, size / 110))


def _shoulders(
    canvas: Array, rng: Rng, centre: Array, radii: Array, yaw: float, skin: Array, light: Array
) -> None:
    """Draws neck and clothed shoulders down to the lower border."""
    size = canvas.shape[0]
    (x, y), (a, b) = centre[:2], radii[:2]
    neck = d.stroke(size, [np.array([[x, y + 0.5 * b], [x, y + 1.75 * b]])], 1.05 * a)
    d.paint(canvas, d.shade(skin * 0.82, d.rounded(neck, 0.5 * a), light), neck)
    right = [[0.48, 1.1], [0.75, 1.32], [1.5, 1.52], [2.1, 1.95], [2.4, 2.9], [2.5, 5.0]]
    right = np.array(right)
    right[2:, 0] *= rng.uniform(0.85, 1.05)
    side = d.smooth_curve(right, 40)
    dip = rng.uniform(1.4, 2.1) if np.cos(yaw) > 0 else 1.2
    collar = d.smooth_curve(
        [
            [-0.48, 1.1],
            [-0.33, 0.5 * dip + 0.58],
            [0.0, dip],
            [0.33, 0.5 * dip + 0.58],
            [0.48, 1.1],
        ],
        24,
    )
    outline = np.concatenate([side, side[::-1] * [-1, 1]])
    body = d.fill(size, [outline * [a, b] + [x, y]])
    cloth = d.fill(size, [np.concatenate([side, side[::-1] * [-1, 1], collar]) * [a, b] + [x, y]])
    d.paint(canvas, d.shade(skin * 0.93, d.rounded(body, 0.9 * a), light), body * (1 - cloth))
    folds = d.blur(d.fractal_noise(rng, (size, size), 2.6, 4.0, (1.6, 1.0)), 2.0) * 0.011 * size
    normals = d.bump(d.rounded(body, 0.9 * a), folds)
    d.cast_shadow(canvas, cloth, light, 2.0, 0.3)
    d.paint(canvas, d.shade(_cloth(rng, size), normals, light, specular=0.03), cloth)


def _cloth(rng: Rng, size: int) -> Array:
    """Draws the albedo [size, size, 3] of woven or knitted cloth: plain, striped or checked."""
    x, y = d.grid(size)
    angle = rng.uniform(-0.4, 0.4)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bend = 4.0 * d.fractal_noise(rng, (size, size), 3.0)
    first, second = d.natural_colour(rng, 0.12, 0.8), d.natural_colour(rng, 0.12, 0.8)
    albedo = np.broadcast_to(first, (size, size, 3))
    period = rng.uniform(10, 40)
    bands = [d.smoothstep(0.1, 0.3, np.sin(2 * np.pi * (k + bend) / period)) for k in (u, v)]
    pattern = rng.integers(4)
    if pattern == 1:
        albedo = d.mix(albedo, second, bands[1])
    elif pattern == 2:
        albedo = d.mix(d.mix(albedo, second, 0.5 * bands[0]), second, 0.5 * bands[1])
    thread = rng.uniform(2.5, 4.5)
    weave = np.sin(2 * np.pi * u / thread) * np.sin(2 * np.pi * v / thread)
    weave = weave * 0.07 + 0.05 * d.fractal_noise(rng, (size, size), 0.4)
    return albedo * (1.0 + weave[..., None])


def _head(
    canvas: Array,
    rng: Rng,
    centre: Array,
    radii: Array,
    yaw: float,
    skin: Array,
    scalp: Array,
    light: Array,
) -> None:
    """Draws the head with ears and, if it faces the camera, a face."""
    size = canvas.shape[0]
    t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    jaw = 1.0 - 0.26 * np.clip(np.sin(t), 0, 1) ** 2 * (1.0 if np.cos(yaw) > 0 else 0.5)
    outline = np.stack([np.cos(t) * jaw, np.sin(t)], -1) * radii[:2] + centre[:2]
    mask = d.fill(size, [outline])
    for side in (-1.0, 1.0):
        place = _turn_head(np.array([side, 0.1, -0.1]), yaw)
        ear = d.fill(size, [d.ellipse(centre[:2] + place[:2] * radii[:2], radii[:2] * [0.13, 0.2])])
        d.paint(canvas, d.shade(skin * [0.95, 0.85, 0.82], d.rounded(ear, 4.0), light), ear)
    x, y = d.grid(size)
    nx, ny = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    nz = np.sqrt(np.clip(1.0 - nx * nx - ny * ny, 0.02, 1.0))
    normals = d.unit(np.stack([nx, ny, nz], -1))
    blotches = 0.03 * d.fractal_noise(rng, (size, size), 1.0)
    d.cast_shadow(canvas, mask, light, 0.16 * radii[0], 0.5)
    albedo = skin * (1.0 + blotches[..., None])
    own = _turn_head(normals, -yaw)
    bare = own[..., 1] - np.interp(own[..., 2], SCALP_DEPTH, SCALP_LIMIT)
    albedo = d.mix(scalp + 0.15 * skin, albedo, d.smoothstep(-0.12, 0.06, bare))
    if np.cos(yaw) > 0.2:
        albedo, normals = _face(rng, albedo, normals, centre, radii, yaw, skin)
    d.paint(canvas, d.shade(albedo, normals, light, specular=0.12, gloss=12.0), mask)


def _face(
    rng: Rng, albedo: Array, normals: Array, centre: Array, radii: Array, yaw: float, skin: Array
) -> tuple[Array, Array]:
    """Adds nose, eyes, brows and mouth of a head rotated by yaw to albedo and normals."""
    size = albedo.shape[0]

    def spot(u, v):
        depth = np.sqrt(np.clip(1.0 - np.square(u) - np.square(v), 0.05, 1.0))
        points = _turn_head(np.stack([u, v, depth], -1), yaw)
        return points[..., :2] * radii[:2] + centre[:2]

    def soft(mask, sigma):
        return d.blur(mask, sigma * radii[0] / 60.0)

    nose = spot(np.linspace(0.0, 0.03, 8), np.linspace(0.02, 0.36, 8))
    ridge = d.stroke(size, [nose + [0.12 * radii[0] * np.sin(yaw), 0]], radii[0] * 0.2)
    socket = d.fill(size, [spot(*d.ellipse((s * 0.36, 0.05), (0.22, 0.12)).T) for s in (-1, 1)])
    height = soft(ridge, 2.2) * 0.16 * radii[0] - soft(socket, 3.0) * 0.07 * radii[0]
    nostrils = d.stroke(
        size,
        [spot(np.full(2, s * 0.075), np.array([0.39, 0.392])) for s in (-1, 1)],
        radii[0] * 0.06,
    )
    albedo = d.mix(albedo, skin * [0.95, 0.72, 0.7], 0.3 * soft(socket, 3.0))
    albedo = d.mix(albedo, skin * 0.35, 0.6 * soft(nostrils, 1.2))
    lips = d.smooth_curve(
        [
            [-0.23, 0.6],
            [-0.07, 0.56],
            [0, 0.57],
            [0.07, 0.56],
            [0.23, 0.6],
            [0.0, rng.uniform(0.65, 0.7)],
        ],
        40,
        closed=True,
    )
    albedo = d.mix(
        albedo, skin * [0.9, 0.55, 0.55], 0.75 * soft(d.fill(size, [spot(*lips.T)]), 0.9)
    )
    gap = d.stroke(
        size, [spot(np.linspace(-0.22, 0.22, 12), 0.605 + 0 * np.linspace(0, 1, 12))], 1.0
    )
    albedo = d.mix(albedo, skin * 0.3, 0.7 * soft(gap, 0.7))
    iris = d.hsv(rng.uniform(0.05, 0.6), rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.45))
    for s in (-1, 1):
        arch = np.linspace(-1, 1, 14)
        lid = spot(s * 0.36 + 0.15 * arch, 0.07 - 0.075 * (1 - arch**2))
        lower = spot(s * 0.36 + 0.15 * arch, 0.07 + 0.05 * (1 - arch**2))
        eye = d.fill(size, [np.concatenate([lid, lower[::-1]])])
        albedo = d.mix(albedo, np.array([0.82, 0.79, 0.77]), soft(eye, 0.6))
        middle = spot(np.array(s * 0.36), np.array(0.06))
        for share, ink in ((0.07, iris), (0.035, iris * 0.1)):
            disc = d.fill(size, [d.ellipse(middle, radii[:2] * share)])
            albedo = d.mix(albedo, ink, disc * soft(eye, 0.6))
        albedo = d.mix(
            albedo, skin * 0.18, 0.9 * soft(d.stroke(size, [lid], radii[0] * 0.035), 0.6)
        )
        brow = spot(s * (0.36 + 0.2 * arch), -0.13 - 0.05 * (1 - arch**2) - 0.02 * arch)
        hairs = d.stroke(size, [brow], radii[0] * (0.075 - 0.03 * (arch + 1) / 2))
        albedo = d.mix(albedo, skin * 0.25, 0.75 * soft(hairs, 1.2))
    return albedo, d.bump(normals, height)
