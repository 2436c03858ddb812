"""Activations as PyTorch defines them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.models.layers.dtypes import at_least_float32

Array = jax.Array


def probability(logits: Array) -> Array:
    """Computes the sigmoid in at least float32: near 1 the step of bfloat16 is 1/256."""
    return nn.sigmoid(at_least_float32(logits))


def relu6(x: Array) -> Array:
    """Computes min(max(x, 0), 6); its derivative is 0 at 0 and at 6, as in PyTorch."""
    return lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), 6, x.dtype))


def clip_unit(x: Array) -> Array:
    """Clips x to [0, 1]; its derivative is 1 at both ends, as in PyTorch."""
    return jnp.where(x < 0, 0, jnp.where(x > 1, 1, x))
