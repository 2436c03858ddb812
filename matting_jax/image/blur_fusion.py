"""Blur fusion: foreground colours of batches on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from matting_jax.image.composite import composite
from matting_jax.image.filters import box_mean
from matting_jax.image.geometry import resize_area, resize_bilinear

Array = jax.Array

SIZES = (90, 6)  # of the boxes, in pixels
FACTOR, LARGE = 4, 360  # of `blur_fusion_by_steps`; LARGE in pixels


def blur_fusion(image: Array, alpha: Array, sizes: tuple[int, ...] = SIZES) -> tuple[Array, Array]:
    """Estimates foreground and background colours, each [B, H, W, 3], by one blur for each size.

    image [B, H, W, 3] and alpha [B, H, W, 1] in [0, 1]. `sizes` are the box sizes in pixels,
    independent of the image's size; (90,) is the fast form of the published method. Source: Forte,
    Approximate Fast Foreground Colour Estimation, ICIP 2021.
    """
    foreground = background = image
    for size in sizes:
        foreground, background = fuse_once(image, alpha, foreground, background, size)
    return foreground, background


def blur_fusion_by_steps(image: Array, alpha: Array) -> tuple[Array, Array]:
    """Estimates both colours as `blur_fusion`, the wide blur on images reduced by FACTOR.

    Takes half the time, with errors that are a tenth larger; images smaller than LARGE are not
    reduced.
    """
    height, width = image.shape[1:3]
    if min(height, width) < LARGE:
        return blur_fusion(image, alpha)
    reduced = (-(-height // FACTOR), -(-width // FACTOR))
    small = resize_area(jnp.concatenate([image, alpha], axis=-1), *reduced)
    photo, opacity = small[..., :3], small[..., 3:]
    wide, narrow = SIZES
    colours = fuse_once(photo, opacity, photo, photo, round(wide / FACTOR))
    both = resize_bilinear(jnp.concatenate(colours, axis=-1), height, width)
    return fuse_once(image, alpha, both[..., :3], both[..., 3:], narrow)


def fuse_once(
    image: Array, alpha: Array, foreground: Array, background: Array, size: int
) -> tuple[Array, Array]:
    """Averages both colours, weighted by their opacity, and corrects the foreground.

    The foreground gets the difference between the image and the composite, weighted by alpha; the
    background does not.
    """
    weighted = jnp.concatenate([alpha, alpha * foreground, (1 - alpha) * background], axis=-1)
    weight, foreground, background = jnp.split(box_mean(weighted, size), (1, 4), axis=-1)
    foreground = foreground / (weight + 1e-5)
    background = background / (1 - weight + 1e-5)
    missing = image - composite(foreground, alpha, background)
    return jnp.clip(foreground + alpha * missing, 0, 1), background


def estimate_layers(image: Array, alpha: Array) -> tuple[Array, Array]:
    """Estimates foreground and background colours [B, H, W, 3] that compose to a photo.

    Blur fusion estimates them; the remaining difference is distributed by alpha, so that they may
    leave [0, 1]. GFM's released recipe takes colours estimated beforehand by closed-form matting.
    """
    foreground, background = blur_fusion(image, alpha)
    missing = image - composite(foreground, alpha, background)
    missing /= jnp.square(alpha) + jnp.square(1 - alpha)
    return foreground + alpha * missing, background + (1 - alpha) * missing
