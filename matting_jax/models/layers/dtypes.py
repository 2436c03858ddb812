"""Casts of activations between dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.choices import one_of

Array = jax.Array
# Names of the dtypes in which networks compute, and their keyword `dtype`.
COMPUTE_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def compute_dtype(name: str) -> Any:
    """Returns the keyword `dtype` of networks for `config.compute_dtype`.

    Raises ValueError for an unknown name, with the closest valid one.
    """
    return COMPUTE_DTYPES[one_of(name, COMPUTE_DTYPES, "compute_dtype")]


def as_dtype(x: Array, dtype: Any) -> Array:
    """Casts x to `dtype`; None keeps its own."""
    return x if dtype is None else x.astype(dtype)


def at_least_float32(x: Array) -> Array:
    """Casts x to float32 if its dtype is narrower."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
