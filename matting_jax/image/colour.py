"""Colour jitter, MODNet's, BiSeNet's and PaddleSeg's."""
from __future__ import annotations

from collections.abc import Mapping

import dm_pix
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
GREY = (0.299, 0.587, 0.114)  # of Pillow's "L"
BISENET_GREY = 74  # of 255


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


def jitter_bytes(key: Array, image: Array, ranges: Mapping[str, float]) -> Array:
    """`image` [H, W, 3] in [0, 1] with random brightness, contrast and saturation, in this order,
    cut down to bytes after each.

    `ranges` holds for each how far its factor may go, from 1 - r to 1 + r. Contrast is about one
    grey for all images, saturation about the mean of each pixel's colours.
    Source: CoinCheung/BiSeNet, lib/data/transform_cv2.py, ColorJitter.
    """
    reach = jnp.array([ranges[name] for name in ("brightness", "contrast", "saturation")])
    brightness, contrast, saturation = 1 + reach * jax.random.uniform(key, (3,), minval=-1)
    x = jnp.rint(255 * image)
    x = cut(brightness * x)
    x = cut(BISENET_GREY + contrast * (x - BISENET_GREY))
    colours = jnp.sum(x, axis=-1, keepdims=True)
    return cut((3 * saturation * x + (1 - saturation) * colours) / 3) / 255


def cut(x: Array) -> Array:
    """x as bytes: without its fraction and within 0 to 255; rounding takes no whole number down."""
    return jnp.floor(jnp.clip(x + 1e-4, 0, 255))


def grey(image: Array) -> Array:
    """The luma [H, W, 1] of an image [H, W, 3]."""
    return image @ jnp.array(GREY, image.dtype)[:, None]


def scale_brightness(image: Array, factor: Array | float) -> Array:
    """`image` [H, W, 3] in [0, 1] times `factor`."""
    return jnp.clip(factor * image, 0, 1)


def scale_contrast(image: Array, factor: Array | float) -> Array:
    """`image` [H, W, 3] in [0, 1] `factor` times as far from its mean grey."""
    middle = jnp.mean(grey(image))
    return jnp.clip(middle + factor * (image - middle), 0, 1)


def scale_saturation(image: Array, factor: Array | float) -> Array:
    """`image` [H, W, 3] in [0, 1], each pixel `factor` times as far from its grey."""
    middle = grey(image)
    return jnp.clip(middle + factor * (image - middle), 0, 1)


def turn_hue(image: Array, turn: Array | float) -> Array:
    """`image` [H, W, 3] in [0, 1] turned by a fraction of the colour circle."""
    return dm_pix.adjust_hue(image, turn)


def distort(key: Array, image: Array, ranges: Mapping[str, float], order: Array) -> Array:
    """`image` [H, W, 3] in [0, 1] with brightness, contrast, saturation and hue changed by chance.

    `ranges` holds `chance`, and for each how far it may go: a factor of 1 - r to 1 + r, for `hue` a
    fraction of the colour circle. `order` is a permutation of 0 to 3, in which they follow.
    Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/transforms/transforms.py, RandomDistort, which
    rounds to bytes after each; this does not.
    """
    operations = [
        lambda image, amount: scale_brightness(image, 1 + ranges["brightness"] * amount),
        lambda image, amount: scale_contrast(image, 1 + ranges["contrast"] * amount),
        lambda image, amount: scale_saturation(image, 1 + ranges["saturation"] * amount),
        lambda image, amount: turn_hue(image, ranges["hue"] * amount),
        lambda image, _: image,
    ]
    keys = jax.random.split(key, 2)
    amounts = jax.random.uniform(keys[0], (4,), image.dtype, -1, 1)
    chosen = jnp.where(jax.random.bernoulli(keys[1], ranges["chance"], (4,)), order, 4)

    def change(i, image):
        return lax.switch(chosen[i], operations, image, amounts[i])

    return lax.fori_loop(0, 4, change, image)
