"""Windows of one size out of rescaled images: the crops of MODNet.

`rescale` is the range of lengths, in pixels, that the long side of a foreground or photo is resized
to before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from matting_jax.data.crops.around import candidate_pixels
from matting_jax.data.crops.read_part import read_part
from matting_jax.data.crops.rule import CropRule, Crops

BILINEAR = Image.Resampling.BILINEAR


class Window(NamedTuple):
    """One axis of a window: a part of the source, its pixels in the crop, and both paddings."""

    start: float
    stop: float
    pixels: int
    margin: tuple[int, int]


def check(crop: ConfigDict) -> None:
    """Raises ValueError unless `crop.rescale` is a range."""
    low, high = crop.rescale
    if not 1 <= low <= high:
        raise ValueError(
            f"config.data.crop.rescale must be a range from at least 1, got {low, high}"
        )


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop: ConfigDict,
    planes: np.ndarray | None = None,
) -> Crops:
    """Cuts a window out of the foreground and its alpha, and another out of the background."""
    cuts = crop_foreground(rng, foreground, alpha, crop, planes=planes)
    background = crop_background(rng, background, crop)
    # Without planes there are only the first two.
    names = ("foreground", "alpha", "alpha_planes")
    return dict(zip(names, cuts, strict=False)) | {"background": background}


def photo(
    rng: np.random.Generator,
    image: np.ndarray,
    alpha: np.ndarray | None,
    crop: ConfigDict,
    planes: np.ndarray | None = None,
) -> Crops:
    """Cuts a window out of a photo and its alpha, if any; the photo covers the window."""
    if alpha is None:
        whole = np.full(image.shape[:2], 255, np.uint8)
        return {"image": crop_foreground(rng, image, whole, crop, cover=True)[0]}
    cuts = crop_foreground(rng, image, alpha, crop, cover=True, planes=planes)
    return dict(zip(("image", "alpha", "alpha_planes"), cuts, strict=False))


def crop_foreground(
    rng: np.random.Generator,
    colours: np.ndarray,
    alpha: np.ndarray,
    crop: ConfigDict,
    cover: bool = False,
    planes: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """Cuts one window out of the rescaled foreground and its alpha.

    Args:
        rng: the random numbers of the sample.
        colours: uint8 [H, W, 3].
        alpha: uint8 [H, W].
        crop: the config group `data.crop`.
        cover: for photos, whether the image is enlarged to cover the window and all colours count.
            Otherwise a smaller foreground lies anywhere in the window, surrounded by alpha 0, and
            only colours where alpha is above 0 count.
        planes: planes made from alpha, uint8 [H, W, n], 0 around a smaller foreground.

    Returns:
        Colours uint8 [size, size, 3], alpha uint8 [size, size, 1], and planes uint8
        [size, size, n] if there are any.
    """
    height, width = alpha.shape
    scale = rng.uniform(*crop.rescale) / max(height, width)
    if cover:
        scale = max(scale, crop.size / min(height, width))
    centre = find_centre(rng, alpha, crop.around)
    rows, columns = (
        find_window(rng, length, scale, crop.size, middle)
        for length, middle in zip((height, width), centre, strict=True)
    )
    box = (columns.start, rows.start, columns.stop, rows.stop)
    size = (columns.pixels, rows.pixels)
    margin = (rows.margin, columns.margin)
    has_hidden = not cover and (alpha == 0).any()
    part, box = read_part(alpha.shape, size, box, BILINEAR)
    colours, alpha = colours[part], alpha[part]
    planes = None if planes is None else planes[part]
    resized = resize(colours, size, box)
    if has_hidden:
        resized = resize_visible(colours, alpha, resized, size, box)
    layers = [alpha[..., None]] if planes is None else [alpha[..., None], planes]
    # Pillow would weight two planes by one another.
    cuts = [
        np.stack([np.pad(resize(plane, size, box), margin) for plane in np.moveaxis(x, -1, 0)], -1)
        for x in layers
    ]
    return np.pad(resized, (*margin, (0, 0)), mode="edge"), *cuts


def crop_background(rng: np.random.Generator, image: np.ndarray, crop: ConfigDict) -> np.ndarray:
    """Cuts a square window of half to all of the short side: uint8 [H, W, 3] to [size, size, 3].

    The window is enlarged only if the image is too small for it.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    side = short * rng.uniform(np.clip(crop.size / short, 0.5, 1), 1)
    top, left = rng.uniform(0, height - side), rng.uniform(0, width - side)
    return resize(image, (crop.size, crop.size), (left, top, left + side, top + side))


def find_window(
    rng: np.random.Generator, length: int, scale: float, size: int, middle: float | None
) -> Window:
    """Returns one axis of a window of `size` pixels around `middle`, or anywhere if it is None."""
    # Whole pixels in the rescaled image, so that the crop equals a resize followed by a slice.
    rescaled = max(1, round(length * scale))
    low, high = sorted((0, rescaled - size))
    if middle is None:
        offset = int(rng.integers(low, high, endpoint=True))
    else:
        offset = min(max(round(middle * rescaled - size / 2), low), high)
    first, last = max(offset, 0), min(offset + size, rescaled)
    return Window(
        start=first * length / rescaled,
        stop=last * length / rescaled,
        pixels=last - first,
        margin=(first - offset, offset + size - last),
    )


def find_centre(
    rng: np.random.Generator, alpha: np.ndarray, around: str
) -> tuple[float | None, float | None]:
    """Draws the centre of a window, as fractions of height and width; None where it is free."""
    pixels = candidate_pixels(alpha, around)
    if pixels is None:
        return None, None
    row, column = divmod(int(rng.choice(np.flatnonzero(pixels))), alpha.shape[1])
    return (row + 0.5) / alpha.shape[0], (column + 0.5) / alpha.shape[1]


def resize_visible(
    colours: np.ndarray, alpha: np.ndarray, resized: np.ndarray, size: tuple[int, int], box: tuple
) -> np.ndarray:
    """Resizes colours weighted by alpha, so that hidden ones do not bleed into the edge.

    Where all are hidden, the result is that of `resized`.
    """
    weight = np.divide(alpha, 255, dtype=np.float32)
    total = resize(weight, size, box)
    visible = [resize(colours[..., i] * weight, size, box) for i in range(3)]
    visible = np.stack(visible, -1) / np.maximum(total, 1e-6)[..., None]
    return np.where(total[..., None] > 0, np.rint(visible), resized).astype(np.uint8)


def resize(array: np.ndarray, size: tuple[int, int], box: tuple) -> np.ndarray:
    """Resizes the part `box` of an array to `size` (width, height), bilinearly.

    Antialiased where it reduces; a bicubic rule would make alpha ring.
    """
    part, box = read_part(array.shape[:2], size, box, BILINEAR)
    image = Image.fromarray(np.ascontiguousarray(array[part]))
    return np.asarray(image.resize(size, BILINEAR, box=box))


RULE = CropRule(check, composite, photo, planes=True)
