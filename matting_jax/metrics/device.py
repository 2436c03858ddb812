"""SAD, MSE, MAD and Grad of a batch on the device, to be called inside `jax.jit`.

`prediction` and `truth`: floats [B, H, W, 1] in [0, 1], as networks have them; `trimap`
[B, H, W, 1], 0, 0.5 (or 128/255) and 1: only its unknown pixels count, without one all pixels do.
Each metric returns a float32 for each image, [B], so that what pads a last batch can be left out of
the mean: what `matting_jax.metrics` returns in its convention "matlab", up to rounding.

ValueError for another shape or type; what lies out of range is not noticed here. These measure:
Grad is no loss, for its square root has no derivative where alpha is flat.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.metrics.gradient import benchmark_taps

Array = jax.Array
Taps = tuple[float, ...]


def sad(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Sum of absolute differences, in thousands; 0 for an image without an unknown pixel."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return total(jnp.abs(prediction - truth), unknown) / 1000


def mse(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Mean squared difference; NaN for an image without an unknown pixel."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return total(jnp.square(prediction - truth), unknown) / number(unknown)


def mad(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Mean absolute difference; NaN for an image without an unknown pixel."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return total(jnp.abs(prediction - truth), unknown) / number(unknown)


def grad(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Gradient error, in thousands; 0 for an image without an unknown pixel."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return total(jnp.square(amplitude(prediction) - amplitude(truth)), unknown) / 1000


def prepare(prediction: Array, truth: Array, trimap: Array | None) -> tuple[Array, Array, Array]:
    """Prediction and truth in float32, and which pixels count, bool; each [B, H, W, 1]."""
    arrays = {"prediction": prediction, "truth": truth, "trimap": trimap}
    for name, array in arrays.items():
        if array is None:
            continue
        if array.shape != truth.shape or truth.ndim != 4 or truth.shape[-1] != 1:
            raise ValueError(f"{name} has shape {array.shape}, expected [B, H, W, 1] {truth.shape}")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} holds {array.dtype}, expected floats in [0, 1]")
    unknown = jnp.ones(truth.shape, bool) if trimap is None else (trimap > 0) & (trimap < 1)
    return prediction.astype(jnp.float32), truth.astype(jnp.float32), unknown


def total(values: Array, unknown: Array) -> Array:
    """Sum of `values` over the unknown pixels of each image, [B]."""
    return jnp.sum(values, (1, 2, 3), jnp.float32, where=unknown)


def number(unknown: Array) -> Array:
    """How many pixels of each image are unknown, [B]."""
    return jnp.sum(unknown, (1, 2, 3), jnp.float32)


def amplitude(image: Array) -> Array:
    """Amplitude of the benchmark's gradient of each image [B, H, W, 1] stretched to [0, 1]."""
    smoothing, derivative = benchmark_taps()
    spread = jnp.max(image, (1, 2, 3), keepdims=True) - jnp.min(image, (1, 2, 3), keepdims=True)
    flat = spread == 0
    scale = jnp.where(flat, 0, 1 / jnp.where(flat, 1, spread))
    across = even(odd(image, derivative, 2), smoothing, 1)
    down = even(odd(image, derivative, 1), smoothing, 2)
    return scale * jnp.sqrt(jnp.square(across) + jnp.square(down))


def even(x: Array, taps: Taps, axis: int) -> Array:
    """x filtered along `axis` by taps that are equal on both sides; given from the centre on."""
    return taps[0] * x + sum(t * (after + before) for t, after, before in beside(x, taps, axis))


def odd(x: Array, taps: Taps, axis: int) -> Array:
    """x filtered along `axis` by taps of opposite sign on both sides; given from the centre on."""
    return sum(t * (after - before) for t, after, before in beside(x, taps, axis))


def beside(x: Array, taps: Taps, axis: int) -> Iterator[tuple[float, Array, Array]]:
    """Each tap beside the centre with x that far after and before, the border repeated."""
    reach, length = len(taps) - 1, x.shape[axis]
    margin = [(0, 0)] * x.ndim
    margin[axis] = (reach, reach)
    x = jnp.pad(x, margin, mode="edge")
    for k in range(1, reach + 1):
        after = lax.slice_in_dim(x, reach + k, reach + k + length, axis=axis)
        before = lax.slice_in_dim(x, reach - k, reach - k + length, axis=axis)
        yield taps[k], after, before
