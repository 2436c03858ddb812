"""Random affine transformations about the centre of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def random_affine(key: Array, ranges: Mapping[str, Any], height: int, width: int) -> Array:
    """Draws a transformation [2, 3] from positions (x, y, 1) in the output to those in the input.

    Positions are relative to the centre. The image is sheared along x, scaled, rotated, and then
    translated by whole pixels. Source: torchvision.transforms.RandomAffine.

    Args:
        key: random key.
        ranges: `rotation` and `shear`, maximum angles in degrees; `translation`, maximum fraction
            of each side; `scale`, minimum and maximum.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """
    keys = jax.random.split(key, 4)
    angle, shear = (
        jnp.deg2rad(jax.random.uniform(k, (), minval=-ranges[name], maxval=ranges[name]))
        for k, name in ((keys[0], "rotation"), (keys[1], "shear"))
    )
    low, high = ranges["scale"]
    scale = jax.random.uniform(keys[2], (), minval=low, maxval=high)
    limit = ranges["translation"] * jnp.array([width, height], jnp.float32)
    shift = jnp.round(jax.random.uniform(keys[3], (2,), minval=-1, maxval=1) * limit)
    cos, sin, tan = jnp.cos(angle), jnp.sin(angle), jnp.tan(shear)
    # The inverse of scale * rotation * [[1, -tan], [0, 1]], at the position minus the translation.
    inverse = jnp.array([[cos - tan * sin, sin + tan * cos], [-sin, cos]]) / scale
    return jnp.concatenate([inverse, -(inverse @ shift)[:, None]], axis=1)


def warp(image: Array, transform: Array, nearest: bool = False) -> Array:
    """Warps `image` [H, W, C] by `transform`; positions outside the image are 0.

    Samples bilinearly without antialiasing, or the `nearest` pixel.
    """
    height, width = image.shape[:2]
    centre = jnp.array([(width - 1) / 2, (height - 1) / 2])
    y, x = jnp.mgrid[:height, :width]
    positions = jnp.stack([x, y], -1) - centre
    positions = positions @ transform[:, :2].T + transform[:, 2] + centre
    if nearest:
        return read_pixels(image, jnp.round(positions).astype(jnp.int32))
    first = jnp.floor(positions)
    weight = (positions - first)[..., None]
    first = first.astype(jnp.int32)
    total = 0
    for right in (0, 1):
        for down in (0, 1):
            share_x = weight[..., 0, :] if right else 1 - weight[..., 0, :]
            share_y = weight[..., 1, :] if down else 1 - weight[..., 1, :]
            total += share_x * share_y * read_pixels(image, first + jnp.array([right, down]))
    return total


def read_pixels(image: Array, positions: Array) -> Array:
    """Reads the pixels of `image` [H, W, C] at integer positions (x, y) [..., 2]; 0 outside."""
    x, y = positions[..., 0], positions[..., 1]
    inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    # For a position outside the image JAX reads one of its pixels.
    return jnp.where(inside[..., None], jnp.asarray(image)[y, x], 0)
