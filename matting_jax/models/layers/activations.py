"""Activations as PyTorch defines them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

Array = jax.Array


def probability(logits: Array) -> Array:
    """Sigmoid in at least float32: near 1 bfloat16 has steps of 1/256."""
    return nn.sigmoid(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6); its derivative is 0 at 0 and at 6, as in PyTorch."""
    return lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), 6, x.dtype))
