"""Shared drawing primitives: noise, anti-aliased shapes, strands, shading and layers.

Images are float32, [H, W] or [H, W, C] in 0..1; points are (x, y) in pixels with y downwards, and
a canvas is a premultiplied [H, W, 4] image that layers are painted on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import fft, ndimage
from scipy.interpolate import CubicSpline

Array = NDArray[np.float32]
Rng = np.random.Generator

SUPERSAMPLING = 4


def grid(size: int) -> tuple[Array, Array]:
    """Returns x and y of the pixel centres, each [size, size]."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
    return x, y


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Ramps smoothly from 0 at low to 1 at high; low may be larger than high."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(first: Array, second: Array, weight: Array | float) -> Array:
    """Interpolates two colours or images; a weight [H, W] applies to all channels."""
    first, second, weight = (np.asarray(part, np.float32) for part in (first, second, weight))
    return first + (second - first) * (weight[..., None] if weight.ndim == 2 else weight)


def fractal_noise(
    rng: Rng,
    shape: tuple[int, int],
    slope: float = 1.3,
    coarsest: float = 3.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Array:
    """Draws periodic noise [H, W], mean 0 and deviation 1, with amplitude frequency**-slope.

    `coarsest` is the frequency, in cycles per frame, below which the amplitude is constant;
    `stretch` elongates the features along y and x.
    """
    height, width = shape
    fy = np.fft.fftfreq(height).astype(np.float32)[:, None] * height * stretch[0]
    fx = np.fft.rfftfreq(width).astype(np.float32)[None, :] * width * stretch[1]
    spectrum = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    spectrum *= (fx * fx + fy * fy + coarsest * coarsest) ** np.float32(-slope / 2)
    spectrum[0, 0] = 0.0
    noise = fft.irfft2(spectrum, s=shape)
    return (noise / noise.std()).astype(np.float32)


def fractal_line(rng: Rng, length: int, slope: float = 1.5, coarsest: float = 2.0) -> Array:
    """Draws one-dimensional fractal noise [length] of deviation 1 that is not periodic."""
    frequency = np.fft.rfftfreq(2 * length) * length * 2
    spectrum = np.fft.rfft(rng.standard_normal(2 * length))
    spectrum *= (frequency**2 + coarsest**2) ** (-slope / 2)
    spectrum[0] = 0.0
    line = np.fft.irfft(spectrum)[:length]
    return ((line - line.mean()) / line.std()).astype(np.float32)


def sample(image: Array, x: Array, y: Array) -> Array:
    """Samples a periodic image [h, w] or [h, w, c] bilinearly at pixel coordinates x, y."""
    if image.ndim == 3:
        return np.stack([sample(image[..., c], x, y) for c in range(image.shape[2])], axis=-1)
    return ndimage.map_coordinates(image, [y, x], order=1, mode="grid-wrap", output=np.float32)


def blur(image: Array, sigma: float) -> Array:
    """Blurs the first two axes by a Gaussian; wide ones are three box filters, which is faster."""
    if sigma < 0.05:
        return image
    extra = (0,) * (image.ndim - 2)
    if sigma < 2.0:
        return ndimage.gaussian_filter(image, (sigma, sigma, *extra), mode="nearest", truncate=3.0)
    width = max(3, round(float(np.sqrt(4.0 * sigma * sigma + 1.0))))
    for axis in (0, 1):
        for _ in range(3):
            image = ndimage.uniform_filter1d(image, width, axis=axis, mode="nearest")
    return image


def convolve(image: Array, kernel: Array) -> Array:
    """Convolves [H, W, C] with a small odd-sided kernel; the border is replicated."""
    radius = kernel.shape[0] // 2
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    shape = [fft.next_fast_len(n, real=True) for n in padded.shape[:2]]
    spectrum = fft.rfft2(padded, s=shape, axes=(0, 1))
    spectrum *= fft.rfft2(kernel.astype(np.float32), s=shape)[..., None]
    result = fft.irfft2(spectrum, s=shape, axes=(0, 1))
    height, width = image.shape[:2]
    return result[2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def defocus(image: Array, radius: float) -> Array:
    """Blurs an image [H, W, 3] by a disc in linear light, so that lamps become discs."""
    if radius < 0.7:
        return blur(image, radius)
    reach = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    disc = np.clip(radius + 0.5 - distance, 0.0, 1.0) * (0.8 + 0.2 * distance / radius)
    linear = convolve(np.maximum(image, 0.0) ** 2.2, disc / disc.sum())
    return np.maximum(linear, 0.0) ** (1 / 2.2)


def box_reduce(image: NDArray, factor: int) -> Array:
    """Averages factor x factor blocks of an image; uint8 becomes 0..1."""
    scale = 1.0 / (factor * factor)
    if image.dtype == np.uint8:
        image, scale = image.astype(np.uint16), scale / 255.0
    rows = sum(image[i::factor] for i in range(factor))
    blocks = sum(rows[:, i::factor] for i in range(factor))
    return blocks.astype(np.float32) * np.float32(scale)


def _flatten(points: NDArray) -> list[float]:
    return (np.asarray(points, np.float64) * SUPERSAMPLING - 0.5).ravel().tolist()


def fill(size: int, polygons: Sequence[NDArray], holes: Sequence[NDArray] = ()) -> Array:
    """Returns the coverage [size, size] of polygons minus that of holes."""
    image = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    draw = ImageDraw.Draw(image)
    for shapes, value in ((polygons, 255), (holes, 0)):
        for points in shapes:
            draw.polygon(_flatten(points), fill=value)
    return box_reduce(np.asarray(image), SUPERSAMPLING)


def stroke(size: int, paths: Sequence[NDArray], width: float | NDArray) -> Array:
    """Returns the coverage [size, size] of round-ended lines; `width` may differ by point."""
    image = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    draw = ImageDraw.Draw(image)
    for path in paths:
        widths = np.broadcast_to(np.asarray(width, np.float64) * SUPERSAMPLING, len(path))
        points = (np.asarray(path, np.float64) * SUPERSAMPLING - 0.5).tolist()
        thickness = np.maximum(1, np.rint((widths[1:] + widths[:-1]) / 2)).astype(int).tolist()
        for (x, y), half in zip(points, (widths / 2).tolist(), strict=True):
            draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
        for start, end, wide in zip(points[:-1], points[1:], thickness, strict=True):
            draw.line((*start, *end), fill=255, width=wide)
    return box_reduce(np.asarray(image), SUPERSAMPLING)


def draw_segments(size: int, starts: Array, ends: Array, widths: Array, colours: Array) -> Array:
    """Draws thin lines in order on a canvas [size, size, 4]; widths go down to a quarter pixel."""
    image = Image.new("RGBA", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    draw = ImageDraw.Draw(image)
    lines = (np.concatenate([starts, ends], axis=1) * SUPERSAMPLING - 0.5).tolist()
    thickness = np.maximum(1, np.rint(widths * SUPERSAMPLING)).astype(int).tolist()
    inks = np.rint(np.clip(colours, 0.0, 1.0) * 255).astype(int).tolist()
    for line, width, (red, green, blue) in zip(lines, thickness, inks, strict=True):
        draw.line(line, fill=(red, green, blue, 255), width=width)
    return box_reduce(np.asarray(image), SUPERSAMPLING)


def smooth_curve(points: NDArray, count: int = 48, closed: bool = False) -> NDArray:
    """Returns a spline [count, 2] through control points."""
    points = np.asarray(points, np.float64)
    if closed:
        points = np.concatenate([points, points[:1]])
    knots = np.arange(len(points))
    spline = CubicSpline(knots, points, bc_type="periodic" if closed else "not-a-knot")
    return spline(np.linspace(0, len(points) - 1, count, endpoint=not closed))


def ellipse(centre: Sequence[float], radii: Sequence[float], angle: float = 0.0) -> NDArray:
    """Returns the outline [72, 2] of an ellipse rotated by an angle."""
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return turn(np.stack([radii[0] * np.cos(t), radii[1] * np.sin(t)], -1), angle) + centre


def turn(points: NDArray, angle: float) -> NDArray:
    """Rotates points [..., 2] about the origin."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points) @ np.array([[c, s], [-s, c]])


def placement(rng: Rng, size: int, radius: tuple[float, float], tilt: float = np.pi) -> NDArray:
    """Draws a matrix [2, 3] from object coordinates (-1..1) to pixels: size, angle and position."""
    scale = rng.uniform(*radius) * size
    angle = rng.uniform(-tilt, tilt)
    spread = 0.2 if rng.random() < 0.25 else 0.07
    centre = size * np.clip(rng.normal(0.5, spread, 2), 0.15, 0.85)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, centre[0]], [s, c, centre[1]]])


def to_pixels(matrix: NDArray, points: NDArray) -> NDArray:
    """Converts object coordinates [..., 2] to pixels."""
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def to_object(matrix: NDArray, size: int) -> tuple[Array, Array]:
    """Returns the object coordinates u, v of every pixel, each [size, size]."""
    x, y = grid(size)
    inverse = np.linalg.inv(matrix[:, :2]).astype(np.float32)
    x, y = x - np.float32(matrix[0, 2]), y - np.float32(matrix[1, 2])
    return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y


def light_direction(rng: Rng) -> Array:
    """Draws a unit vector (x, y, z) towards a light above and in front of the subject."""
    azimuth = rng.uniform(-1.1, 1.1)
    light = np.array([np.sin(azimuth), -np.cos(azimuth) * 0.8, rng.uniform(0.5, 1.0)])
    return (light / np.linalg.norm(light)).astype(np.float32)


def unit(vectors: Array) -> Array:
    """Normalises vectors [..., n] to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def normals_of(height: Array) -> Array:
    """Computes the surface normals [H, W, 3] of a height map in pixels."""
    dy, dx = np.gradient(height)
    return unit(np.stack([-dx, -dy, np.ones_like(height)], axis=-1).astype(np.float32))


def rounded(mask: Array, radius: float, smoothness: float = 0.25) -> Array:
    """Computes the normals [H, W, 3] of a mask inflated to a body with edges of `radius` pixels."""
    normals = np.zeros((*mask.shape, 3), np.float32)
    normals[..., 2] = 1.0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return normals
    margin = int(radius) + 3
    window = (
        slice(max(rows[0] - margin, 0), rows[-1] + margin),
        slice(max(columns[0] - margin, 0), columns[-1] + margin),
    )
    inside = np.pad(mask[window] > 0.4, 1, mode="edge")
    distance = ndimage.distance_transform_edt(inside)[1:-1, 1:-1].astype(np.float32)
    radius = min(radius, float(distance.max()) + 0.01)
    depth = np.clip(distance / radius, 0.0, 1.0)
    height = radius * np.sqrt(np.maximum(1.0 - (1.0 - depth) ** 2, 0.0))
    normals[window] = normals_of(blur(height, max(0.7, smoothness * radius)))
    return normals


def bump(normals: Array, height: Array) -> Array:
    """Perturbs normals by the slopes of a height map in pixels."""
    dy, dx = np.gradient(height)
    return unit(normals - np.stack([dx, dy, np.zeros_like(dx)], axis=-1))


def shade(
    albedo: Array,
    normals: Array,
    light: Array,
    ambient: float = 0.32,
    specular: float = 0.15,
    gloss: float = 25.0,
) -> Array:
    """Computes colours [H, W, 3] of a lit surface: diffuse, specular and light from above."""
    facing = normals @ light
    diffuse = np.clip((facing + 0.25) / 1.25, 0.0, 1.0)
    half = light + np.array([0.0, 0.0, 1.0], np.float32)
    half = half / np.linalg.norm(half)
    glint = np.clip(normals @ half, 0.0, 1.0) ** gloss * specular
    above = 0.12 * np.clip(-normals[..., 1], -0.5, 1.0)
    grazing = 0.5 * specular * (1.0 - np.clip(normals[..., 2], 0.0, 1.0)) ** 3
    energy = ambient + above + (1.15 - ambient) * diffuse
    return np.clip(albedo * energy[..., None] + (glint + grazing)[..., None], 0.0, 1.0)


def new_canvas(size: int) -> Array:
    """Returns a transparent canvas [size, size, 4]."""
    return np.zeros((size, size, 4), np.float32)


def paint(canvas: Array, rgb: Array, mask: Array) -> None:
    """Paints a colour or image on the canvas, in place, through a mask [H, W]."""
    opacity = mask[..., None]
    canvas *= 1.0 - opacity
    canvas[..., :3] += np.asarray(rgb, np.float32) * opacity
    canvas[..., 3:] += opacity


def overlay(canvas: Array, layer: Array) -> None:
    """Composites a premultiplied layer [H, W, 4] over the canvas, in place."""
    canvas *= 1.0 - layer[..., 3:]
    canvas += layer


def cast_shadow(
    canvas: Array, mask: Array, light: Array, distance: float, strength: float = 0.5
) -> None:
    """Darkens the canvas, in place, in the shadow of a shape above it."""
    reach = int(np.ceil(distance))
    padded = np.pad(blur(mask, max(0.8, 0.5 * distance)), reach, mode="edge")
    top, left = (reach + round(float(part) * distance) for part in (light[1], light[0]))
    moved = padded[top : top + mask.shape[0], left : left + mask.shape[1]]
    canvas[..., :3] *= 1.0 - strength * np.clip(moved, 0.0, 1.0)[..., None]


def extend_colour(rgb: Array, weight: Array) -> Array:
    """Extrapolates colours [H, W, 3] to where `weight` is 0, from coarse to fine."""
    height, width = weight.shape
    total = np.concatenate([rgb * weight[..., None], weight[..., None]], axis=-1)
    levels = [total]
    while min(total.shape[:2]) > 3:
        total = np.pad(total, ((0, total.shape[0] % 2), (0, total.shape[1] % 2), (0, 0)))
        total = sum(total[i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4.0
        levels.append(total)
    filled = levels[-1].sum((0, 1), keepdims=True)
    filled = filled[..., :3] / np.maximum(filled[..., 3:], 1e-8)
    for total in levels[::-1]:
        filled = np.stack(
            [_resize(filled[..., c], total.shape[1], total.shape[0]) for c in range(3)], axis=-1
        )
        share = np.clip(total[..., 3:] * 4.0, 0.0, 1.0)
        filled += share * (total[..., :3] / np.maximum(total[..., 3:], 1e-6) - filled)
    return filled[:height, :width]


def _resize(plane: Array, width: int, height: int) -> Array:
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def enlarge(plane: Array, size: int) -> Array:
    """Resizes a plane [h, w] bilinearly to [size, size]."""
    return _resize(plane, size, size)


def finish(canvas: Array, softness: float = 0.45) -> tuple[Array, Array]:
    """Returns foreground colours [H, W, 3] and alpha [H, W] of a canvas after a lens blur."""
    canvas = blur(canvas, softness)
    alpha = np.clip(canvas[..., 3], 0.0, 1.0)
    visible = alpha >= 0.5 / 255.0
    rgb = np.clip(canvas[..., :3] / np.maximum(alpha, 1e-4)[..., None], 0.0, 1.0)
    # Faint pixels count nearly as much as opaque ones, so that the extrapolation is smooth.
    filled = extend_colour(rgb, np.where(visible, np.clip(8.0 * alpha, 0.3, 1.0), 0.0))
    return np.where(visible[..., None], rgb, filled), np.where(visible, alpha, 0.0)


def hsv(hue: float, saturation: float, value: float) -> Array:
    """Converts hue (a fraction of the colour circle), saturation and value to RGB [3]."""
    sector = (np.array([5.0, 3.0, 1.0]) + hue * 6.0) % 6.0
    ramp = np.clip(np.minimum(sector, 4.0 - sector), 0.0, 1.0)
    return (value * (1.0 - saturation * ramp)).astype(np.float32)


def natural_colour(rng: Rng, low: float = 0.2, high: float = 0.85) -> Array:
    """Draws an RGB colour [3] as in photos: mostly muted, often earthy, sometimes vivid."""
    choice, hue = rng.random(), rng.random()
    value = rng.uniform(low, high)
    if 0.7 < hue < 0.95 and rng.random() < 0.75:
        hue = (hue + 0.35) % 1.0
    if choice < 0.4:
        return hsv(rng.uniform(0.02, 0.16), rng.uniform(0.15, 0.65), value)
    if choice < 0.6:
        return hsv(hue, rng.uniform(0.0, 0.12), value)
    if choice < 0.85:
        return hsv(hue, rng.uniform(0.15, 0.45), value)
    return hsv(hue, rng.uniform(0.45, 0.8), value)


def vary(rng: Rng, colour: Array, amount: float = 0.06) -> Array:
    """Draws a colour [3] close to another one."""
    scaled = colour * (1.0 + amount * rng.normal()) + amount * 0.4 * rng.normal(size=3)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)
