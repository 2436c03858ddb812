"""Windows of a few sizes whose corner lies in the transition region: the crops of GFM.

`corners` are the sides of the windows, in pixels, all equally likely; a window that is not smaller
than the photo gets the side `size`. Half of the windows have their top left corner at a pixel of
`around`, as in the released code, which intends their centre; the others lie anywhere.
Source: JizhiziLi/GFM, core/data.py, MattingTransform and generate_composite_rssn.
"""

from __future__ import annotations

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.crops.around import candidate_pixels
from matting_jax.data.crops.bicubic import Box, resized_window
from matting_jax.data.crops.rule import CropRule, Crops
from matting_jax.data.crops.windows import resize, resize_cutout


def check(crop: ConfigDict) -> None:
    """Raises ValueError if `crop.corners` is not valid."""
    if not crop.corners or min(crop.corners) < 1:
        raise ValueError(
            f"config.data.crop.corners is {tuple(crop.corners)}, but must hold sides of at least 1"
        )


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop: ConfigDict,
    planes: np.ndarray | None = None,
) -> Crops:
    """Cuts one window out of a foreground, its alpha and the background stretched to their size.

    Foreground and alpha are resized as by `windows`. The background is resized once, with
    antialiasing; the source resizes it twice.
    """
    top, left, bottom, right = box = draw_box(rng, alpha, crop)
    window = np.s_[top:bottom, left:right]
    cut = resized_window(background, alpha.shape, box, (crop.size, crop.size))
    colours, alpha = resize_cutout(foreground[window], alpha[window], crop.size, crop.size)
    crops = {"foreground": colours, "alpha": alpha[..., None], "background": cut}
    if planes is not None:
        crops["alpha_planes"] = resize(planes[window], crop.size, crop.size)
    return crops


def photo(
    rng: np.random.Generator,
    image: np.ndarray,
    alpha: np.ndarray | None,
    crop: ConfigDict,
    planes: np.ndarray | None = None,
) -> Crops:
    """Cuts one window out of a photo and its alpha, as `composite` does.

    Without alpha the window lies anywhere.
    """
    solid = np.broadcast_to(np.uint8(255), image.shape[:2])
    top, left, bottom, right = draw_box(rng, solid if alpha is None else alpha, crop)
    given = {"image": image, "alpha": alpha, "alpha_planes": planes}
    layers = {name: layer for name, layer in given.items() if layer is not None}
    cuts = {
        name: resize(layer[top:bottom, left:right], crop.size, crop.size)
        for name, layer in layers.items()
    }
    return {name: cut.reshape(crop.size, crop.size, -1) for name, cut in cuts.items()}


def draw_box(rng: np.random.Generator, alpha: np.ndarray, crop: ConfigDict) -> Box:
    """Draws a window, clipped to a photo that is smaller than `crop.size`."""
    height, width = alpha.shape
    side = int(rng.choice(crop.corners))
    if side >= min(height, width):
        side = crop.size
    rows, columns = min(side, height), min(side, width)
    starts = max(height - rows, 1), max(width - columns, 1)
    pixels = None
    if rng.random() < 0.5:
        pixels = candidate_pixels(alpha[: starts[0], : starts[1]], crop.around)
    if pixels is None:
        top, left = (int(rng.integers(length)) for length in starts)
    else:
        top, left = divmod(int(rng.choice(np.flatnonzero(pixels))), starts[1])
    return top, left, top + rows, left + columns


RULE = CropRule(check, composite, photo, planes=True)
