"""Initialisers of kernels and biases, named after the frameworks that use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Array = jax.Array
Dtype = Any

Init = Callable[..., Array]
he_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")
# Flax's own cuts the tails off.
xavier_normal = nn.initializers.variance_scaling(1.0, "fan_avg", "normal")
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
he_normal_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def torch_uniform(fan_in: int) -> Init:
    """U(-b, b), b = 1 / sqrt(fan_in): PyTorch's default for kernels and biases alike."""
    bound = fan_in**-0.5

    def draw(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw
