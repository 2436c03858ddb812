"""Loss functions: a scalar from arrays, global over the devices of `axis_name`."""
from __future__ import annotations

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
