"""Affine transformations about the middle of an image, drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def random_affine(key: Array, ranges: Mapping[str, Any], height: int, width: int) -> Array:
    """A transformation [2, 3] from the places (x, y, 1) of the result to those of the image.

    Both are measured from the middle. `ranges`: `rotation` and `shear`, the largest angles in
    degrees, `translation`, the largest part of each side, and `scale`, lowest and highest. The
    image is sheared along x, scaled, rotated, and then moved by whole pixels.
    Source: torchvision.transforms.RandomAffine.
    """
    keys = jax.random.split(key, 4)
    angle, shear = (
        jnp.deg2rad(jax.random.uniform(k, (), minval=-ranges[name], maxval=ranges[name]))
        for k, name in ((keys[0], "rotation"), (keys[1], "shear"))
    )
    low, high = ranges["scale"]
    scale = jax.random.uniform(keys[2], (), minval=low, maxval=high)
    furthest = ranges["translation"] * jnp.array([width, height], jnp.float32)
    move = jnp.round(jax.random.uniform(keys[3], (2,), minval=-1, maxval=1) * furthest)
    cos, sin, tan = jnp.cos(angle), jnp.sin(angle), jnp.tan(shear)
    # The inverse of scale * rotation * [[1, -tan], [0, 1]], at the place less the move.
    inverse = jnp.array([[cos - tan * sin, sin + tan * cos], [-sin, cos]]) / scale
    return jnp.concatenate([inverse, -(inverse @ move)[:, None]], axis=1)


def warp(image: Array, transform: Array, nearest: bool = False) -> Array:
    """`image` [H, W, C] moved by `transform`, 0 where it does not reach.

    Between neighbouring pixels, without antialiasing where it shrinks; or the `nearest` one.
    """
    height, width = image.shape[:2]
    middle = jnp.array([(width - 1) / 2, (height - 1) / 2])
    y, x = jnp.mgrid[:height, :width]
    places = jnp.stack([x, y], -1) - middle
    places = places @ transform[:, :2].T + transform[:, 2] + middle
    if nearest:
        return pixels(image, jnp.round(places).astype(jnp.int32))
    first = jnp.floor(places)
    weight = (places - first)[..., None]
    first = first.astype(jnp.int32)
    total = 0
    for right in (0, 1):
        for down in (0, 1):
            share_x = weight[..., 0, :] if right else 1 - weight[..., 0, :]
            share_y = weight[..., 1, :] if down else 1 - weight[..., 1, :]
            total += share_x * share_y * pixels(image, first + jnp.array([right, down]))
    return total


def pixels(image: Array, places: Array) -> Array:
    """The pixels of `image` [H, W, C] at integer places (x, y) [..., 2], 0 outside."""
    x, y = places[..., 0], places[..., 1]
    inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    # JAX reads some pixel of the image for a place outside.
    return jnp.where(inside[..., None], jnp.asarray(image)[y, x], 0)
