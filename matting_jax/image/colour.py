"""Colour operations: ImageNet's normalisation and the colour jitters of several code bases."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from matting_jax.parallel import switch

Array = jax.Array
GREY = (0.299, 0.587, 0.114)  # the weights of Pillow's mode "L"
BISENET_GREY = 74  # of 255
# Mean and standard deviation of ImageNet's RGB in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(image: Array) -> Array:
    """Normalises `image` [..., 3] in [0, 1] to mean 0 and standard deviation 1 over ImageNet."""
    return (image - jnp.array(IMAGENET_MEAN, image.dtype)) / jnp.array(IMAGENET_STD, image.dtype)


def jitter(key: Array, image: Array, ranges: Mapping[str, float]) -> Array:
    """Changes brightness, contrast, saturation and hue of `image` [H, W, 3] in [0, 1] randomly.

    `ranges` holds the range r of each: an offset for `brightness`, a factor of 1 - r to 1 + r for
    `contrast` and `saturation`, a fraction of the colour circle for `hue`. 0 disables one.
    """
    keys = jax.random.split(key, 4)
    brightness, contrast = ranges["brightness"], ranges["contrast"]
    saturation, hue = ranges["saturation"], ranges["hue"]
    if brightness:
        image = dm_pix.random_brightness(keys[0], image, brightness)
    if contrast:
        factor = jax.random.uniform(keys[1], (), minval=1 - contrast, maxval=1 + contrast)
        middle = mean_pixel(image)
        image = factor * (image - middle) + middle
    if saturation or hue:
        # Both in one conversion, whose hue neither saturation nor value changes.
        turned, saturated, value = split_hsv(image)
        if saturation:
            factor = jax.random.uniform(keys[2], (), minval=1 - saturation, maxval=1 + saturation)
            saturated = jnp.clip(factor * saturated, 0, 1)
        if hue:
            turned += jax.random.uniform(keys[3], (), minval=-hue, maxval=hue)
        image = join_hsv(turned, saturated, value)
    return jnp.clip(image, 0, 1)


def mean_pixel(image: Array) -> Array:
    """Computes the mean of `image` [H, W, C] over all pixels, [1, 1, C]."""
    # Rows first: one sum over rows and columns is several times slower on CPU.
    return jnp.mean(jnp.mean(image, 0, keepdims=True), 1, keepdims=True)


def split_hsv(image: Array) -> tuple[Array, Array, Array]:
    """Computes hue, saturation and value of `image` [H, W, 3] in [0, 1], each [H, W, 1]."""
    return tuple(jnp.split(dm_pix.rgb_to_hsv(image), 3, axis=-1))


def join_hsv(hue: Array, saturation: Array, value: Array) -> Array:
    """Computes the image [H, W, 3] of hue, saturation and value, each [H, W, 1].

    The hue is a fraction of the colour circle, and may lie outside [0, 1].
    """
    # Not dm_pix: from its stacked channels XLA for CPU computes each value three times.
    sixths = 6 * (hue - jnp.floor(hue))
    red = jnp.arange(3) == 0
    distance = jnp.abs(sixths - jnp.array([3, 2, 4], hue.dtype))
    share = jnp.clip(jnp.where(red, distance - 1, 2 - distance), 0, 1)
    return value * (1 - saturation + saturation * share)


def jitter_bytes(key: Array, image: Array, ranges: Mapping[str, float]) -> Array:
    """Changes brightness, contrast and saturation of `image` [H, W, 3] in [0, 1] randomly.

    They are applied in this order, and each result is truncated to bytes. `ranges` holds the range
    r of each factor, 1 - r to 1 + r. Contrast is relative to one grey for all images, saturation
    to the mean of each pixel's channels.
    Source: CoinCheung/BiSeNet, lib/data/transform_cv2.py, ColorJitter.
    """
    reach = jnp.array([ranges[name] for name in ("brightness", "contrast", "saturation")])
    brightness, contrast, saturation = 1 + reach * jax.random.uniform(key, (3,), minval=-1)
    x = jnp.rint(255 * image)
    x = truncate(brightness * x)
    x = truncate(BISENET_GREY + contrast * (x - BISENET_GREY))
    colours = jnp.sum(x, axis=-1, keepdims=True)
    return truncate((3 * saturation * x + (1 - saturation) * colours) / 3) / 255


def truncate(x: Array) -> Array:
    """Truncates x to integers from 0 to 255; integers with a small rounding error are kept."""
    return jnp.floor(jnp.clip(x + 1e-4, 0, 255))


def to_grey(image: Array) -> Array:
    """Computes the luma [H, W, 1] of an image [H, W, 3]."""
    return image @ jnp.array(GREY, image.dtype)[:, None]


def scale_brightness(image: Array, factor: Array | float) -> Array:
    """Multiplies `image` [H, W, 3] in [0, 1] by `factor`."""
    return jnp.clip(factor * image, 0, 1)


def scale_contrast(image: Array, factor: Array | float) -> Array:
    """Scales the distance of `image` [H, W, 3] in [0, 1] from its mean grey by `factor`."""
    middle = mean_pixel(to_grey(image))
    return jnp.clip(middle + factor * (image - middle), 0, 1)


def scale_saturation(image: Array, factor: Array | float) -> Array:
    """Scales the distance of each pixel of `image` [H, W, 3] in [0, 1] from its grey."""
    middle = to_grey(image)
    return jnp.clip(middle + factor * (image - middle), 0, 1)


def rotate_hue(image: Array, turn: Array | float) -> Array:
    """Rotates the hue of `image` [H, W, 3] in [0, 1] by a fraction of the colour circle."""
    hue, saturation, value = split_hsv(image)
    return join_hsv(hue + turn, saturation, value)


def distort(key: Array, image: Array, ranges: Mapping[str, float], order: Array) -> Array:
    """Changes brightness, contrast, saturation and hue of `image`, each with some probability.

    Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/transforms/transforms.py, RandomDistort, which
    rounds to bytes after each; this function does not.

    Args:
        key: random key.
        image: [H, W, 3] in [0, 1].
        ranges: `chance`, the probability of each change, and the range r of each: a factor of
            1 - r to 1 + r, for `hue` a fraction of the colour circle.
        order: permutation of 0 to 3, the order in which the changes are applied.
    """
    operations = [
        lambda image, amount: scale_brightness(image, 1 + ranges["brightness"] * amount),
        lambda image, amount: scale_contrast(image, 1 + ranges["contrast"] * amount),
        lambda image, amount: scale_saturation(image, 1 + ranges["saturation"] * amount),
        lambda image, amount: rotate_hue(image, ranges["hue"] * amount),
        lambda image, _: image,
    ]
    keys = jax.random.split(key, 2)
    amounts = jax.random.uniform(keys[0], (4,), image.dtype, -1, 1)
    chosen = jnp.where(jax.random.bernoulli(keys[1], ranges["chance"], (4,)), order, 4)

    def change(i, image):
        return switch(chosen[i], operations, image, amounts[i])

    return lax.fori_loop(0, 4, change, image)


def shift_hsv(
    image: Array, hue: Array | float, saturation: Array | float, value: Array | float
) -> Array:
    """Shifts hue, saturation and value of an image.

    Args:
        image: [H, W, 3] in [0, 1].
        hue: rotation in degrees.
        saturation: offset; the result is reflected at 0 and 1.
        value: offset; the result is reflected at 0 and 1.
    """
    turned, *others = split_hsv(image)
    moved = [jnp.abs(x + y) for x, y in zip(others, (saturation, value), strict=True)]
    return join_hsv(turned + hue / 360, *(jnp.where(x > 1, 2 - x, x) for x in moved))


def jitter_hsv(key: Array, image: Array, alpha: Array, ranges: Mapping[str, float]) -> Array:
    """Shifts hue, saturation and value of an image randomly.

    Source: Yaoyi-Li/GCA-Matting, dataloader/data_generator.py, RandomJitter.

    Args:
        key: random key.
        image: [H, W, 3] in [0, 1].
        alpha: [H, W, 1]; where it is 0 everywhere, the image is returned unchanged.
        ranges: `hue`, the exclusive limit of a shift by whole degrees; `saturation` and `value`,
            factors f of a shift by up to f * (1.1 - m), m the mean where alpha is above 0.
    """
    keys = jax.random.split(key)
    hue = jax.random.randint(keys[0], (), -ranges["hue"], ranges["hue"])
    visible = alpha > 0
    pixels = jnp.sum(visible)
    _, *others = split_hsv(image)
    sums = [jnp.sum(jnp.sum(x, 0, where=visible)) for x in others]
    reach = 1.1 - jnp.stack(sums) / jnp.maximum(pixels, 1)
    reach *= jnp.array([ranges["saturation"], ranges["value"]], image.dtype)
    saturation, value = reach * jax.random.uniform(keys[1], (2,), image.dtype, -1, 1)
    shift = partial(shift_hsv, hue=hue, saturation=saturation, value=value)
    return switch((pixels > 0).astype(jnp.int32), [lambda image: image, shift], image)


def distort_hsv(image: Array, amounts: Array, order: Array) -> Array:
    """Changes brightness, contrast, saturation and hue of `image` [H, W, 3] in [0, 1].

    `amounts` [4]: an offset of all values, the factors minus 1 of all values and of the saturation
    in HSV, and a fraction of the colour circle. `order` is the permutation of 0 to 3 in which they
    are applied. Source: kornia 0.4.1, augmentation.ColorJitter.
    """

    def saturate(image: Array) -> Array:
        hue, saturation, value = split_hsv(image)
        return join_hsv(hue, jnp.clip(saturation * (1 + amounts[2]), 0, 1), value)

    operations = [
        lambda image: jnp.clip(image + amounts[0], 0, 1),
        lambda image: jnp.clip(image * (1 + amounts[1]), 0, 1),
        saturate,
        lambda image: rotate_hue(image, amounts[3]),
    ]
    return lax.fori_loop(0, 4, lambda i, image: switch(order[i], operations, image), image)


def colour_classes(label: np.ndarray, classes: int) -> np.ndarray:
    """Draws integers [H, W] as colours float32 [H, W, 3] in [0, 1].

    Up to three classes are greys from black to white, more have a colour each. Labels that are not
    a class are black.
    """
    if classes <= 3:
        colours = np.repeat(np.linspace(0, 1, classes, dtype=np.float32)[:, None], 3, -1)
    else:
        colours = np.random.default_rng(0).uniform(0.2, 1, (classes, 3)).astype(np.float32)
    picture = colours[np.minimum(label, classes - 1)]
    return np.where((label < classes)[..., None], picture, np.float32(0))
