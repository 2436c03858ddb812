"""Foregrounds rotated, scaled, sheared and flipped, then a window of one size: the crops of GCA.

`affine` holds `rotation` and `shear` (the largest angles, in degrees), `scale` (the range of both
factors), `flip` (the probability along each axis), and `square`, the probability that the
foreground is first resized to `square_size` along both axes. Source: Yaoyi-Li/GCA-Matting,
dataloader/data_generator.py. Here the trimap is made after the crop, so two things differ: the
window lies around alpha strictly between 0 and 255, not around the wider unknown region, and a
foreground whose alpha is 0 or 255 everywhere is not cropped but resized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from matting_jax.choices import at_least, is_probability
from matting_jax.data.crops.around import candidate_pixels
from matting_jax.data.crops.bicubic import Box, resized_window
from matting_jax.data.crops.rule import CropRule, Crops

# Foregrounds whose long side is shorter are not rotated.
LARGE = 1024
# Windows lie on a grid of STEP pixels, or anywhere if the grid has fewer than FEWEST candidates.
STEP, FEWEST = 4, 10
# Smaller crops hold too little of the grid, and a tenth of their side is less than two pixels.
SMALLEST = 16


class Transformed(NamedTuple):
    """A transformed foreground before the crop, as the coordinates that its pixels read."""

    size: tuple[int, int]  # height and width of the foreground
    canvas: tuple[int, int]  # the same after it was made square, if it was
    matrix: np.ndarray  # float [2, 3], from (x, y, 1) to the canvas
    rows: np.ndarray  # y of each row
    columns: np.ndarray  # x of each column


class Readings(NamedTuple):
    """The pixels of a foreground that the pixels of a crop read."""

    rows: np.ndarray  # int [h, w]
    columns: np.ndarray  # int [h, w]
    inside: np.ndarray  # bool [h, w]: whether they lie in the foreground
    size: tuple[int, int]  # height and width of the foreground


def check(crop: ConfigDict) -> None:
    """Raises ValueError if a field of `crop.affine` is not valid."""
    options = crop.affine
    low, high = options.scale
    if not 0 < low <= high:
        raise ValueError(f"config.data.crop.affine.scale must be a range above 0, got {low, high}")
    for name in ("flip", "square"):
        is_probability(options[name], f"config.data.crop.affine.{name}")
    at_least(crop.size, SMALLEST, "config.data.crop.size, with affine crops,")
    at_least(options.square_size, 1, "config.data.crop.affine.square_size")
    for name, limit in (("rotation", 180), ("shear", 45)):
        if not 0 <= options[name] <= limit:
            raise ValueError(
                f"config.data.crop.affine.{name} is {options[name]}, but must lie in [0, {limit}]"
            )


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop: ConfigDict,
    second: tuple[np.ndarray, np.ndarray] | None = None,
) -> Crops:
    """Cuts one window out of a transformed foreground, its alpha and the background behind it.

    Foregrounds and alphas are read at the nearest pixel, 0 outside. The background is stretched to
    the foreground's size by Pillow's bicubic rule, which antialiases where it reduces.

    Args:
        rng: the random numbers of the sample.
        foreground: uint8 [H, W, 3].
        alpha: uint8 [H, W].
        background: uint8 [h, w, 3].
        crop: the config group `data.crop`.
        second: another foreground with its alpha, behind the first. It is stretched to the size of
            the first and transformed with it.

    Returns:
        The crops `foreground`, `alpha`, `background`, `foreground2` and `alpha2`. Without a second
        foreground, or if both together hide the background, `foreground2` is the first one and
        `alpha2` is 0, so that combining both changes nothing.
    """
    layers = {"foreground": foreground, "alpha": alpha}
    if second is not None and lets_through(alpha, second[1]):
        layers |= {"foreground2": second[0], "alpha2": second[1]}
    transformed = transform(rng, *alpha.shape, crop)
    height, width = len(transformed.rows), len(transformed.columns)

    grid = nearest(height // STEP, height), nearest(width // STEP, width)
    readings = find_readings(transformed, *grid)
    alphas = [read(layers[name], readings) for name in ("alpha", "alpha2") if name in layers]
    # The larger alpha is 0 or 255 where the combined one is.
    box = draw_box(rng, np.maximum.reduce(alphas), height, width, crop)

    top, left, bottom, right = box
    rows = top + nearest(crop.size, bottom - top)
    columns = left + nearest(crop.size, right - left)
    readings = find_readings(transformed, rows, columns)
    crops = {
        name: read(layer, readings).reshape(crop.size, crop.size, -1)
        for name, layer in layers.items()
    }
    if "alpha2" not in crops:
        crops |= {"foreground2": crops["foreground"], "alpha2": np.zeros_like(crops["alpha"])}
    square = (crop.size, crop.size)
    crops["background"] = resized_window(background, (height, width), box, square)
    return crops


def lets_through(alpha: np.ndarray, alpha2: np.ndarray) -> bool:
    """Returns whether some background shows through two foregrounds, one behind the other.

    alpha uint8 [H, W]; alpha2 uint8 of any size, which is stretched to the first.
    """
    rows, columns = (nearest(*lengths) for lengths in zip(alpha.shape, alpha2.shape, strict=True))
    # Row by row, because most images show some background in their first rows.
    return any(
        ((first < 255) & (alpha2[row][columns] < 255)).any()
        for first, row in zip(alpha, rows, strict=True)
    )


def inverse_matrix(
    canvas: tuple[int, int],
    rotation: float,
    scale: Sequence[float],
    shear: float,
    mirror: Sequence[int],
) -> np.ndarray:
    """Returns the matrix from (x, y, 1) after a transformation to (x, y) before it: float [2, 3].

    The image is flipped, scaled, rotated and sheared, in this order, about
    (width / 2 + 1/2, height / 2 + 1/2).

    Args:
        canvas: height and width of the image.
        rotation: degrees.
        scale: factors along x and y.
        shear: degrees.
        mirror: 1 or -1 along x and y.
    """
    turn, lean = math.radians(rotation), math.radians(rotation + shear)
    linear = np.array(
        [[math.cos(turn), math.sin(lean)], [-math.sin(turn), math.cos(lean)]]
    ) / math.cos(lean - turn)
    linear *= np.array([[mirror[0] / scale[0]], [mirror[1] / scale[1]]])
    centre = np.array([[canvas[1]], [canvas[0]]]) / 2 + 0.5
    return np.hstack([linear, centre - linear @ centre])


def transform(rng: np.random.Generator, height: int, width: int, crop: ConfigDict) -> Transformed:
    """Draws the transformation of a foreground of height x width."""
    options = crop.affine
    square = rng.random() < options.square
    canvas = (options.square_size, options.square_size) if square else (height, width)
    rotation = options.rotation if max(canvas) >= LARGE else 0
    matrix = inverse_matrix(
        canvas,
        rotation=rng.uniform(-rotation, rotation),
        scale=rng.uniform(*options.scale, 2),
        shear=rng.uniform(-options.shear, options.shear),
        mirror=np.where(rng.random(2) < options.flip, -1, 1),
    )
    rows, columns = (np.arange(length) for length in canvas)
    if min(canvas) <= crop.size:
        ratio = 1.1 * crop.size / min(canvas)
        rows = rows[nearest(int(len(rows) * ratio), len(rows))]
        columns = columns[nearest(int(len(columns) * ratio), len(columns))]
    return Transformed((height, width), canvas, matrix, rows, columns)


def nearest(new: int, old: int) -> np.ndarray:
    """Returns the index of the pixel, of `old`, that each of `new` pixels reads when resized."""
    return np.arange(new) * old // new


def find_readings(transformed: Transformed, rows: np.ndarray, columns: np.ndarray) -> Readings:
    """Returns the pixels of the foreground that the pixels in these rows and columns read."""
    (height, width), canvas, matrix = transformed[:3]
    y, x = transformed.rows[rows][:, None], transformed.columns[columns]
    column, row = (np.floor(a * x + b * y + c + 0.5).astype(np.int64) for a, b, c in matrix)
    inside = (row >= 0) & (row < canvas[0]) & (column >= 0) & (column < canvas[1])
    row, column = row * inside, column * inside
    return Readings(row * height // canvas[0], column * width // canvas[1], inside, (height, width))


def read(layer: np.ndarray, readings: Readings) -> np.ndarray:
    """Reads a layer, which is stretched to the size of the foreground; 0 outside."""
    row, column, inside, (height, width) = readings
    rows, columns = layer.shape[:2]
    if (rows, columns) != (height, width):
        row, column = row * rows // height, column * columns // width
    # A single index is read three times as fast as two.
    pixels = layer.reshape(rows * columns, *layer.shape[2:]).take(row * columns + column, axis=0)
    pixels[~inside] = 0
    return pixels


def draw_box(
    rng: np.random.Generator, alpha: np.ndarray, height: int, width: int, crop: ConfigDict
) -> Box:
    """Draws the window in an image of height x width.

    `alpha` has one pixel of the image in STEP along each axis. The window is the whole image if it
    is foreground everywhere or background everywhere.
    """
    if (alpha == 0).all() or (alpha == 255).all():
        return 0, 0, height, width
    margin = crop.size // 2
    # The centres of the windows that fit.
    centres = np.s_[
        margin // STEP : (height - margin) // STEP, margin // STEP : (width - margin) // STEP
    ]
    pixels = candidate_pixels(alpha[centres], crop.around)
    if pixels is None or np.count_nonzero(pixels) < FEWEST:
        top, left = (int(rng.integers(0, s - crop.size + 1)) for s in (height, width))
    else:
        row, column = divmod(int(rng.choice(np.flatnonzero(pixels))), pixels.shape[1])
        top, left = STEP * row, STEP * column
    return top, left, top + crop.size, left + crop.size


RULE = CropRule(check, composite, combines=True)
