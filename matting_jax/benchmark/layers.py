"""Measures each layer that has a form for CPU against the form that it replaces.

    python -m matting_jax.benchmark.layers [NAME ...]

NAMEs are first words of the printed ones. Prints the CPU time of all threads in milliseconds, the
minimum of several runs, of the forward pass and of the gradients of the input and of the kernel: of
the form that networks use on CPU, and after "for" of the one that it replaces. The shapes are those
of networks at 512 x 512.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from matting_jax.image.geometry import enlarge_nearest, upsample
from matting_jax.models.layers.cells import CellConv, from_cells, to_cells
from matting_jax.models.layers.convolutions import UpsampledConv, convolve, pointwise
from matting_jax.models.layers.dense import DIMENSIONS, convolve_lax
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.kernel_gradient import convolve_cpu
from matting_jax.models.layers.norms import normalise
from matting_jax.models.layers.pooling import max_pool_3x3
from matting_jax.models.layers.spectral import conv_transpose

RUNS = 4
Array = jax.Array
# Name, form for CPU, replaced form, shape of the input, shape of the kernel or of other weights.
Case = tuple[str, Callable, Callable, tuple[int, ...], tuple[int, ...]]


def main(arguments: list[str]) -> None:
    chosen = tuple(arguments)
    for name, ours, replaced, shape, kernel in cases():
        if chosen and not name.startswith(chosen):
            continue
        rng = np.random.default_rng(0)
        x, weights = (jnp.asarray(rng.standard_normal(s, np.float32)) for s in (shape, kernel))
        times = zip(measure(ours, x, weights), measure(replaced, x, weights), strict=True)
        parts = ("forward", "input", "kernel")
        figures = [
            f"{part} {a:.1f} for {b:.1f}"
            for part, (a, b) in zip(parts, times, strict=True)
            if kernel or part != "kernel"
        ]
        print(f"{name}, {'x'.join(map(str, shape))}: {', '.join(figures)}", flush=True)


def cases() -> Iterator[Case]:
    """Yields the cases."""
    dense = [
        (3, 1, (2, 512, 512, 35), 32),
        (3, 1, (2, 256, 256, 64), 64),
        (3, 1, (1, 64, 64, 256), 256),
        (3, 1, (1, 64, 64, 128), 1024),
        (3, 1, (1, 512, 512, 54), 37),
        (3, 1, (1, 256, 256, 16), 16),
        (3, 1, (1, 512, 512, 32), 1),
        (3, 1, (1, 10, 10, 1024), 512),
        (3, 1, (1, 16, 16, 1024), 512),
        (5, 1, (2, 64, 64, 96), 32),
        (3, 2, (1, 512, 512, 6), 32),
        (7, 2, (1, 512, 512, 3), 64),
    ]
    for size, stride, shape, features in dense:
        padding = ((size // 2,) * 2,) * 2
        forms = (
            partial(form, stride=stride, padding=padding, dilation=1)
            for form in (convolve_cpu_by_name, convolve_lax)
        )
        name = f"dense {size}x{size}, stride {stride}"
        yield name, *forms, shape, (size, size, shape[-1], features)
    forms = (
        partial(form, stride=1, padding=((0, 0), (0, 0)), dilation=1)
        for form in (convolve_cpu_by_name, convolve_lax)
    )
    yield "unpadded 3x3", *forms, (1, 262, 262, 42), (3, 3, 42, 24)
    yield "cells 3x3", cells, pixels, (1, 258, 258, 40), (3, 3, 22, 12)
    for shape, features in (((1, 256, 256, 32), 32), ((1, 64, 64, 128), 128)):
        kernel = (4, 4, features, shape[-1])
        yield "transposed 4x4", conv_transpose, conv_transpose_lax, shape, kernel
    yield "pointwise", pointwise, pointwise_lax, (2, 256, 256, 16), (16, 96)
    forms = (partial(form, stride=2) for form in (pointwise_strided, pointwise_lax))
    yield "pointwise, stride 2", *forms, (1, 128, 128, 256), (256, 512)
    for stride in (1, 2):
        forms = (partial(depthwise, stride=stride, form=form) for form in ("cpu", "lax"))
        yield f"depth-wise 3x3, stride {stride}", *forms, (2, 128, 128, 144), (3, 3, 1, 144)
    forms = (partial(upsampled, form=form) for form in ("cpu", "lax"))
    yield "upsampled 5x5", *forms, (2, 16, 16, 1280), (5, 5, 1280, 96)
    forms = (lambda x, _, form=form: max_pool_3x3(x, form) for form in ("cpu", "lax"))
    yield "max pool 3x3", *forms, (2, 256, 256, 64), ()
    yield "bilinear 2x", lambda x, _: upsample(x), resize, (2, 128, 128, 32), ()
    yield "batch norm", batch_norm, batch_norm_plain, (2, 256, 256, 96), (96,)


def measure(function: Callable, x: Array, weights: Array) -> list[float]:
    """Returns the milliseconds of the forward pass, and of the gradients of x and of `weights`."""
    cotangent = jax.jit(function)(x, weights)

    def input_gradient(x: Array, weights: Array, g: Array) -> Array:
        return jax.vjp(lambda x: function(x, weights), x)[1](g)[0]

    def kernel_gradient(x: Array, weights: Array, g: Array) -> Array:
        return jax.vjp(lambda weights: function(x, weights), weights)[1](g)[0]

    passes = [lambda x, weights, g: function(x, weights), input_gradient, kernel_gradient]
    return [milliseconds(f, x, weights, cotangent) for f in passes]


def milliseconds(function: Callable, *arguments: Any) -> float:
    """Returns the least CPU time of several runs of `function`, compiled."""
    program = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(program(*arguments))
    least = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        jax.block_until_ready(program(*arguments))
        least = min(least, time.process_time() - start)
    return 1000 * least


def convolve_cpu_by_name(x: Array, kernel: Array, **options: Any) -> Array:
    """Calls `convolve_cpu`, whose custom gradient takes no keywords."""
    return convolve_cpu(x, kernel, options["stride"], options["padding"], options["dilation"])


def cells(x: Array, kernel: Array) -> Array:
    """Convolves 16 channels that the pixels of a cell share, and 6 of each pixel."""
    return CellConv(12, use_bias=False).apply(
        {"params": {"kernel": kernel}}, x[..., :16], x[..., 16:]
    )


def pixels(x: Array, kernel: Array) -> Array:
    """Computes what `cells` computes, from the pixels."""
    batch, height, width, _ = x.shape
    own = from_cells(x[..., 16:].reshape(batch, height, width, 4, 6))
    both = jnp.concatenate([enlarge_nearest(x[..., :16], 2), own], axis=-1)
    y = to_cells(convolve_lax(both, kernel, 1, ((0, 0), (0, 0)), 1))
    return y.reshape(*y.shape[:3], 4, 12)


def conv_transpose_lax(x: Array, kernel: Array) -> Array:
    return lax.conv_transpose(
        x, kernel, (2, 2), "SAME", dimension_numbers=DIMENSIONS, transpose_kernel=True
    )


def pointwise_lax(x: Array, kernel: Array, stride: int = 1) -> Array:
    return convolve_lax(x, kernel[None, None], stride, ((0, 0), (0, 0)), 1)


def pointwise_strided(x: Array, kernel: Array, stride: int) -> Array:
    return convolve(x, kernel[None, None], stride)


def depthwise(x: Array, kernel: Array, stride: int, form: str) -> Array:
    return DepthwiseConv(stride, form=form).apply({"params": {"kernel": kernel}}, x)


def upsampled(x: Array, kernel: Array, form: str) -> Array:
    params = {"kernel": kernel, "bias": jnp.zeros(kernel.shape[-1])}
    return UpsampledConv(kernel.shape[-1], len(kernel), form=form).apply({"params": params}, x)


def resize(x: Array, _: Array) -> Array:
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, 2 * height, 2 * width, channels), "bilinear")


def batch_norm(x: Array, scale: Array) -> Array:
    zeros = jnp.zeros_like(scale)
    return normalise(x, scale, zeros, zeros, None, 1e-5, None)[0]


def batch_norm_plain(x: Array, scale: Array) -> Array:
    mean, var = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
    return (x - mean) * lax.rsqrt(var + 1e-5) * scale


if __name__ == "__main__":
    main(sys.argv[1:])
