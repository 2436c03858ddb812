"""Filters of small fixed kernels."""
from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

# scipy's gaussian_filter of an impulse on a 3x3 grid, sigma 0.8: its seven taps folded back by
# reflection. cv2's three taps differ.
BLUR = (0.25022103, 0.49955794, 0.25022103)


def blur3(x: Array) -> Array:
    """x [B, H, W, C] blurred by MODNet's 3x3 Gaussian, edges reflected without repeating.

    Source: ZHKKKe/MODNet, src/trainer.py, GaussianBlurLayer(1, 3).
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    side, centre, _ = BLUR
    x = side * (x[:, :-2] + x[:, 2:]) + centre * x[:, 1:-1]
    return side * (x[:, :, :-2] + x[:, :, 2:]) + centre * x[:, :, 1:-1]
