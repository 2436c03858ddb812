"""Casts of activations between dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def as_dtype(x: Array, dtype: Any) -> Array:
    """Casts x to `dtype`; None keeps its own."""
    return x if dtype is None else x.astype(dtype)


def at_least_float32(x: Array) -> Array:
    """Casts x to float32 if its dtype is narrower."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
