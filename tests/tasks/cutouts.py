"""A batch of a disc in noise."""

import numpy as np


def cutouts(size=64):
    """Returns six foregrounds, alphas and backgrounds, uint8 [6, size, size, C]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    alpha = np.rint(255 * np.clip((20 - np.hypot(y - 32, x - 26)) / 3, 0, 1)).astype(np.uint8)
    return {
        "foreground": rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8),
        "alpha": np.broadcast_to(alpha[..., None], (6, size, size, 1)),
        "background": rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8),
    }
