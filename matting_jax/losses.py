"""Loss functions: a scalar from arrays, global over the devices of `axis_name`."""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.image.filters import gradient_length
from matting_jax.parallel import mean_devices, sum_devices

Array = jax.Array


def absolute(x: Array) -> Array:
    """Computes |x| with derivative 0 at 0, as PyTorch has it; `jnp.abs` has 1 there."""
    return x * lax.stop_gradient(jnp.sign(x))


def charbonnier(x: Array, epsilon: float) -> Array:
    """Computes sqrt(x^2 + epsilon): |x|, smooth at 0."""
    return jnp.sqrt(jnp.square(x) + epsilon)


def total(x: Array, axis_name: str | None = None) -> Array:
    """Sums all elements of x over all devices of `axis_name`."""
    return sum_devices(jnp.sum(x), axis_name)


def mean(x: Array, axis_name: str | None = None) -> Array:
    """Averages all elements of x over all devices of `axis_name`."""
    return mean_devices(jnp.mean(x), axis_name)


def region_mean(
    x: Array, region: Array, epsilon: float = 1e-8, axis_name: str | None = None
) -> Array:
    """Computes the sum of x [B, H, W, C] per pixel of `region` [B, H, W, 1], which is 0 or 1.

    Channels add up. Values of x outside the region count, so x must be masked already. Both sums
    are over all devices of `axis_name`. `epsilon` is added to the number of pixels, so that an
    empty region gives 0.
    """
    sums, pixels = sum_devices((jnp.sum(x), jnp.sum(region)), axis_name)
    return sums / (pixels + epsilon)


def l2(prediction: Array, truth: Array, axis_name: str | None = None) -> Array:
    """Computes the mean squared difference of two arrays of one shape."""
    chex.assert_equal_shape([prediction, truth])
    return mean(jnp.square(prediction - truth), axis_name)


def gradient_difference(prediction: Array, truth: Array, epsilon: float) -> Array:
    """Computes the absolute difference of the gradient magnitudes of two maps [B, H, W, 1].

    `epsilon` is added to the squared magnitude, see `image.filters.gradient_length`.
    """
    return absolute(gradient_length(prediction, epsilon) - gradient_length(truth, epsilon))


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Computes -log of the probability of each pixel's label, [B, H, W], at least in float32.

    logits [B, H, W, C], labels integers [B, H, W]. A label that is not a class gives nan.
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    chosen = labels[..., None] == jnp.arange(logits.shape[-1])
    losses = jax.nn.logsumexp(logits, -1) - jnp.sum(jnp.where(chosen, logits, 0), -1)
    return jnp.where(jnp.any(chosen, -1), losses, jnp.nan)


def ohem_cross_entropy(
    logits: Array,
    labels: Array,
    probability: float = 0.7,
    least: int = 16,
    ignored: int = 255,
    axis_name: str | None = None,
) -> Array:
    """Computes the mean cross-entropy of the hard pixels (online hard example mining).

    A pixel is hard if the probability of its label is below `probability`. If these are fewer than
    1 / `least` of the labelled pixels, that many pixels with the largest losses count instead.
    Source: CoinCheung/BiSeNet, lib/ohem_ce_loss.py.

    Args:
        logits: [B, H, W, C].
        labels: integers [B, H, W]; a label that is neither a class nor `ignored` gives nan.
        probability: upper bound of the probability of a hard pixel's label.
        least: 1 / the smallest share of the labelled pixels that counts.
        ignored: label of pixels that do not count.
        axis_name: mapped axis; the pixels of all its devices are taken together.

    Returns:
        A scalar, 0 if no pixel is labelled.
    """
    chex.assert_equal_shape_prefix([logits, labels], 3)
    labelled = labels != ignored
    losses = jnp.where(labelled, cross_entropy(logits, labels), 0)
    fixed = lax.stop_gradient(losses)
    few = total(labelled.astype(jnp.int32), axis_name) // least
    bound = kth_largest(fixed, few, axis_name)
    above, equal = fixed > bound, fixed == bound
    # Pixels whose losses equal the bound share the remaining places evenly.
    remaining = few - total(above.astype(jnp.int32), axis_name)
    share = remaining / jnp.maximum(total(equal.astype(jnp.int32), axis_name), 1)
    hardest = jnp.where(above, 1, jnp.where(equal, share, 0))
    hard = (fixed > -math.log(probability)).astype(fixed.dtype)
    weights = jnp.where(total(hard, axis_name) < few, hardest, hard)
    return total(weights * losses, axis_name) / jnp.maximum(total(weights, axis_name), 1)


def kth_largest(x: Array, k: Array, axis_name: str | None = None) -> Array:
    """Finds the k-th largest value, k from 1, of all values of x on all devices.

    x holds floats of at least 0, which are ordered as their bits are. The result is found bit by
    bit from the highest, which needs only counts; sorting would gather all values on each device.
    """
    width = 8 * x.dtype.itemsize - 1  # without the sign
    bits = lax.bitcast_convert_type(x, jnp.dtype(f"int{width + 1}"))
    one = jnp.ones((), bits.dtype)

    def add_bit(i: Array, found: Array) -> Array:
        larger = found | (one << (width - 1 - i).astype(bits.dtype))
        enough = total((bits >= larger).astype(jnp.int32), axis_name) >= k
        return jnp.where(enough, larger, found)

    return lax.bitcast_convert_type(lax.fori_loop(0, width, add_bit, one - one), x.dtype)
