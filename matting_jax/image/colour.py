"""Changes of colour: ImageNet's normalisation and the jitters of several code bases."""

from __future__ import annotations

from collections.abc import Mapping

import dm_pix
import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
GREY = (0.299, 0.587, 0.114)  # of Pillow's "L"
BISENET_GREY = 74  # of 255
# Mean and deviation of ImageNet's colours in [0, 1], RGB.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(image: Array) -> Array:
    """`image` [..., 3] in [0, 1] to mean 0 and deviation 1 over ImageNet."""
    return (image - jnp.array(IMAGENET_MEAN, image.dtype)) / jnp.array(IMAGENET_STD, image.dtype)


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


def shift_hsv(
    image: Array, hue: Array | float, saturation: Array | float, value: Array | float
) -> Array:
    """`image` [H, W, 3] in [0, 1] with `hue` turned by degrees, and an offset added to saturation
    and value, which are reflected at 0 and 1."""
    x = dm_pix.rgb_to_hsv(image)
    turned = (x[..., 0] + hue / 360) % 1
    offsets = jnp.stack([jnp.asarray(saturation), jnp.asarray(value)]).astype(x.dtype)
    moved = jnp.abs(x[..., 1:] + offsets)
    moved = jnp.where(moved > 1, 2 - moved, moved)
    return dm_pix.hsv_to_rgb(jnp.concatenate([turned[..., None], moved], axis=-1))


def jitter_hsv(key: Array, image: Array, alpha: Array, ranges: Mapping[str, float]) -> Array:
    """`image` [H, W, 3] in [0, 1] with hue, saturation and value moved at random.

    `ranges` holds for `hue` whole degrees, of which less is drawn either way, and factors for
    `saturation` and `value`: each moves by up to its factor times (1.1 - m), m its mean where alpha
    [H, W, 1] is above 0. Where alpha is nowhere, nothing changes. Source: Yaoyi-Li/GCA-Matting,
    dataloader/data_generator.py, RandomJitter.
    """
    keys = jax.random.split(key)
    hue = jax.random.randint(keys[0], (), -ranges["hue"], ranges["hue"])
    visible = alpha > 0
    pixels = jnp.sum(visible)
    means = jnp.sum(dm_pix.rgb_to_hsv(image)[..., 1:], (0, 1), where=visible)
    reach = 1.1 - means / jnp.maximum(pixels, 1)
    reach *= jnp.array([ranges["saturation"], ranges["value"]], image.dtype)
    saturation, value = reach * jax.random.uniform(keys[1], (2,), image.dtype, -1, 1)
    return jnp.where(pixels > 0, shift_hsv(image, hue, saturation, value), image)


def distort_hsv(image: Array, amounts: Array, order: Array) -> Array:
    """`image` [H, W, 3] in [0, 1] with brightness, contrast, saturation and hue changed.

    `amounts` [4]: added to all values, factors of all values and of the saturation in HSV less 1,
    and a fraction of the colour circle. `order` is a permutation of 0 to 3, in which they follow.
    Source: kornia 0.4.1, augmentation.ColorJitter.
    """

    def scale(hsv, factor):
        return hsv.at[..., 1].set(jnp.clip(hsv[..., 1] * factor, 0, 1))

    def turn(hsv, amount):
        return hsv.at[..., 0].set((hsv[..., 0] + amount) % 1)

    operations = [
        lambda image: jnp.clip(image + amounts[0], 0, 1),
        lambda image: jnp.clip(image * (1 + amounts[1]), 0, 1),
        lambda image: dm_pix.hsv_to_rgb(scale(dm_pix.rgb_to_hsv(image), 1 + amounts[2])),
        lambda image: dm_pix.hsv_to_rgb(turn(dm_pix.rgb_to_hsv(image), amounts[3])),
    ]
    return lax.fori_loop(0, 4, lambda i, image: lax.switch(order[i], operations, image), image)
