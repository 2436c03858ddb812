"""Foreground colours: what lies under alpha without the photo's background."""
from __future__ import annotations

import numpy as np


def multilevel(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The foreground's colours by multi-level estimation (Germer et al., 2020).

    image uint8 [H, W, 3], alpha uint8 [H, W]; returns uint8 [H, W, 3], equal to the image where
    alpha is 255, so that no old background shows at soft edges.
    """
    if min(alpha.shape) < 2:
        return image  # nothing to tell the two layers apart by
    from pymatting import estimate_foreground_ml  # compiles for seconds when first imported

    colours = estimate_foreground_ml(image.astype(np.float32) / 255, alpha.astype(np.float32) / 255)
    colours = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return np.where(alpha[..., None] == 255, image, colours)
