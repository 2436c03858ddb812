"""What a crop's window lies around: the config field `crop.around`."""

import numpy as np

AROUND = ("anywhere", "foreground", "unknown")


def wanted(alpha: np.ndarray, around: str) -> np.ndarray | None:
    """The pixels of alpha uint8 [H, W] that a window may lie around, bool [H, W].

    None where it may lie anywhere: `around` says so, or there is no such pixel.
    """
    if around == "anywhere":
        return None
    pixels = alpha > 0 if around == "foreground" else (alpha > 0) & (alpha < 255)
    return pixels if pixels.any() else None
