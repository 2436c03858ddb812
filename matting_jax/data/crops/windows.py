"""Windows of a few sizes, cut out and resized to one: the crops of Deep Image Matting.

`windows` are the sides of the windows, in pixels, each as likely as the others. Source: Xu et al.,
2017, section 3.3, as open-mmlab/mmagic has it: datasets/transforms/crop.py, CropAroundUnknown.

`small` says what becomes of images smaller than the window: "enlarge", the default, or "pad", as
PP-Matting's are: with grey to `size`, below and on the right, and windows end where the image does.
`max_short`, 0 for none, is the length that short sides are reduced to before: windows of longer
ones are larger by as much. Source: PaddlePaddle/PaddleSeg,
Matting/ppmatting/transforms/transforms.py, Padding, RandomCrop and LimitShort.
"""

import math

import numpy as np

from matting_jax.choices import one_of
from matting_jax.data.crops.around import wanted
from matting_jax.data.crops.bicubic import Box, resized_window
from matting_jax.image.geometry import resize_bilinear

SMALL = ("enlarge", "pad")
# The published value is 127.5, which OpenCV rounds to the even byte.
GREY = 128


def check(crop) -> None:
    """Raises ValueError when `windows`, `small` or `max_short` of `crop` cannot be followed."""
    one_of(_small(crop), SMALL, "config.data.crop.small")
    if not crop.windows or min(crop.windows) < 1:
        raise ValueError(
            f"config.data.crop.windows is {tuple(crop.windows)}, but must hold sides of at least 1."
        )
    if crop.get("max_short", 0) < 0:
        raise ValueError(
            f"config.data.crop.max_short is {crop.max_short}, but must be a length, or 0 for none."
        )


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop,
) -> dict[str, np.ndarray]:
    """Cuts one window out of a foreground, its alpha and the background laid under them.

    The background is laid under as Adobe's script for Composition-1k does it. A foreground smaller
    than the window is enlarged or padded with it. All is resized between neighbouring pixels,
    without antialiasing, but colours under alpha 0 do not count in the colours of the foreground.
    """
    height, width = alpha.shape
    side = _side(rng, min(height, width), crop)
    larger = _larger(height, width, side, crop)
    if larger != (height, width):
        background = _under(background, height, width, (0, 0, height, width))
        if _small(crop) == "pad":
            foreground, background = (_padded(x, *larger, GREY) for x in (foreground, background))
            alpha = _padded(alpha, *larger, 0)
        else:
            background = resized(background, *larger)
            foreground, alpha = resized_cutout(foreground, alpha, *larger)
    box = _box(rng, alpha, side, crop.around)
    top, left, bottom, right = box
    window = np.s_[top:bottom, left:right]
    if larger == (height, width):
        background = _under(background, height, width, box)
    else:
        background = background[window]
    foreground, alpha = resized_cutout(foreground[window], alpha[window], crop.size, crop.size)
    return {
        "foreground": foreground,
        "alpha": alpha[..., None],
        "background": resized(background, crop.size, crop.size),
    }


def photo(
    rng: np.random.Generator, image: np.ndarray, alpha: np.ndarray | None, crop
) -> dict[str, np.ndarray]:
    """Cuts one window out of a photo and its alpha, as `composite` does; anywhere without one."""
    side = _side(rng, min(image.shape[:2]), crop)
    layers = {"image": image} if alpha is None else {"image": image, "alpha": alpha}
    larger = _larger(*image.shape[:2], side, crop)
    if _small(crop) == "pad":
        values = {"image": GREY, "alpha": 0}
        layers = {name: _padded(x, *larger, values[name]) for name, x in layers.items()}
    else:
        layers = {name: resized(layer, *larger) for name, layer in layers.items()}
    solid = np.broadcast_to(np.uint8(255), larger)
    top, left, bottom, right = _box(rng, layers.get("alpha", solid), side, crop.around)
    window = np.s_[top:bottom, left:right]
    cuts = {name: resized(layer[window], crop.size, crop.size) for name, layer in layers.items()}
    return {name: cut.reshape(crop.size, crop.size, -1) for name, cut in cuts.items()}


def _small(crop) -> str:
    return crop.get("small", "enlarge")


def _side(rng, short: int, crop) -> int:
    """The side of a window in pixels of an image whose short side is `short`."""
    side, limit = int(rng.choice(crop.windows)), crop.get("max_short", 0)
    return round(side * short / limit) if 0 < limit < short else side


def _larger(height: int, width: int, side: int, crop) -> tuple[int, int]:
    """The size that an image is brought to before a window is cut: its own if it is large enough.

    Enlarged, it just holds a window of `side`; padded, it holds one of `crop.size`.
    """
    if _small(crop) == "pad":
        return max(height, crop.size), max(width, crop.size)
    ratio = max(side / height, side / width)
    if ratio <= 1:
        return height, width
    return max(int(height * ratio), side), max(int(width * ratio), side)


def _box(rng, alpha: np.ndarray, side: int, around: str) -> Box:
    """A window around a wanted pixel, if need be pushed into the image or cut down to it."""
    height, width = alpha.shape
    rows, columns = min(side, height), min(side, width)
    top, left = _corner(rng, alpha, rows, columns, around)
    return top, left, top + rows, left + columns


def _corner(rng, alpha: np.ndarray, rows: int, columns: int, around: str) -> tuple[int, int]:
    height, width = alpha.shape
    pixels = wanted(alpha, around)
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


def _under(background: np.ndarray, height: int, width: int, box: Box) -> np.ndarray:
    """A window of the background laid under a foreground of height x width: enlarged where it does
    not cover it, cropped at its top left corner where it is larger."""
    own_height, own_width = background.shape[:2]
    ratio = max(width / own_width, height / own_height)
    top, left, bottom, right = box
    if ratio <= 1:
        return background[top:bottom, left:right]
    size = math.ceil(own_height * ratio), math.ceil(own_width * ratio)
    return resized_window(background, size, box, (bottom - top, right - left))


def _padded(image: np.ndarray, height: int, width: int, value: int) -> np.ndarray:
    missing = [(0, height - image.shape[0]), (0, width - image.shape[1])]
    missing += [(0, 0)] * (image.ndim - 2)
    return np.pad(image, missing, constant_values=value)


def resized_cutout(
    colours: np.ndarray, alpha: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Colours uint8 [H, W, 3] and alpha uint8 [H, W] resized, see `resized`; colours under alpha 0
    do not count in the others."""
    if alpha.shape == (height, width):
        return colours, alpha
    result = resized(colours, height, width)
    if (alpha == 0).any():
        weight = alpha[..., None].astype(np.float32) / 255
        total = resize_bilinear(weight, height, width)
        visible = resize_bilinear(colours * weight, height, width) / np.maximum(total, 1e-6)
        result = np.where(total > 0, _rounded(visible), result)
    return result, resized(alpha, height, width)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image uint8 [H, W, ...] resized between neighbouring pixels, without antialiasing."""
    if image.shape[:2] == (height, width):
        return image
    layers = image.reshape(*image.shape[:2], -1).astype(np.float32)
    result = _rounded(resize_bilinear(layers, height, width))
    return result.reshape(height, width, *image.shape[2:])


def _rounded(image: np.ndarray) -> np.ndarray:
    # Halves, of which there are many, go up as they do in OpenCV.
    return np.floor(image + 0.5).clip(0, 255).astype(np.uint8)
