"""RSSN: composites whose two layers differ less in sharpness and noise.

The discrepancies of resolution and semantics are a matter of the data: high-resolution backgrounds
without a salient subject. Those of sharpness and noise are reduced here, each with a probability
for each sample: the background is blurred; both layers are denoised, or get the same noise.
Source: Li et al., Bridging Composite and Real, IJCV 2022, section 4.3; JizhiziLi/GFM, core/data.py,
whose bytes wrap around where noise exceeds 0 to 255; here they are clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.choices import is_probability
from matting_jax.image.composite import composite
from matting_jax.image.filters import box_mean

Array = jax.Array
LAYERS = ("foreground", "background")


def denoise(key: Array, arrays: Mapping[str, Array], options: Any) -> dict[str, Array]:
    """Replaces the colours of all layers by denoised copies with probability `options.denoise`.

    `arrays` holds the layers and their copies `foreground_denoised`, `background_denoised` and, for
    a second foreground, `foreground2_denoised`. Returns the layers only. Without copies nothing is
    replaced.
    """
    names = [name for name in arrays if name.endswith("_denoised")]
    copies = {name.removesuffix("_denoised"): arrays[name] for name in names}
    arrays = {name: x for name, x in arrays.items() if name not in names}
    if not copies.keys() >= set(LAYERS) or not options.denoise:
        return arrays
    chosen = jax.random.bernoulli(key, options.denoise)
    return arrays | {name: jnp.where(chosen, x, arrays[name]) for name, x in copies.items()}


def compose(
    key: Array, foreground: Array, alpha: Array, background: Array, options: Any
) -> tuple[Array, Array, Array]:
    """Composites a foreground over a background with fewer discrepancies.

    Args:
        key: random key.
        foreground: [H, W, 3] in [0, 1].
        alpha: [H, W, 1] in [0, 1].
        background: [H, W, 3] in [0, 1].
        options: `sharpness`, the probability that the background is blurred by a box of one of
            `blur_sizes`; `noise`, the probability that the same Gaussian noise, its standard
            deviation `noise_deviation` of 255, is added to all layers and the composite.

    Returns:
        The composite, and the colours of foreground and background in it, each [H, W, 3].

    Raises:
        ValueError: for invalid options.
    """
    check_options(options)
    keys = jax.random.split(key, 4)
    if options.sharpness:
        blurs = [partial(box_blur, size=size) for size in options.blur_sizes]
        which = jax.random.randint(keys[0], (), 0, len(blurs))
        blurred = jax.random.bernoulli(keys[1], options.sharpness)
        background = lax.switch(jnp.where(blurred, which + 1, 0), [lambda x: x, *blurs], background)
    images = composite(foreground, alpha, background), foreground, background
    if not options.noise:
        return images
    noisy = jax.random.bernoulli(keys[2], options.noise)
    add = partial(add_noise, keys[3], deviation=options.noise_deviation / 255)
    return lax.cond(noisy, add, lambda images: images, images)


def add_noise(key: Array, images: tuple[Array, ...], deviation: float) -> tuple[Array, ...]:
    """Adds the same Gaussian noise to images [H, W, 3] in [0, 1], which are clipped."""
    field = deviation * jax.random.normal(key, images[0].shape, images[0].dtype)
    return tuple(jnp.clip(x + field, 0, 1) for x in images)


def check_options(options: Any) -> None:
    """Raises ValueError for probabilities outside [0, 1] and for missing or invalid blur sizes."""
    for name in ("sharpness", "noise", "denoise"):
        is_probability(options[name], f"config.synthesis.rssn.{name}")
    if not options.blur_sizes or min(options.blur_sizes) < 1:
        raise ValueError(
            "config.synthesis.rssn.blur_sizes must hold sizes of at least 1, got "
            f"{tuple(options.blur_sizes)}"
        )


def box_blur(x: Array, size: int) -> Array:
    """Computes the mean of x [H, W, C] over size x size pixels, see `box_mean`."""
    return box_mean(x[None], size)[0]
