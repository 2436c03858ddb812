"""Windows of one size out of rescaled images: MODNet's crops.

`rescale` is the shortest and longest length, in pixels, to which the long side of a foreground or
photo is brought before.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from matting_jax.data.crops.around import wanted


class _Window(NamedTuple):
    """Along one axis: the part of the source, the pixels it becomes, the padding on both sides."""

    start: float
    stop: float
    pixels: int
    margin: tuple[int, int]


def check(crop) -> None:
    """Raises ValueError when `crop.rescale` cannot be followed."""
    low, high = crop.rescale
    if not 1 <= low <= high:
        raise ValueError(f"config.data.crop.rescale is {low, high}, but must rise from at least 1.")


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop,
) -> dict[str, np.ndarray]:
    """A window out of the foreground and its alpha, and another out of the background."""
    foreground, alpha = crop_foreground(rng, foreground, alpha, crop)
    background = crop_background(rng, background, crop)
    return {"foreground": foreground, "alpha": alpha, "background": background}


def photo(
    rng: np.random.Generator, image: np.ndarray, alpha: np.ndarray | None, crop
) -> dict[str, np.ndarray]:
    """A window out of a photo, which is never smaller than it, and out of its alpha, if any."""
    if alpha is None:
        whole = np.full(image.shape[:2], 255, np.uint8)
        return {"image": crop_foreground(rng, image, whole, crop, cover=True)[0]}
    image, alpha = crop_foreground(rng, image, alpha, crop, cover=True)
    return {"image": image, "alpha": alpha}


def crop_foreground(
    rng: np.random.Generator, colours: np.ndarray, alpha: np.ndarray, crop, cover: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts one window out of the rescaled foreground and its alpha.

    colours uint8 [H, W, 3], alpha uint8 [H, W]; returns uint8 [size, size, 3] and
    [size, size, 1]. A foreground smaller than the window lies anywhere in it, surrounded by alpha
    0; only colours where alpha is above 0 count. With `cover`, for photos, it is never smaller, and
    all colours count.
    """
    height, width = alpha.shape
    scale = rng.uniform(*crop.rescale) / max(height, width)
    if cover:
        scale = max(scale, crop.size / min(height, width))
    centre = _centre(rng, alpha, crop.around)
    rows, columns = (
        _window(rng, length, scale, crop.size, middle)
        for length, middle in zip((height, width), centre, strict=True)
    )
    box = (columns.start, rows.start, columns.stop, rows.stop)
    size = (columns.pixels, rows.pixels)
    margin = (rows.margin, columns.margin)
    resized = _resized(colours, size, box)
    if not cover and (alpha == 0).any():
        resized = _visible(colours, alpha, resized, size, box)
    alpha = np.pad(_resized(alpha, size, box), margin)
    return np.pad(resized, (*margin, (0, 0)), mode="edge"), alpha[..., None]


def crop_background(rng: np.random.Generator, image: np.ndarray, crop) -> np.ndarray:
    """Cuts a square window of half to all of the short side: uint8 [H, W, 3] to [size, size, 3].

    The window is only ever enlarged where the image is too small for it.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    side = short * rng.uniform(np.clip(crop.size / short, 0.5, 1), 1)
    top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
    return _resized(image, (crop.size, crop.size), (left, top, left + side, top + side))


def _window(rng, length: int, scale: float, size: int, middle: float | None) -> _Window:
    # Whole pixels in the rescaled image, so that the crop equals a resize followed by a slice.
    rescaled = max(1, round(length * scale))
    low, high = sorted((0, rescaled - size))
    if middle is None:
        offset = int(rng.integers(low, high, endpoint=True))
    else:
        offset = min(max(round(middle * rescaled - size / 2), low), high)
    first, last = max(offset, 0), min(offset + size, rescaled)
    return _Window(
        start=first * length / rescaled,
        stop=last * length / rescaled,
        pixels=last - first,
        margin=(first - offset, offset + size - last),
    )


def _centre(rng, alpha: np.ndarray, around: str) -> tuple[float | None, float | None]:
    pixels = wanted(alpha, around)
    if pixels is None:
        return None, None
    row, column = divmod(int(rng.choice(np.flatnonzero(pixels))), alpha.shape[1])
    return (row + 0.5) / alpha.shape[0], (column + 0.5) / alpha.shape[1]


def _visible(colours, alpha, resized, size: tuple[int, int], box: tuple) -> np.ndarray:
    # Colours weighed by alpha: what a cut-out hides under alpha 0 must not bleed into its edge.
    weight = alpha.astype(np.float32) / 255
    total = _resized(weight, size, box)
    visible = [_resized(colours[..., i] * weight, size, box) for i in range(3)]
    visible = np.stack(visible, -1) / np.maximum(total, 1e-6)[..., None]
    return np.where(total[..., None] > 0, np.rint(visible), resized).astype(np.uint8)


def _resized(array: np.ndarray, size: tuple[int, int], box: tuple) -> np.ndarray:
    # Bilinear, antialiased where it reduces: a matte must not ring.
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR, box=box))
