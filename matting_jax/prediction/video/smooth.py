"""The one-frame delay of MODNet: removes what flickers for one frame."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

THRESHOLD = 0.1  # the paper's


def smooth(before: Array, alpha: Array, after: Array, threshold: float | Array) -> Array:
    """Replaces pixels that differ from both neighbours in time, where these agree, by their mean.

    All are alphas of one shape in [0, 1]; both neighbours are as the network predicted them.
    Source: Ke et al., MODNet, AAAI 2022, section 3.5.

    Args:
        before: alpha of the previous frame.
        alpha: alpha of the frame.
        after: alpha of the next frame.
        threshold: largest difference of values that agree.
    """
    agree = jnp.abs(before - after) <= threshold
    off = (jnp.abs(alpha - before) > threshold) & (jnp.abs(alpha - after) > threshold)
    return jnp.where(agree & off, (before + after) / 2, alpha)
