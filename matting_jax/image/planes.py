"""Planes that samples have in addition to their alpha, made from the alpha of the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class AlphaPlanes(NamedTuple):
    """How planes are made from an alpha, on the host and before it is cropped.

    `make(alpha)` maps alpha uint8 [H, W] of a whole image to uint8 [H, W, count].
    """

    make: Callable[[np.ndarray], np.ndarray]
    count: int
