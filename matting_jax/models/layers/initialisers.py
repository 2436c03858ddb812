"""Initialisers of kernels and biases.

The normal ones are not truncated, as in PyTorch and Paddle; those of Flax are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Array = jax.Array
Dtype = Any
Init = Callable[..., Array]

ones = nn.initializers.ones
zeros = nn.initializers.zeros


def draw(
    key: Array, shape: tuple[int, ...], dtype: Dtype, distribution: str, scale: float
) -> Array:
    """Draws from N(0, scale ** 2) or U(-scale, scale).

    The draws are the first ones of a vector whose length is a power of four, so that XLA compiles
    few programs that draw (a third of a second each) for the many shapes of a network. Flax's
    initialisers draw each shape by a program of its own.

    Args:
        key: random key.
        shape: shape of the result.
        dtype: dtype of the result.
        distribution: "normal", which is not truncated, or "uniform".
        scale: standard deviation, or the bound of uniform draws.
    """
    length = 4 ** (((math.prod(shape) - 1).bit_length() + 1) // 2)
    return scaled_start(draw_vector(key, length, dtype, distribution), scale, tuple(shape))


@partial(jax.jit, static_argnames=("length", "dtype", "distribution"))
def draw_vector(key: Array, length: int, dtype: Dtype, distribution: str) -> Array:
    """Draws a vector [length] from N(0, 1) or U(-1, 1)."""
    sample = {"normal": jax.random.normal, "uniform": partial(jax.random.uniform, minval=-1)}
    return sample[distribution](key, (length,), dtype)


@partial(jax.jit, static_argnames="shape")
def scaled_start(vector: Array, scale: float, shape: tuple[int, ...]) -> Array:
    """Returns the first values of `vector` times `scale`, in an array of `shape`."""
    return vector[: math.prod(shape)].reshape(shape) * scale


def normal(deviation: float) -> Init:
    """Returns an initialiser that draws from N(0, deviation ** 2)."""

    def init(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
        return draw(key, shape, dtype, "normal", deviation)

    return init


def variance_scaling(scale: float, mode: str, distribution: str) -> Init:
    """Returns an initialiser of kernels [..., in, out] with variance scale / fan.

    Args:
        scale: factor of the variance.
        mode: "fan_in", "fan_out", or "fan_avg" for their mean.
        distribution: "normal", which is not truncated, or "uniform".
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
        positions = math.prod(shape[:-2])
        fan_in, fan_out = positions * shape[-2], positions * shape[-1]
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        variance = scale / fan * (3 if distribution == "uniform" else 1)
        return draw(key, shape, dtype, distribution, math.sqrt(variance))

    return init


he_uniform = variance_scaling(2.0, "fan_in", "uniform")
he_normal = variance_scaling(2.0, "fan_in", "normal")
he_normal_fan_out = variance_scaling(2.0, "fan_out", "normal")
xavier_uniform = variance_scaling(1.0, "fan_avg", "uniform")
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
        return draw(key, shape, dtype, "uniform", bound)

    return init
