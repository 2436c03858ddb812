"""The pixels that the window of a crop lies around: the config field `data.crop.around`."""

from __future__ import annotations

import numpy as np

AROUND = ("anywhere", "foreground", "unknown")


def candidate_pixels(alpha: np.ndarray, around: str) -> np.ndarray | None:
    """Returns the pixels of alpha uint8 [H, W] that a window may lie around, bool [H, W].

    None if it may lie anywhere: `around` says so, or there is no such pixel.
    """
    if around == "anywhere":
        return None
    pixels = alpha > 0 if around == "foreground" else (alpha > 0) & (alpha < 255)
    return pixels if pixels.any() else None
