"""Keeps XLA for CPU from computing resized images several times."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def computed_once(x: Array) -> Array:
    """Returns x [N, H, W, C], which XLA for CPU then does not recompute for each use of it.

    It recomputes the sums of samples of a resized image in each operation that reads them, but
    never a product, here with the identity. One channel is not changed.
    """
    if x.shape[-1] == 1 or jax.default_backend() != "cpu":
        return x
    return jnp.tensordot(x, jnp.eye(x.shape[-1], dtype=x.dtype), 1, precision="highest")
