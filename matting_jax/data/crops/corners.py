"""Windows of a few sizes whose corner lies at the transition: GFM's crops.

`corners` are the sides of the windows, in pixels, each as likely as the others; one that is not
smaller than the photo becomes one of `size`. Half of the windows have their upper left corner at a
pixel that `around` names, as the released code does, which means its centre; the others lie
anywhere. Source: JizhiziLi/GFM, core/data.py, MattingTransform and generate_composite_rssn.
"""

import numpy as np

from matting_jax.data.crops.around import wanted
from matting_jax.data.crops.bicubic import Box, resized_window
from matting_jax.data.crops.windows import resized, resized_cutout


def check(crop) -> None:
    """Raises ValueError when `crop.corners` cannot be followed."""
    if not crop.corners or min(crop.corners) < 1:
        raise ValueError(
            f"config.data.crop.corners is {tuple(crop.corners)}, but must hold sides of at least 1."
        )


def composite(
    rng: np.random.Generator,
    foreground: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    crop,
) -> dict[str, np.ndarray]:
    """Cuts one window out of a foreground, its alpha and the background stretched to their size.

    Foreground and alpha are resized between neighbouring pixels, as `windows` does it; the
    background in one, with antialiasing, where the source resizes it twice.
    """
    top, left, bottom, right = box = _box(rng, alpha, crop)
    window = np.s_[top:bottom, left:right]
    behind = resized_window(background, alpha.shape, box, (crop.size, crop.size))
    colours, alpha = resized_cutout(foreground[window], alpha[window], crop.size, crop.size)
    return {"foreground": colours, "alpha": alpha[..., None], "background": behind}


def photo(
    rng: np.random.Generator, image: np.ndarray, alpha: np.ndarray | None, crop
) -> dict[str, np.ndarray]:
    """Cuts one window out of a photo and its alpha, as `composite` does; anywhere without one."""
    solid = np.broadcast_to(np.uint8(255), image.shape[:2])
    top, left, bottom, right = _box(rng, solid if alpha is None else alpha, crop)
    layers = {"image": image} if alpha is None else {"image": image, "alpha": alpha}
    cuts = {
        name: resized(layer[top:bottom, left:right], crop.size, crop.size)
        for name, layer in layers.items()
    }
    return {name: cut.reshape(crop.size, crop.size, -1) for name, cut in cuts.items()}


def _box(rng: np.random.Generator, alpha: np.ndarray, crop) -> Box:
    """A window, cut down to the photo where that is smaller than `crop.size`."""
    height, width = alpha.shape
    side = int(rng.choice(crop.corners))
    if side >= min(height, width):
        side = crop.size
    rows, columns = min(side, height), min(side, width)
    places = max(height - rows, 1), max(width - columns, 1)
    pixels = None
    if rng.random() < 0.5:
        pixels = wanted(alpha[: places[0], : places[1]], crop.around)
    if pixels is None:
        top, left = (int(rng.integers(length)) for length in places)
    else:
        top, left = divmod(int(rng.choice(np.flatnonzero(pixels))), places[1])
    return top, left, top + rows, left + columns
