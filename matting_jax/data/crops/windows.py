"""Windows of a few sizes, resized to one: the crops of Deep Image Matting and PP-Matting.

`windows` are the sides of the windows, in pixels, all equally likely. Source: Xu et al., 2017,
section 3.3, as open-mmlab/mmagic has it: datasets/transforms/crop.py, CropAroundUnknown.

`small` says how images smaller than the window are treated: "enlarge", or "pad": they are padded
with grey to `size`, at the bottom and on the right, and windows are clipped to the image.
`max_short`, 0 for none, is the length that longer short sides are reduced to before; windows of
such images are enlarged instead. Source: PaddlePaddle/PaddleSeg,
Matting/ppmatting/transforms/transforms.py, Padding, RandomCrop and LimitShort.
"""

from __future__ import annotations

import numpy as np
from ml_collections import ConfigDict

from matting_jax.choices import at_least, one_of
from matting_jax.data.crops.around import candidate_pixels
from matting_jax.data.crops.bicubic import Box, resized_window
from matting_jax.data.crops.rule import CropRule, Crops
from matting_jax.data.prepared.merge import covering_size
from matting_jax.image.geometry import resize_bilinear

SMALL = ("enlarge", "pad")
# The published value is 127.5, which OpenCV rounds to the even integer.
GREY = 128


def check(crop: ConfigDict) -> None:
    """Raises ValueError if `windows`, `small` or `max_short` is not valid."""
    one_of(crop.small, SMALL, "config.data.crop.small")
    if not crop.windows or min(crop.windows) < 1:
        raise ValueError(
            f"config.data.crop.windows is {tuple(crop.windows)}, but must hold sides of at least 1"
        )
    at_least(crop.max_short, 0, "config.data.crop.max_short")


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop: ConfigDict,
) -> Crops:
    """Cuts one window out of a foreground, its alpha and the background laid under them.

    The background is fitted as in Adobe's script for Composition-1k. If the foreground is smaller
    than the window, both are enlarged or padded. All are resized bilinearly, without antialiasing;
    colours under alpha 0 do not count in the colours of the foreground.
    """
    height, width = alpha.shape
    side = draw_side(rng, min(height, width), crop)
    larger = find_size(height, width, side, crop)
    if larger != (height, width):
        background = cut_background(background, height, width, (0, 0, height, width))
        if crop.small == "pad":
            foreground, background = (pad(x, *larger, GREY) for x in (foreground, background))
            alpha = pad(alpha, *larger, 0)
        else:
            background = resize(background, *larger)
            foreground, alpha = resize_cutout(foreground, alpha, *larger)
    box = draw_box(rng, alpha, side, crop.around)
    top, left, bottom, right = box
    window = np.s_[top:bottom, left:right]
    if larger == (height, width):
        background = cut_background(background, height, width, box)
    else:
        background = background[window]
    foreground, alpha = resize_cutout(foreground[window], alpha[window], crop.size, crop.size)
    return {
        "foreground": foreground,
        "alpha": alpha[..., None],
        "background": resize(background, crop.size, crop.size),
    }


def photo(
    rng: np.random.Generator, image: np.ndarray, alpha: np.ndarray | None, crop: ConfigDict
) -> Crops:
    """Cuts one window out of a photo and its alpha, as `composite` does.

    Without alpha the window lies anywhere.
    """
    side = draw_side(rng, min(image.shape[:2]), crop)
    layers = {"image": image} if alpha is None else {"image": image, "alpha": alpha}
    larger = find_size(*image.shape[:2], side, crop)
    if crop.small == "pad":
        values = {"image": GREY, "alpha": 0}
        layers = {name: pad(x, *larger, values[name]) for name, x in layers.items()}
    else:
        layers = {name: resize(layer, *larger) for name, layer in layers.items()}
    solid = np.broadcast_to(np.uint8(255), larger)
    top, left, bottom, right = draw_box(rng, layers.get("alpha", solid), side, crop.around)
    window = np.s_[top:bottom, left:right]
    cuts = {name: resize(layer[window], crop.size, crop.size) for name, layer in layers.items()}
    return {name: cut.reshape(crop.size, crop.size, -1) for name, cut in cuts.items()}


