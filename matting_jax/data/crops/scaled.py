"""Windows out of photos at a random scale: the crops of BiSeNet V2.

`scales` are the smallest and the largest scale; `width` is that of the crop, `size` its height.
Source: CoinCheung/BiSeNet, lib/data/transform_cv2.py, RandomResizedCrop.
"""

import math

import numpy as np

from matting_jax.data.files.labels import IGNORED
from matting_jax.image.geometry import bilinear_weights, resize_with


def check(crop) -> None:
    """Raises ValueError when `crop.scales` or `crop.width` cannot be followed."""
    low, high = crop.scales
    if not 0 < low <= high:
        raise ValueError(f"config.data.crop.scales is {low, high}, but must rise from above 0.")
    if crop.width < 1:
        raise ValueError(f"config.data.crop.width is {crop.width}, but must be at least 1.")


def labelled(
    rng: np.random.Generator, image: np.ndarray, label: np.ndarray, crop
) -> dict[str, np.ndarray]:
    """Cuts one window out of a photo uint8 [H, W, 3] and its label uint8 [H, W], both rescaled.

    The photo between neighbouring pixels, without antialiasing, the label to the nearest. Where it
    is smaller than the window it is surrounded by black without label, a pixel more than it takes.
    Returns image uint8 [size, width, 3] and label uint8 [size, width, 1].
    """
    scale = rng.uniform(*crop.scales)
    place = rng.random(2)
    weights, nearest, margins = [], [], []
    for axis, length in enumerate((crop.size, crop.width)):
        old = image.shape[axis]
        new = math.ceil(old * scale)
        margin = (length - new) // 2 + 1 if new < length else 0
        start = int(place[axis] * (new + 2 * margin - length)) - margin
        inside = np.arange(max(start, 0), min(start + length, new))
        weights.append(bilinear_weights(old, new)[inside])
        nearest.append(inside * old // new)
        margins.append((inside[0] - start, start + length - 1 - inside[-1]))
    window = np.rint(resize_with(*weights, image)).astype(np.uint8)
    return {
        "image": np.pad(window, (*margins, (0, 0))),
        "label": np.pad(label[np.ix_(*nearest)], margins, constant_values=IGNORED)[..., None],
    }
