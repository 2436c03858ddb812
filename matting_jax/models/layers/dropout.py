"""Dropout with one random key for each sample."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def dropout(x: Array, keys: Array, rate: float) -> Array:
    """Sets each element of x [B, H, W, C] to 0 with probability `rate` and scales up the others.

    With one key a sample in `keys` [B], the result does not depend on how many devices share the
    batch.
    """
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0)
