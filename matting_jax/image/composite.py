"""The compositing equation."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:  # host code composites too, and does not need JAX for it
    import jax

    Array = TypeVar("Array", jax.Array, np.ndarray)


def composite(foreground: Array, alpha: Array, background: Array) -> Array:
    """Computes alpha F + (1 - alpha) B of colours [..., H, W, 3].

    alpha [..., H, W, 1] is in [0, 1]; colours may have any range. Takes NumPy and JAX arrays.
    """
    return alpha * foreground + (1 - alpha) * background
