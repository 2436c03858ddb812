"""Foregrounds turned, scaled, sheared and mirrored, then a window of one size: GCA's crops.

`affine` holds `rotation` and `shear` (the largest angles, in degrees), `scale` (the range of both
factors), `flip` (the chance along each axis), and `square`, the chance that the foreground is first
resized to `square_size` along both axes. Source: Yaoyi-Li/GCA-Matting,
dataloader/data_generator.py. It differs in what follows from the trimap, which is drawn after the
crop: the window lies around alpha strictly between 0 and 255, not around the wider unknown region,
and all is shown, reduced, where alpha is 0 everywhere or 255 everywhere.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from matting_jax.data.crops.around import wanted
from matting_jax.data.crops.bicubic import Box, resized_window

# Foregrounds with a shorter long side are not rotated.
LARGE = 1024
# Windows lie on a grid of so many pixels, and anywhere if the grid has too few candidates.
STEP, FEWEST = 4, 10
# Smaller crops hold too little of the grid, and a tenth of their side is no whole pixel.
SMALLEST = 16


class _Transformed(NamedTuple):
    """A foreground after all but the crop, as what its pixels show.

    size: height and width of the foreground, canvas: after it was made square, if it was; matrix:
    float [2, 3], from (x, y, 1) to the canvas; rows, columns: where the pixels lie in x and y.
    """

    size: tuple[int, int]
    canvas: tuple[int, int]
    matrix: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def check(crop) -> None:
    """Raises ValueError when `crop.affine` cannot be followed."""
    options = crop.affine
    low, high = options.scale
    if not 0 < low <= high:
        raise ValueError(
            f"config.data.crop.affine.scale is {low, high}, but must rise from above 0."
        )
    for name in ("flip", "square"):
        if not 0 <= options[name] <= 1:
            raise ValueError(
                f"config.data.crop.affine.{name} is {options[name]}, but a chance lies in [0, 1]."
            )
    if crop.size < SMALLEST:
        raise ValueError(
            f"config.data.crop.size is {crop.size}, but must be at least {SMALLEST} with affine."
        )
    if options.square_size < 1:
        raise ValueError(
            f"config.data.crop.affine.square_size is {options.square_size}, but must be at least 1."
        )
    for name, limit in (("rotation", 180), ("shear", 45)):
        if not 0 <= options[name] <= limit:
            raise ValueError(
                f"config.data.crop.affine.{name} is {options[name]}, but must lie in [0, {limit}]."
            )


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop,
    second: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Cuts one window out of a transformed foreground, its alpha and the background behind it.

    `second` is a foreground with its alpha that lies behind the first: stretched to its size, and
    transformed with it. Without one, or where both together let no background through, the crop
    `foreground2` is that of the first and `alpha2` is 0: combining them changes nothing.
    Foregrounds and alphas are read at the nearest pixel, 0 outside; the background is stretched to
    the foreground's size by Pillow's bicubic rule, which antialiases where it reduces.
    """
    layers = {"foreground": foreground, "alpha": alpha}
    if second is not None and lets_through(alpha, second[1]):
        layers |= {"foreground2": second[0], "alpha2": second[1]}
    transformed = _transform(rng, *alpha.shape, crop)
    height, width = len(transformed.rows), len(transformed.columns)

    grid = _nearest(height // STEP, height), _nearest(width // STEP, width)
    places = _places(transformed, *grid)
    alphas = [_read(layers[name], places) for name in ("alpha", "alpha2") if name in layers]
    # The larger alpha is 0 and 255 where the combined one is.
    box = _box(rng, np.maximum.reduce(alphas), height, width, crop)

    top, left, bottom, right = box
    rows = top + _nearest(crop.size, bottom - top)
    columns = left + _nearest(crop.size, right - left)
    places = _places(transformed, rows, columns)
    crops = {
        name: _read(layer, places).reshape(crop.size, crop.size, -1)
        for name, layer in layers.items()
    }
    if "alpha2" not in crops:
        crops |= {"foreground2": crops["foreground"], "alpha2": np.zeros_like(crops["alpha"])}
    square = (crop.size, crop.size)
    crops["background"] = resized_window(background, (height, width), box, square)
    return crops


def lets_through(alpha: np.ndarray, alpha2: np.ndarray) -> bool:
    """Whether some background shows through two foregrounds, one behind the other.

    alpha uint8 [H, W]; alpha2 uint8 of any size, which is stretched to the first.
    """
    rows, columns = (_nearest(*lengths) for lengths in zip(alpha.shape, alpha2.shape, strict=True))
    # Row by row, as most pictures show some background in their first ones.
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
    """The matrix from (x, y, 1) after a transformation to (x, y) before it: float [2, 3].

    An image of `canvas` (height, width) is mirrored (factors 1 or -1 along x and y), scaled,
    rotated and sheared (degrees), in this order, about (width / 2 + 1/2, height / 2 + 1/2).
    """
    turn, lean = math.radians(rotation), math.radians(rotation + shear)
    linear = np.array(
        [[math.cos(turn), math.sin(lean)], [-math.sin(turn), math.cos(lean)]]
    ) / math.cos(lean - turn)
    linear *= np.array([[mirror[0] / scale[0]], [mirror[1] / scale[1]]])
    centre = np.array([[canvas[1]], [canvas[0]]]) / 2 + 0.5
    return np.hstack([linear, centre - linear @ centre])


def _transform(rng, height: int, width: int, crop) -> _Transformed:
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
        rows = rows[_nearest(int(len(rows) * ratio), len(rows))]
        columns = columns[_nearest(int(len(columns) * ratio), len(columns))]
    return _Transformed((height, width), canvas, matrix, rows, columns)


def _nearest(new: int, old: int) -> np.ndarray:
    """Which of `old` pixels each of `new` pixels shows when they are resized to these."""
    return np.arange(new) * old // new


def _places(transformed: _Transformed, rows: np.ndarray, columns: np.ndarray) -> tuple:
    """Which part of the foreground the pixels in these rows and columns show.

    Returns row and column int [len(rows), len(columns)], whether they are inside, and the size.
    """
    (height, width), canvas, matrix = transformed[:3]
    y, x = transformed.rows[rows][:, None], transformed.columns[columns]
    column, row = (np.floor(a * x + b * y + c + 0.5).astype(np.int64) for a, b, c in matrix)
    inside = (row >= 0) & (row < canvas[0]) & (column >= 0) & (column < canvas[1])
    row, column = row * inside, column * inside
    return row * height // canvas[0], column * width // canvas[1], inside, (height, width)


def _read(layer: np.ndarray, places: tuple) -> np.ndarray:
    row, column, inside, (height, width) = places
    pixels = layer[row * layer.shape[0] // height, column * layer.shape[1] // width]
    pixels[~inside] = 0
    return pixels


def _box(rng, alpha: np.ndarray, height: int, width: int, crop) -> Box:
    """Top, left, bottom and right of the crop in an image of which alpha shows every STEP pixels.

    The whole image where it is all foreground or all background.
    """
    if (alpha == 0).all() or (alpha == 255).all():
        return 0, 0, height, width
    margin = crop.size // 2
    # Where the centres of the windows that fit lie.
    centres = np.s_[
        margin // STEP : (height - margin) // STEP, margin // STEP : (width - margin) // STEP
    ]
    pixels = wanted(alpha[centres], crop.around)
    if pixels is None or np.count_nonzero(pixels) < FEWEST:
        top, left = (int(rng.integers(0, s - crop.size + 1)) for s in (height, width))
    else:
        row, column = divmod(int(rng.choice(np.flatnonzero(pixels))), pixels.shape[1])
        top, left = STEP * row, STEP * column
    return top, left, top + crop.size, left + crop.size
