"""Batch and instance normalisation as PyTorch and Paddle train them."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.models.layers.initialisers import Init
from matting_jax.parallel import sum_devices

Array = jax.Array


class BatchNorm(nn.Module):
    """Batch normalisation as PyTorch and Paddle train it.

    x [B, H, W, C]. Statistics are float32 in `batch_stats` (`mean`, `var`), parameters `scale` and
    `bias`. In training they are taken over the batch, over all devices of `axis_name` where it is
    given, and the running variance takes the `unbiased` one, as PyTorch's, or the biased one, as
    Paddle's and Flax's. `use_running_average` keeps and uses the running ones, scale and bias still
    train. `valid` [B], 0 or 1, says which of x count in the statistics; where none does, they stay.
    """

    use_running_average: bool
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    unbiased: bool = True
    scale_init: Init = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, valid: Array | None = None) -> Array:
        channels = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        if self.use_running_average:
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            return (x * factor + (bias - mean.value * factor)).astype(x.dtype)
        y, batch_mean, batch_var, count = normalise(
            x, scale, bias, mean.value, valid, self.epsilon, self.axis_name
        )
        if not self.is_initializing():
            if self.unbiased:
                batch_var = batch_var * (count / jnp.maximum(count - 1, 1))
            for running, new in ((mean, batch_mean), (var, batch_var)):
                updated = self.momentum * running.value + (1 - self.momentum) * new
                running.value = jnp.where(count > 0, updated, running.value)
        return y


def batch_norm(model: nn.Module, train: bool, **options: Any) -> partial[BatchNorm]:
    """Returns the `BatchNorm` of a network, which lacks only its name.

    It uses batch statistics in training, over the devices of `model.axis_name`, unless
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
    """(x - mean) / sqrt(var + epsilon) * scale + bias, with the batch's mean and biased variance,
    taken where `valid` [B] is 1.

    Sums are taken about `origin` [C], the running mean: about zero they would cancel where the mean
    is far above the deviation. Returns y like x [B, H, W, C] and, without gradient, mean [C],
    var [C] and the number of values in each. The own gradient reads x and its cotangent twice,
    where automatic differentiation reads them four times.
    """
    return normalise_forward(x, scale, bias, origin, valid, epsilon, axis_name)[0]


def normalise_forward(x, scale, bias, origin, valid, epsilon: float, axis_name: str | None):
    centred = x.astype(jnp.promote_types(x.dtype, jnp.float32)) - origin
    counted, local = centred, x.size // x.shape[-1]
    if valid is not None:
        counted = jnp.where(valid[:, None, None, None] > 0, centred, 0)
        local = jnp.sum(valid) * (local // x.shape[0])
    sums = jnp.sum(counted, (0, 1, 2)), jnp.sum(counted * counted, (0, 1, 2))
    total, squares = sum_devices(sums, axis_name)
    count = jnp.full((), sum_devices(local, axis_name), centred.dtype)
    # One value at least, or nothing at all would be not a number.
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
    dbias, moment = jnp.sum(g, (0, 1, 2)), jnp.sum(g * centred, (0, 1, 2))
    dscale = (moment - offset * dbias) * inverse
    # dx depends on all devices' sums; the parameters' own gradients are summed by their owner.
    all_bias, all_scale = sum_devices((dbias, dscale), axis_name)
    a = scale * inverse
    b = -a * inverse * all_scale / count
    c = -a * all_bias / count - b * offset
    by_statistics = b * centred + c
    if valid is not None:
        by_statistics = jnp.where(valid[:, None, None, None] > 0, by_statistics, 0)
    dx = (a * g + by_statistics).astype(x.dtype)
    unseen = None if valid is None else jnp.zeros_like(valid)
    return dx, dscale, dbias, jnp.zeros_like(origin), unseen


normalise.defvjp(normalise_forward, normalise_backward)


def instance_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """x [B, H, W, C] to mean 0 and variance 1 for each sample and channel, without parameters."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(wide, (1, 2), keepdims=True)
    var = jnp.mean(jnp.square(wide - mean), (1, 2), keepdims=True)
    return ((wide - mean) * lax.rsqrt(var + epsilon)).astype(x.dtype)


class InstanceNorm(nn.Module):
    """`instance_norm` of x [B, H, W, C] with a `scale` and a `bias` [C] for each channel."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return (instance_norm(x) * scale + bias).astype(x.dtype)
