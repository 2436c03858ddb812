"""Keeps XLA for CPU from computing resized images several times."""

from __future__ import annotations

from math import gcd, prod

import jax
import jax.numpy as jnp

Array = jax.Array

SAMPLES = 32  # a product of rows of three costs eight times as much


def keep_resized(x: Array) -> Array:
    """Returns x [N, H, W, C], a resized image, which XLA for CPU then resizes only once.

    It recomputes the sums of samples of a resized image in each operation that reads them, but
    never a product, here with the identity. An image of one channel is returned as it is. Inside of
    networks `models.layers.forms.compute_once` does the same by a selection.
    """
    if x.shape[-1] == 1 or jax.default_backend() != "cpu":
        return x
    samples = max(gcd(SAMPLES, prod(x.shape[1:])), x.shape[-1])
    identity = jnp.eye(samples, dtype=x.dtype)
    return jnp.tensordot(x.reshape(-1, samples), identity, 1, precision="highest").reshape(x.shape)
