"""Loss functions: a scalar from arrays, global over the devices of `axis_name`."""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array


def absolute(x: Array) -> Array:
    """|x| with derivative 0 at 0, as PyTorch has it; `jnp.abs` has 1 there."""
    return x * lax.stop_gradient(jnp.sign(x))


def mean(x: Array, axis_name: str | None = None) -> Array:
    """Mean of all elements of x, over all devices of `axis_name`."""
    local = jnp.mean(x)
    return local if axis_name is None else lax.pmean(local, axis_name)


def region_mean(
    x: Array, region: Array, epsilon: float = 1e-8, axis_name: str | None = None
) -> Array:
    """The sum of x [B, H, W, C] for each pixel of `region` [B, H, W, 1], which is 0 or 1.

    Channels add up, and what x holds outside the region counts: pass it masked. Both sums are over
    all devices of `axis_name`; `epsilon` joins the pixels, so that an empty region gives 0.
    """
    total, pixels = jnp.sum(x), jnp.sum(region)
    if axis_name is not None:
        total, pixels = lax.psum((total, pixels), axis_name)
    return total / (pixels + epsilon)


def charbonnier(x: Array, epsilon: float) -> Array:
    """sqrt(x^2 + epsilon): |x|, smooth at 0."""
    return jnp.sqrt(jnp.square(x) + epsilon)


def l2(prediction: Array, truth: Array, axis_name: str | None = None) -> Array:
    """Mean squared difference of two arrays of one shape."""
    chex.assert_equal_shape([prediction, truth])
    return mean(jnp.square(prediction - truth), axis_name)


def ohem_cross_entropy(
    logits: Array,
    labels: Array,
    probability: float = 0.7,
    least: int = 16,
    ignored: int = 255,
    axis_name: str | None = None,
) -> Array:
    """Mean cross-entropy of the hard pixels, of all devices of `axis_name` together.

    logits [B, H, W, C]; labels integers [B, H, W], pixels with `ignored` count nothing, another
    that is no class makes the loss nan. Hard is a pixel whose class gets a probability below
    `probability`; where those are fewer than one in `least` of the labelled ones, that many with
    the largest losses are. 0 where nothing is labelled.
    Source: CoinCheung/BiSeNet, lib/ohem_ce_loss.py.
    """
    chex.assert_equal_shape_prefix([logits, labels], 3)
    labelled = labels != ignored
    losses = jnp.where(labelled, cross_entropy(logits, labels), 0)
    fixed = lax.stop_gradient(losses)
    few = total(labelled.astype(jnp.int32), axis_name) // least
    bound = kth_largest(fixed, few, axis_name)
    above, equal = fixed > bound, fixed == bound
    # Of equal losses at the bound none is preferred: they share the places that are left.
    left = few - total(above.astype(jnp.int32), axis_name)
    share = left / jnp.maximum(total(equal.astype(jnp.int32), axis_name), 1)
    hardest = jnp.where(above, 1, jnp.where(equal, share, 0))
    hard = (fixed > -math.log(probability)).astype(fixed.dtype)
    weights = jnp.where(total(hard, axis_name) < few, hardest, hard)
    return total(weights * losses, axis_name) / jnp.maximum(total(weights, axis_name), 1)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """-log of the probability of its label at each pixel, at least float32 [B, H, W]; nan where
    that is no class. logits [B, H, W, C], labels integers [B, H, W]."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    chosen = labels[..., None] == jnp.arange(logits.shape[-1])
    losses = jax.nn.logsumexp(logits, -1) - jnp.sum(jnp.where(chosen, logits, 0), -1)
    return jnp.where(jnp.any(chosen, -1), losses, jnp.nan)


def kth_largest(x: Array, k: Array, axis_name: str | None = None) -> Array:
    """The k-th largest, from 1 on, of all values of x on all devices: floats, none below 0.

    Bit by bit from the highest, because floats from 0 on are ordered as their bits are: it takes
    counting alone, where sorting would first have to gather all values on each device.
    """
    places = 8 * x.dtype.itemsize - 1  # all but the sign
    bits = lax.bitcast_convert_type(x, jnp.dtype(f"int{places + 1}"))
    one = jnp.ones((), bits.dtype)

    def add_bit(i: Array, found: Array) -> Array:
        larger = found | (one << (places - 1 - i).astype(bits.dtype))
        enough = total((bits >= larger).astype(jnp.int32), axis_name) >= k
        return jnp.where(enough, larger, found)

    return lax.bitcast_convert_type(lax.fori_loop(0, places, add_bit, one - one), x.dtype)


def total(x: Array, axis_name: str | None = None) -> Array:
    """Sum of all elements of x, over all devices of `axis_name`."""
    local = jnp.sum(x)
    return local if axis_name is None else lax.psum(local, axis_name)
