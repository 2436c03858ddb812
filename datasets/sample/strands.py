"""Subjects made of strands: heads of hair and furry animals."""

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
