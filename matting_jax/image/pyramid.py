"""The Laplacian pyramid of GFM."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

Array = jax.Array

# A sum, not a product, of two Gaussians without the 1/2 in the exponent: it has more weight in its
# corners than a Gaussian.
BELL = np.exp(-np.square(np.arange(-2.0, 3)))
KERNEL = (BELL[:, None] + BELL) / (10 * BELL.sum())


def laplacian_pyramid(x: Array, levels: int = 5) -> list[Array]:
    """Builds the pyramid of x [B, H, W, 1]: the difference of each of `levels` blurs, and the rest.

    Each level has half the size of the previous one, rounded down; sides must not fall below 1.
    Source: JizhiziLi/GFM, core/util.py, laplacian_pyramid.
    """
    kernel = jnp.asarray(KERNEL, x.dtype)[:, :, None, None]
    pyramid = []
    for _ in range(levels):
        padded = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        blurred = lax.conv_general_dilated(
            padded, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        pyramid.append(x - blurred)
        x = nn.avg_pool(blurred, (2, 2), (2, 2))
    return [*pyramid, x]
