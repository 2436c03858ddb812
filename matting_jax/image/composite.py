"""The compositing equation."""

from __future__ import annotations

import jax

Array = jax.Array


def composite(foreground: Array, alpha: Array, background: Array) -> Array:
    """alpha F + (1 - alpha) B of colours [..., H, W, 3] and alpha [..., H, W, 1], all in [0, 1]."""
    return alpha * foreground + (1 - alpha) * background
