"""RSSN: composites whose two parts differ less than pasted photos do.

The discrepancies of resolution and semantics are a matter of the data: backgrounds of high
resolution without a subject of their own. Those of sharpness and noise are reduced here, each by
chance, for one sample: the background is blurred as by a lens; both parts are denoised, or share
one noise. Source: Li et al., Bridging Composite and Real, IJCV 2022, section 4.3; JizhiziLi/GFM,
core/data.py, whose bytes wrap around where noise leaves 0 to 255; these stay at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.image.composite import composite
from matting_jax.image.filters import box_mean

Array = jax.Array
PARTS = ("foreground", "background")


def denoise(key: Array, arrays: Mapping[str, Array], options: Any) -> dict[str, Array]:
    """`arrays` with the chance `options.denoise` of denoised colours, in all parts or in none.

    The denoised copies, `foreground_denoised` and `background_denoised`, and `foreground2_denoised`
    where a second foreground lies behind, are left out after that; without them nothing changes.
    """
    names = [name for name in arrays if name.endswith("_denoised")]
    copies = {name.removesuffix("_denoised"): arrays[name] for name in names}
    arrays = {name: x for name, x in arrays.items() if name not in names}
    if not copies.keys() >= set(PARTS) or not options.denoise:
        return arrays
    chosen = jax.random.bernoulli(key, options.denoise)
    return arrays | {part: jnp.where(chosen, x, arrays[part]) for part, x in copies.items()}


def compose(
    key: Array, foreground: Array, alpha: Array, background: Array, options: Any
) -> tuple[Array, Array, Array]:
    """The composite, and the colours of foreground and background in it, each [H, W, 3] in [0, 1].

    foreground and background [H, W, 3], alpha [H, W, 1]. With the chance `options.sharpness` the
    background is blurred by a square of one of `options.blur_sizes`; with `options.noise` one field
    of Gaussian noise, its deviation `options.noise_deviation` of 255, is added to all three. A
    chance of 0 leaves out. Raises ValueError for options that cannot be followed.
    """
    check(options)
    keys = jax.random.split(key, 4)
    if options.sharpness:
        blurs = [partial(box_blur, size=size) for size in options.blur_sizes]
        which = jax.random.randint(keys[0], (), 0, len(blurs))
        blurred = jax.random.bernoulli(keys[1], options.sharpness)
        background = lax.switch(jnp.where(blurred, which + 1, 0), [lambda x: x, *blurs], background)
    parts = composite(foreground, alpha, background), foreground, background
    if not options.noise:
        return parts
    noisy = jax.random.bernoulli(keys[2], options.noise)
    field = jax.random.normal(keys[3], foreground.shape, foreground.dtype)
    field = jnp.where(noisy, options.noise_deviation / 255 * field, 0)
    return tuple(jnp.where(noisy, jnp.clip(part + field, 0, 1), part) for part in parts)


def check(options: Any) -> None:
    """Raise ValueError unless chances lie in [0, 1] and blurs have sizes."""
    for name in ("sharpness", "noise", "denoise"):
        if not 0 <= options[name] <= 1:
            raise ValueError(
                f"config.synthesis.rssn.{name} is {options[name]}, but a chance lies in [0, 1]."
            )
    if not options.blur_sizes or min(options.blur_sizes) < 1:
        raise ValueError(
            f"config.synthesis.rssn.blur_sizes is {tuple(options.blur_sizes)}, but must hold sides "
            "of at least 1."
        )


def box_blur(x: Array, size: int) -> Array:
    """x [H, W, C] as a mean over size x size places, see `box_mean`."""
    return box_mean(x[None], size)[0]