def draw_side(rng: np.random.Generator, short: int, crop: ConfigDict) -> int:
    """Draws the side of a window, in pixels of an image whose short side is `short`."""
    side, limit = int(rng.choice(crop.windows)), crop.max_short
    return round(side * short / limit) if 0 < limit < short else side


def find_size(height: int, width: int, side: int, crop: ConfigDict) -> tuple[int, int]:
    """Returns the size of an image before a window is cut: its own if it is large enough.

    An enlarged one just holds a window of `side`; a padded one holds a window of `crop.size`.
    """
    if crop.small == "pad":
        return max(height, crop.size), max(width, crop.size)
    ratio = max(side / height, side / width)
    if ratio <= 1:
        return height, width
    return max(int(height * ratio), side), max(int(width * ratio), side)


def draw_box(rng: np.random.Generator, alpha: np.ndarray, side: int, around: str) -> Box:
    """Draws a window around a candidate pixel, moved into the image or clipped to it if needed."""
    height, width = alpha.shape
    rows, columns = min(side, height), min(side, width)
    top, left = draw_corner(rng, alpha, rows, columns, around)
    return top, left, top + rows, left + columns


def draw_corner(
    rng: np.random.Generator, alpha: np.ndarray, rows: int, columns: int, around: str
) -> tuple[int, int]:
    """Draws top and left of a window of `rows` x `columns` in an image with this alpha."""
    height, width = alpha.shape
    pixels = candidate_pixels(alpha, around)
    if pixels is None:
        if around == "unknown":
            return 0, 0
        limits = height - rows, width - columns
        return tuple(int(rng.integers(0, limit, endpoint=True)) for limit in limits)
    above, before = rows // 2, columns // 2
    fitting = np.zeros_like(pixels)
    inner = np.s_[above : height - above, before : width - before]
    fitting[inner] = pixels[inner]
    candidates = np.flatnonzero(fitting if fitting.any() else pixels)
    row, column = divmod(int(rng.choice(candidates)), width)
    return min(max(row - above, 0), height - rows), min(max(column - before, 0), width - columns)


def cut_background(background: np.ndarray, height: int, width: int, box: Box) -> np.ndarray:
    """Cuts a window out of the background laid under a foreground of height x width.

    As `merge.lay_under` lays it, up to rounding, but only the window is resized.
    """
    size = covering_size(*background.shape[:2], height, width)
    top, left, bottom, right = box
    if size == background.shape[:2]:
        return background[top:bottom, left:right]
    return resized_window(background, size, box, (bottom - top, right - left))


def pad(image: np.ndarray, height: int, width: int, value: int) -> np.ndarray:
    """Pads an image [H, W, ...] at the bottom and on the right."""
    missing = [(0, height - image.shape[0]), (0, width - image.shape[1])]
    missing += [(0, 0)] * (image.ndim - 2)
    return np.pad(image, missing, constant_values=value)


def resize_cutout(
    colours: np.ndarray, alpha: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Resizes colours uint8 [H, W, 3] and alpha uint8 [H, W], as `resize`.

    Colours under alpha 0 do not count in the others.
    """
    if alpha.shape == (height, width):
        return colours, alpha
    result = resize(colours, height, width)
    if (alpha == 0).any():
        weight = np.divide(alpha[..., None], 255, dtype=np.float32)
        total = resize_bilinear(weight, height, width)
        visible = resize_bilinear(colours * weight, height, width) / np.maximum(total, 1e-6)
        result = np.where(total > 0, to_bytes(visible), result)
    return result, resize(alpha, height, width)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image uint8 [H, W, ...] bilinearly, without antialiasing."""
    if image.shape[:2] == (height, width):
        return image
    layers = image.reshape(*image.shape[:2], -1).astype(np.float32)
    result = to_bytes(resize_bilinear(layers, height, width))
    return result.reshape(height, width, *image.shape[2:])


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Rounds to uint8; halves, which are frequent, are rounded up as in OpenCV."""
    rounded = np.add(image, 0.5)
    np.floor(rounded, out=rounded)
    return rounded.clip(0, 255, out=rounded).astype(np.uint8)


RULE = CropRule(check, composite, photo, takes=("small", "max_short"))
