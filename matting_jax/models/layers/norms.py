"""Batch and instance normalisation as PyTorch and Paddle train them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from matting_jax.models.layers.dtypes import at_least_float32
from matting_jax.models.layers.initialisers import Init, ones, zeros
from matting_jax.parallel import sum_devices

Array = jax.Array

EPSILON = 1e-5  # added to variances


class BatchNorm(nn.Module):
    """Batch normalisation of x [B, ..., C] as PyTorch and Paddle train it.

    Parameters `scale` and `bias`; statistics `mean` and `var` in `batch_stats`, float32. `valid`
    [B], 0 or 1, selects the samples that count in the statistics; without any they stay unchanged.
    With the running statistics all four may be replaced by `factor` and `shift` in the collection
    `folded`, those of `fold_batch_norm`.

    Attributes:
        use_running_average: uses and keeps the running statistics; scale and bias still train.
        axis_name: computes the batch's statistics over all devices of this axis.
        unbiased: updates the running variance with the unbiased one, as PyTorch; otherwise with the
            biased one, as Paddle and Flax.
    """

    use_running_average: bool
    axis_name: str | None = None
    momentum: float = 0.9
    unbiased: bool = True
    scale_init: Init = ones

    @nn.compact
    def __call__(
        self, x: Array, valid: Array | None = None, *, as_affine: bool = False
    ) -> Array | tuple[Array, Array]:
        """Normalises x; `as_affine` returns factor and shift [C] of the running statistics."""
        if self.use_running_average and self.has_variable("folded", "factor"):
            factor, shift = (self.get_variable("folded", name) for name in ("factor", "shift"))
            return (factor, shift) if as_affine else (x * factor + shift).astype(x.dtype)
        channels = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        if self.use_running_average:
            factor = scale * lax.rsqrt(var.value + EPSILON)
            shift = bias - mean.value * factor
            return (factor, shift) if as_affine else (x * factor + shift).astype(x.dtype)
        y, batch_mean, batch_var, count = normalise(
            x, scale, bias, mean.value, valid, EPSILON, self.axis_name
        )
        if not self.is_initializing():
            if self.unbiased:
                batch_var = batch_var * (count / jnp.maximum(count - 1, 1))
            for running, new in ((mean, batch_mean), (var, batch_var)):
                updated = self.momentum * running.value + (1 - self.momentum) * new
                running.value = jnp.where(count > 0, updated, running.value)
        return y


def fold_batch_norm(
    params: Mapping[str, np.ndarray], statistics: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns `factor` and `shift`, with which `BatchNorm` computes x * factor + shift."""
    scale, bias = params["scale"], params["bias"]
    mean, var = (np.asarray(statistics[name], np.float64) for name in ("mean", "var"))
    factor = scale / np.sqrt(var + EPSILON)
    return {
        "factor": factor.astype(scale.dtype),
        "shift": (bias - mean * factor).astype(bias.dtype),
    }


def batch_norm(model: nn.Module, train: bool, **options: Any) -> partial[BatchNorm]:
    """Returns a partial `BatchNorm` configured from the fields of a network.

    It uses batch statistics in training, over all devices of `model.axis_name`, unless
    `model.frozen_statistics`. `options` are further fields of `BatchNorm`.
    """
    frozen = not train or model.frozen_statistics
    return partial(BatchNorm, use_running_average=frozen, axis_name=model.axis_name, **options)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def normalise(
    x: Array,
    scale: Array,
    bias: Array,
    origin: Array,
    valid: Array | None,
    epsilon: float,
    axis_name: str | None,
):
    """Computes (x - mean) / sqrt(var + epsilon) * scale + bias for x [B, ..., C].

    mean and var, biased, are those of the batch's samples with `valid` [B] 1. Values are summed
    relative to `origin` [C], the running mean, because sums of a mean far above the deviation would
    cancel. The custom gradient reads x and its cotangent twice, automatic differentiation four
    times.

    Returns:
        y, and without gradient mean [C], var [C] and the number of values in each.
    """
    return normalise_forward(x, scale, bias, origin, valid, epsilon, axis_name)[0]


def normalise_forward(x, scale, bias, origin, valid, epsilon: float, axis_name: str | None):
    centred, axes = at_least_float32(x) - origin, tuple(range(x.ndim - 1))
    counted, local = centred, x.size // x.shape[-1]
    if valid is not None:
        counted = jnp.where(valid.reshape(-1, *[1] * len(axes)) > 0, centred, 0)
        local = jnp.sum(valid) * (local // x.shape[0])
    sums = jnp.sum(counted, axes), jnp.sum(counted * counted, axes)
    total, squares = sum_devices(sums, axis_name)
    count = jnp.full((), sum_devices(local, axis_name), centred.dtype)
    # At least 1, so that the statistics of no values are not NaN.
    some = count if valid is None else jnp.maximum(count, 1)
    offset = total / some
    var = jnp.maximum(squares / some - offset * offset, 0)
    inverse = lax.rsqrt(var + epsilon)
    factor = scale * inverse
    y = (centred * factor + (bias - offset * factor)).astype(x.dtype)
    return (y, origin + offset, var, count), (x, scale, origin, valid, offset, inverse, some)


def normalise_backward(epsilon: float, axis_name: str | None, saved, cotangents):
    x, scale, origin, valid, offset, inverse, count = saved
    centred = x.astype(offset.dtype) - origin
    g = cotangents[0].astype(offset.dtype)
    axes = tuple(range(x.ndim - 1))
    dbias, moment = jnp.sum(g, axes), jnp.sum(g * centred, axes)
    dscale = (moment - offset * dbias) * inverse
    # dx depends on the sums over all devices; the caller sums the gradients of the parameters.
    all_bias, all_scale = sum_devices((dbias, dscale), axis_name)
    a = scale * inverse
    b = -a * inverse * all_scale / count
    c = -a * all_bias / count - b * offset
    by_statistics = b * centred + c
    if valid is not None:
        by_statistics = jnp.where(valid.reshape(-1, *[1] * len(axes)) > 0, by_statistics, 0)
    dx = (a * g + by_statistics).astype(x.dtype)
    unseen = None if valid is None else jnp.zeros_like(valid)
    return dx, dscale, dbias, jnp.zeros_like(origin), unseen


normalise.defvjp(normalise_forward, normalise_backward)


def instance_norm(x: Array, epsilon: float = EPSILON) -> Array:
    """Normalises each sample and channel of x [B, H, W, C] to mean 0 and variance 1."""
    wide = at_least_float32(x)
    mean, var = instance_statistics(wide)
    return ((wide - mean) * lax.rsqrt(var + epsilon)).astype(x.dtype)


def instance_statistics(x: Array) -> tuple[Array, Array]:
    """Returns mean and variance of each sample and channel of x [B, H, W, C]: [B, 1, 1, C]."""
    mean = jnp.mean(x, (1, 2), keepdims=True)
    return mean, jnp.mean(jnp.square(x - mean), (1, 2), keepdims=True)


class Affine(nn.Module):
    """Parameters `scale`, initially 1, and `bias`, initially 0, of `channels` channels."""

    channels: int

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        shape = (self.channels,)
        return self.param("scale", ones, shape), self.param("bias", zeros, shape)
