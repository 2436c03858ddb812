"""The forms of layers and of random choices that the library selects between by the platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from matting_jax.benchmark.accelerator.case import Case
from matting_jax.image import rssn
from matting_jax.models.layers.attention import contextual_attention
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.pooling import max_pool_2x2, max_pool_3x3, max_pool_with_indices

FORMS = ("lax", "cpu")
DTYPES = (jnp.float32, jnp.bfloat16)
# Batch, side, channels and stride of depth-wise convolutions of MobileNetV2 at 512 x 512.
DEPTHWISE = ((8, 256, 96, 2), (8, 128, 144, 1), (8, 32, 576, 1))
TILES = (17, 33, 65)

shape = jax.ShapeDtypeStruct


def layers(small: bool) -> Iterator[Case]:
    """Yields all cases of this file."""
    yield from depthwise(small)
    yield from pooling(small)
    yield from attention(small)
    yield from random_branches(small)


def gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns jitted f(cotangent, *arguments) -> gradients of all arguments."""
    return jax.jit(lambda g, *arguments: jax.vjp(function, *arguments)[1](g))


def depthwise(small: bool) -> Iterator[Case]:
    """Yields depth-wise convolutions: grouped ("lax") and as sums of shifted images ("cpu")."""
    for batch, side, channels, stride in DEPTHWISE:
        if small:
            batch, side, channels = 1, 16, 8
        for dtype in DTYPES:
            x = shape((batch, side, side, channels), dtype)
            kernel = shape((3, 3, 1, channels), dtype)
            g = shape((batch, side // stride, side // stride, channels), dtype)
            for form in FORMS:
                layer = DepthwiseConv(stride, form=form)

                def run(x: Any, kernel: Any, layer: Any = layer) -> jax.Array:
                    return layer.apply({"params": {"kernel": kernel}}, x)

                size = f"{batch}x{side}x{side}x{channels} stride {stride}"
                name = f"{size} {jnp.dtype(dtype).name} {form}"
                yield Case("depth-wise", f"{name} forward", jax.jit(run), (x, kernel))
                yield Case("depth-wise", f"{name} gradient", gradient(run), (g, x, kernel))


def pooling(small: bool) -> Iterator[Case]:
    """Yields gradients of max pooling, by `lax.reduce_window` and by our forms."""
    forms = {
        "3x3 lax": partial(max_pool_3x3, form="lax"),
        "3x3 cpu": partial(max_pool_3x3, form="cpu"),
        "2x2 lax": max_pool_2x2,
        "2x2 with indices": lambda x: max_pool_with_indices(x)[0],
    }
    batch, side = (1, 16) if small else (8, 256)
    for dtype in DTYPES:
        x, g = (
            shape((batch, side, side, 64), dtype),
            shape((batch, side // 2, side // 2, 64), dtype),
        )
        for form, pool in forms.items():
            name = f"{batch}x{side}x{side}x64 {jnp.dtype(dtype).name} {form}"
            yield Case("max pooling", f"{name} gradient", gradient(pool), (g, x))


def attention(small: bool) -> Iterator[Case]:
    """Yields the contextual attention of GCA with tiles of several sides."""
    # Forward for a photo of 2048 x 2048, gradients for a batch of crops of 512 x 512.
    for tile in TILES:
        attend = partial(contextual_attention, tile=tile)
        side = 16 if small else 128
        arguments = attention_shapes(1, side)
        yield Case("attention", f"{16 * side}x{16 * side} tile {tile}", jax.jit(attend), arguments)
        side = 16 if small else 32
        arguments = attention_shapes(1 if small else 8, side)
        yield Case(
            "attention",
            f"batch of {16 * side}x{16 * side} tile {tile} gradient",
            gradient(attend),
            (arguments[1], *arguments),
        )


def attention_shapes(batch: int, side: int) -> tuple[Any, ...]:
    """Returns the shapes of guide, values and unknown of photos of 16 * side."""
    guide, values = (batch, side, side, 64), (batch, 2 * side, 2 * side, 128)
    return tuple(shape(x, jnp.float32) for x in (guide, values, guide[:-1]))


def random_branches(small: bool) -> Iterator[Case]:
    """Yields composition with a random blur, `lax.switch` in each sample of a batch.

    Under `jax.vmap` all branches are computed for all samples, under `lax.map` one branch for one
    sample after the other.
    """
    batch, side = (2, 32) if small else (8, 512)
    options = ConfigDict(dict(sharpness=0.5, noise=0.5, denoise=0.0, noise_deviation=10.0))
    options.blur_sizes = (4, 6) if small else (20, 30, 40, 50, 60)

    def sample(seed: Any, foreground: Any, alpha: Any, background: Any) -> Any:
        return rssn.compose(jax.random.key(seed), foreground, alpha, background, options)

    colours, alpha = (shape((batch, side, side, n), jnp.float32) for n in (3, 1))
    arguments = (shape((batch,), jnp.uint32), colours, alpha, colours)
    for name, run in (
        ("vmap", jax.vmap(sample)),
        ("map", lambda *batch: lax.map(lambda x: sample(*x), batch)),
    ):
        yield Case(
            "random branches", f"{batch}x{side}x{side} {name}", jax.jit(run), arguments, items=batch
        )
