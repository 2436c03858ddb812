"""Colour jitter."""
from __future__ import annotations

from collections.abc import Mapping

import dm_pix
import jax
import jax.numpy as jnp

Array = jax.Array


def jitter(key: Array, image: Array, ranges: Mapping[str, float]) -> Array:
    """`image` [H, W, 3] in [0, 1] with random brightness, contrast, saturation and hue.

    `ranges` holds for each how far it may go: an offset for `brightness`, a factor of 1 - r to
    1 + r for `contrast` and `saturation`, a fraction of the colour circle for `hue`. 0 leaves out.
    """
    keys = jax.random.split(key, 4)
    brightness, contrast = ranges["brightness"], ranges["contrast"]
    saturation, hue = ranges["saturation"], ranges["hue"]
    if brightness:
        image = dm_pix.random_brightness(keys[0], image, brightness)
    if contrast:
        image = dm_pix.random_contrast(keys[1], image, 1 - contrast, 1 + contrast)
    if saturation:
        image = dm_pix.random_saturation(keys[2], image, 1 - saturation, 1 + saturation)
    if hue:
        image = dm_pix.random_hue(keys[3], image, hue)
    return jnp.clip(image, 0, 1)
