"""Draws alpha, cut-out and composite of a frame on the device."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from matting_jax.image.blur_fusion import blur_fusion_by_steps
from matting_jax.image.composite import composite
from matting_jax.image.filters import box_mean
from matting_jax.prediction.resized import keep_resized

Array = jax.Array

# Images that can be drawn: 8 or 16 bits; a cut-out has straight colours and alpha.
IMAGES = ("alpha8", "alpha16", "cutout8", "cutout16", "composite8")
FILL = 16  # pixels: where alpha is 0, the colours of a cut-out are the mean of those around


def has_colours(images: tuple[str, ...]) -> bool:
    """Returns whether an image needs foreground colours."""
    return any(not name.startswith("alpha") for name in images)


def draw(layers: Mapping[str, Array], images: tuple[str, ...]) -> dict[str, Array]:
    """Draws images of N frames.

    Args:
        layers: `image` [N, H, W, 3] uint8 and `alpha` [N, H, W, 1] float32; if there are any, the
            network's `foreground` [N, H, W, 3] float32, the frame's own `opacity` [N, H, W, 1]
            uint8 and the new `backdrop` [N or 1, H, W, 3] uint8.
        images: names of IMAGES.

    Returns:
        By name: uint8 or uint16 [N, H, W] of an alpha, [N, H, W, 4] of a cut-out and
        [N, H, W, 3] of a composite.
    """
    alpha = layers["alpha"]
    colours = foreground_of(layers) if has_colours(images) else None
    if "opacity" in layers:  # what is erased from a frame stays erased
        alpha = alpha * layers["opacity"].astype(alpha.dtype) / 255
    drawn = {}
    for name in images:
        bits = 16 if name.endswith("16") else 8
        if name.startswith("alpha"):
            image = alpha[..., 0]
        elif name.startswith("cutout"):
            image = jnp.concatenate([colours, alpha], axis=-1)
        else:
            image = composite(colours, alpha, layers["backdrop"].astype(alpha.dtype) / 255)
        drawn[name] = quantise(image, bits)
    return drawn


def foreground_of(layers: Mapping[str, Array]) -> Array:
    """Returns the foreground colours [N, H, W, 3], the network's or by blur fusion."""
    image, alpha = layers["image"].astype(jnp.float32) / 255, layers["alpha"]
    if "foreground" not in layers:
        both = keep_resized(jnp.concatenate([image, alpha], axis=-1))
        image, alpha = both[..., :3], both[..., 3:]
        colours, _ = blur_fusion_by_steps(image, alpha)
        return jnp.where(alpha == 1, image, colours)
    colours = layers["foreground"]
    # Where alpha is 0 the network leaves the background.
    around = box_mean(jnp.concatenate([alpha * colours, alpha], axis=-1), FILL)
    fill = around[..., :3] / (around[..., 3:] + 1e-5)
    return jnp.where(alpha > 0, colours, jnp.clip(fill, 0, 1))


def quantise(image: Array, bits: int) -> Array:
    """Rounds values in [0, 1] to integers of 8 or 16 bits."""
    dtype = jnp.uint8 if bits == 8 else jnp.uint16
    return jnp.rint(jnp.clip(image, 0, 1) * (2**bits - 1)).astype(dtype)
