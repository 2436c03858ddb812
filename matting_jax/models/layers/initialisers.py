"""Initialisers of kernels and biases.

The normal ones are not truncated, as in PyTorch and Paddle; those of Flax are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Array = jax.Array
Dtype = Any
Init = Callable[..., Array]

variance_scaling = nn.initializers.variance_scaling

ones = nn.initializers.ones
zeros = nn.initializers.zeros
he_uniform = nn.initializers.he_uniform()
he_normal = variance_scaling(2.0, "fan_in", "normal")
he_normal_fan_out = variance_scaling(2.0, "fan_out", "normal")
xavier_uniform = nn.initializers.xavier_uniform()
xavier_normal = variance_scaling(1.0, "fan_avg", "normal")
# U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)): PyTorch's default for kernels.
fan_in_uniform = variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_of_fan_in(fan_in: int) -> Init:
    """Returns an initialiser that draws U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)).

    PyTorch's default for biases, whose shape does not contain the fan-in. For the same key and
    kernel it draws other values than `fan_in_uniform`.
    """
    bound = fan_in**-0.5

    def init(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
