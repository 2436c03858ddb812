"""Windows of photos at a random scale: the crops of BiSeNet V2.

`scales` are the smallest and the largest scale.
Source: CoinCheung/BiSeNet, lib/data/transform_cv2.py, RandomResizedCrop.
"""

from __future__ import annotations

import math

import numpy as np
from ml_collections import ConfigDict

from matting_jax.data.crops.rule import CropRule, Crops, sides
from matting_jax.data.files.labels import IGNORED
from matting_jax.image.matrices import bilinear_weights, resize_with


def check(crop: ConfigDict) -> None:
    """Raises ValueError unless `crop.scales` is a range."""
    low, high = crop.scales
    if not 0 < low <= high:
        raise ValueError(f"config.data.crop.scales must be a range above 0, got {low, high}")


def labelled(
    rng: np.random.Generator, image: np.ndarray, label: np.ndarray, crop: ConfigDict
) -> Crops:
    """Cuts one window out of a photo uint8 [H, W, 3] and its label uint8 [H, W], both rescaled.

    The photo is resized bilinearly, without antialiasing, the label to the nearest pixel. A photo
    smaller than the window is surrounded by black that is ignored, by one pixel more than needed.
    Returns image uint8 [size, width, 3] and label uint8 [size, width, 1].
    """
    scale = rng.uniform(*crop.scales)
    position = rng.random(2)
    weights, nearest, margins = [], [], []
    for axis, length in enumerate(sides(crop)):
        old = image.shape[axis]
        new = math.ceil(old * scale)
        margin = (length - new) // 2 + 1 if new < length else 0
        start = int(position[axis] * (new + 2 * margin - length)) - margin
        inside = np.arange(max(start, 0), min(start + length, new))
        weights.append(bilinear_weights(old, new)[inside])
        nearest.append(inside * old // new)
        margins.append((inside[0] - start, start + length - 1 - inside[-1]))
    used = [slice(matrix.indices.min(), matrix.indices.max() + 1) for matrix in weights]
    weights = [matrix[:, part] for matrix, part in zip(weights, used, strict=True)]
    window = resize_with(*weights, image[tuple(used)])
    window = np.rint(window, out=window).astype(np.uint8)
    return {
        "image": np.pad(window, (*margins, (0, 0))),
        "label": np.pad(label[np.ix_(*nearest)], margins, constant_values=IGNORED)[..., None],
    }


RULE = CropRule(check, labelled=labelled, takes=("width",))
