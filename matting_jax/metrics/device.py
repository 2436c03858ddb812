"""SAD, MSE, MAD and Grad of a batch on the device, to be called inside `jax.jit`.

`prediction` and `truth`: float [B, H, W, 1] in [0, 1]; `trimap`: [B, H, W, 1] of 0, 0.5 (or
128/255) and 1: only unknown pixels are measured, without a trimap all pixels are. Each metric
returns one float32 for each image, [B], so that the padding of a last batch can be omitted from the
mean. It equals `matting_jax.metrics` in convention "matlab" up to rounding.

They raise ValueError for another shape or type; values out of range are not detected. Grad is not a
loss: its square root is not differentiable where alpha is constant.
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
    """Computes the sum of absolute differences, in thousands; 0 if no pixel is unknown."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return sum_unknown(jnp.abs(prediction - truth), unknown) / 1000


def mse(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Computes the mean squared difference; NaN if no pixel is unknown."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return sum_unknown(jnp.square(prediction - truth), unknown) / count_unknown(unknown)


def mad(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Computes the mean absolute difference; NaN if no pixel is unknown."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return sum_unknown(jnp.abs(prediction - truth), unknown) / count_unknown(unknown)


def grad(prediction: Array, truth: Array, trimap: Array | None = None) -> Array:
    """Computes the gradient error, in thousands; 0 if no pixel is unknown."""
    prediction, truth, unknown = prepare(prediction, truth, trimap)
    return sum_unknown(jnp.square(amplitude(prediction) - amplitude(truth)), unknown) / 1000


def prepare(prediction: Array, truth: Array, trimap: Array | None) -> tuple[Array, Array, Array]:
    """Returns prediction and truth as float32, and a mask of unknown pixels; each [B, H, W, 1]."""
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


def sum_unknown(values: Array, unknown: Array) -> Array:
    """Sums `values` over the unknown pixels of each image, [B]."""
    return jnp.sum(values, (1, 2, 3), jnp.float32, where=unknown)


def count_unknown(unknown: Array) -> Array:
    """Counts the unknown pixels of each image, [B]."""
    return jnp.sum(unknown, (1, 2, 3), jnp.float32)


def amplitude(image: Array) -> Array:
    """Computes the benchmark's gradient amplitude of images [B, H, W, 1] stretched to [0, 1]."""
    smoothing, derivative = benchmark_taps()
    spread = jnp.max(image, (1, 2, 3), keepdims=True) - jnp.min(image, (1, 2, 3), keepdims=True)
    flat = spread == 0
    scale = jnp.where(flat, 0, 1 / jnp.where(flat, 1, spread))
    across = filter_even(filter_odd(image, derivative, 2), smoothing, 1)
    down = filter_even(filter_odd(image, derivative, 1), smoothing, 2)
    return scale * jnp.sqrt(jnp.square(across) + jnp.square(down))


def filter_even(x: Array, taps: Taps, axis: int) -> Array:
    """Filters x along `axis` by symmetric taps, given from the centre outwards."""
    return taps[0] * x + sum(t * (after + before) for t, after, before in shifted(x, taps, axis))


def filter_odd(x: Array, taps: Taps, axis: int) -> Array:
    """Filters x along `axis` by antisymmetric taps, given from the centre outwards."""
    return sum(t * (after - before) for t, after, before in shifted(x, taps, axis))


def shifted(x: Array, taps: Taps, axis: int) -> Iterator[tuple[float, Array, Array]]:
    """Yields each tap off the centre with x shifted by it, after and before; edges are repeated."""
    reach, length = len(taps) - 1, x.shape[axis]
    margin = [(0, 0)] * x.ndim
    margin[axis] = (reach, reach)
    x = jnp.pad(x, margin, mode="edge")
    for k in range(1, reach + 1):
        after = lax.slice_in_dim(x, reach + k, reach + k + length, axis=axis)
        before = lax.slice_in_dim(x, reach - k, reach - k + length, axis=axis)
        yield taps[k], after, before
