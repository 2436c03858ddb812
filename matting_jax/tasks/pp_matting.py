"""Task of PP-Matting: classes of pixels, detail in the transition, and alpha from both.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/ppmatting.py and losses/loss.py,
datasets/matting_dataset.py and transforms/transforms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.image import rssn
from matting_jax.image.colour import distort
from matting_jax.image.composite import composite
from matting_jax.image.filters import gaussian_blur_sigma
from matting_jax.image.jpeg import recompress
from matting_jax.losses import charbonnier, gradient_difference, mean, region_mean
from matting_jax.tasks import apply_randomly, each_sample, random_flip
from matting_jax.tasks.modnet_paddle import random_blur, random_trimap
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

EPSILON = 1e-6
SHARPEN_SIGMA, SHARPEN_SIZES = 5.0, (31, 3, 5, 7, 9)
JPEG_QUALITIES = 70, 94


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos with their alpha.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3], with or without denoised copies (see `image.rssn`),
    or `image` and `alpha`. `config.synthesis` holds the probabilities and ranges of the
    augmentation. Returns inputs {image} and truth {alpha, trimap, foreground, background}, float32;
    for photos the image is also the foreground and the background.

    As published, the colours of image, foreground and background are distorted independently. The
    trimap is made from the alpha before it is blurred, and from the crop. PaddleSeg makes it from
    the whole photo, which differs near the crop's edges.
    """
    options = config.synthesis

    def sample(key: Array, arrays: Arrays) -> tuple[Arrays, Arrays]:
        keys = jax.random.split(key, 11)
        alpha = arrays["alpha"]
        unknown = random_trimap(keys[:2], alpha, options.trimap_kernel, options.trimap_iterations)
        if "image" in arrays:
            images = [arrays["image"]]
        else:
            arrays = rssn.denoise(keys[9], arrays, options.rssn)
            images = rssn.compose(
                keys[10], arrays["foreground"], alpha, arrays["background"], options.rssn
            )
        order = jax.random.permutation(keys[2], 4)
        images = [
            distort(key, x, options.distort, order)
            for key, x in zip(jax.random.split(keys[3], len(images)), images, strict=True)
        ]
        both = random_blur(keys[4], jnp.concatenate([*images, alpha], -1), options.blur)
        colours, alpha = both[..., :-1], both[..., -1:]
        colours = change_randomly(keys[5], options.sharpen, sharpen, colours)
        image = change_randomly(keys[6], options.noise, add_noise, colours[..., :3])
        image = change_randomly(keys[7], options.jpeg, compress, image)
        image, alpha, unknown, layers = random_flip(
            keys[8], options.flip, (image, alpha, unknown, colours[..., 3:])
        )
        photo = len(images) == 1
        foreground, background = (image, image) if photo else jnp.split(layers, 2, axis=-1)
        truth = {"foreground": foreground, "background": background}
        return {"image": image}, truth | {"alpha": alpha, "trimap": unknown}

    return each_sample(sample, keys, batch)


def change_randomly(
    key: Array, probability: float, change: Callable[[Array, Array], Array], x: Array
) -> Array:
    """Returns `change(key, x)` with `probability`, x otherwise."""
    keys = jax.random.split(key)
    return apply_randomly(keys[0], probability, partial(change, keys[1]), x)


def sharpen(key: Array, x: Array) -> Array:
    """Sharpens an image [H, W, 3], or an image with its layers [H, W, 9], by unsharp masking.

    The Gaussian's size and the weight are random for the image and fixed for the layers.
    """
    keys = jax.random.split(key)
    size = jax.random.choice(keys[0], jnp.array(SHARPEN_SIZES))
    weight = jax.random.uniform(keys[1], (), x.dtype, 0.1, 0.5)
    parts = [(x[..., :3], size, weight)]
    if x.shape[-1] > 3:
        parts.append((x[..., 3:], SHARPEN_SIZES[0], 0.5))
    blurred = [
        (y, weight, gaussian_blur_sigma(y, SHARPEN_SIGMA, size, max(SHARPEN_SIZES)))
        for y, size, weight in parts
    ]
    sharp = [y + weight * (y - soft) for y, weight, soft in blurred]
    return jnp.clip(jnp.concatenate(sharp, axis=-1), 0, 1)


def add_noise(key: Array, image: Array) -> Array:
    """Adds Gaussian noise with a random mean up to 0.04 and a random variance up to 0.001."""
    keys = jax.random.split(key, 3)
    offset = jax.random.uniform(keys[0], (), image.dtype, 0, 0.04)
    variance = jax.random.uniform(keys[1], (), image.dtype, 0, 0.001)
    noise = jnp.sqrt(variance) * jax.random.normal(keys[2], image.shape, image.dtype)
    return jnp.clip(image + offset + noise, 0, 1)


def compress(key: Array, image: Array) -> Array:
    """Applies JPEG compression of a random quality."""
    smallest, largest = JPEG_QUALITIES
    return recompress(image, jax.random.randint(key, (), smallest, largest + 1))


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the weighted sum of the losses, and its terms.

    Args:
        outputs: `semantic` [B, H, W, 3], `alpha` and, if the network has that branch, `detail`
            [B, H, W, 1].
        inputs: not used.
        truth: `alpha`, `trimap` (0, exactly 0.5, 1), `foreground` and `background` [B, H, W, 3] in
            [0, 1].
        config: `config.task` holds the weights.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms: `semantic`; `detail_alpha` and `detail_gradient`, means over the
        transition, 0 without any; `fusion_alpha`, `fusion_composition` and `fusion_gradient`, means
        over all pixels.
    """
    weights, alpha = config.task, truth["alpha"]
    transition = (truth["trimap"] == 0.5).astype(alpha.dtype)
    terms = {"semantic": weights.semantic_weight * semantic_loss(outputs, truth, axis_name)}

    if "detail" in outputs:
        detail = outputs["detail"]
        # Both are masked before the filter, so the edge of the mask is in both gradients.
        for name, error in (
            ("alpha", charbonnier(detail - alpha, EPSILON) * transition),
            ("gradient", gradient_difference(detail * transition, alpha * transition, EPSILON)),
        ):
            error = region_mean(error, transition, EPSILON, axis_name)
            terms[f"detail_{name}"] = weights.detail_weight * error

    fusion = outputs["alpha"]
    # Colours in [-1, 1], as the network sees them.
    layers = [2 * truth[name] - 1 for name in ("foreground", "background")]
    difference = composite(layers[0], fusion, layers[1]) - composite(layers[0], alpha, layers[1])
    for name, error in (
        ("alpha", charbonnier(fusion - alpha, EPSILON)),
        ("composition", charbonnier(difference, EPSILON)),
        ("gradient", gradient_difference(fusion, alpha, EPSILON)),
    ):
        terms[f"fusion_{name}"] = weights.fusion_weight * mean(error, axis_name)
    return sum(terms.values()), terms


def semantic_loss(outputs: Arrays, truth: Arrays, axis_name: str | None) -> Array:
    """Computes the mean of -log of the probability of each pixel's class in the trimap."""
    foreground, transition, background = jnp.split(outputs["semantic"], 3, axis=-1)
    trimap = truth["trimap"]
    probability = jnp.where(trimap == 0, background, foreground)
    probability = jnp.where(trimap == 0.5, transition, probability)
    return mean(-jnp.log(probability + EPSILON), axis_name)


TASK = Task(synthesize=synthesize, loss=loss, denoised=may_denoise)
