"""What PP-Matting learns: classes of pixels, detail in the transition, and alpha of both.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/ppmatting.py and losses/loss.py,
datasets/matting_dataset.py and transforms/transforms.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.image import rssn
from matting_jax.image.colour import distort
from matting_jax.image.composite import composite
from matting_jax.image.filters import gaussian_blur_sigma, gradient_length
from matting_jax.image.jpeg import recompress
from matting_jax.losses import absolute, charbonnier, mean, region_mean
from matting_jax.tasks import each_sample
from matting_jax.tasks.modnet_paddle import random_blur, random_trimap
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

EPSILON = 1e-6
SHARPEN_SIGMA, SHARPEN_SIZES = 5.0, (31, 3, 5, 7, 9)
JPEG_QUALITIES = 70, 94


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Composites, or photos with their alpha, and what the network should say of them.

    `keys`: one random key a sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha` [B, H, W, 1]
    and `background` [B, H, W, 3], with denoised copies or without (see `image.rssn`), or `image`
    and `alpha`. `config.synthesis` holds the chances and ranges of the augmentation. Returns inputs
    {image} and truth {alpha, trimap, foreground, background}, float32; the colours of a photo stand
    for both of its layers.

    As published, the layers' colours are distorted apart from those of their composite. The trimap
    is that of the alpha before it is blurred, and of the crop, where PaddleSeg takes the whole
    photo's: they differ near the crop's edges.
    """
    options = config.synthesis

    def sample(key: Array, arrays: Arrays) -> tuple[Array, ...]:
        keys = jax.random.split(key, 11)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
        alpha = arrays["alpha"]
        unknown = random_trimap(keys[:2], alpha, options.trimap_kernel, options.trimap_iterations)
        if "image" in arrays:
            pictures = [arrays["image"]]
        else:
            arrays = rssn.denoise(keys[9], arrays, options.rssn)
            pictures = rssn.compose(
                keys[10], arrays["foreground"], alpha, arrays["background"], options.rssn
            )
        order = jax.random.permutation(keys[2], 4)
        apart = jax.random.split(keys[3], len(pictures))
        pictures = [
            distort(key, picture, options.distort, order)
            for key, picture in zip(apart, pictures, strict=True)
        ]
        everything = random_blur(keys[4], jnp.concatenate([*pictures, alpha], -1), options.blur)
        colours, alpha = everything[..., :-1], everything[..., -1:]
        colours = by_chance(keys[5], options.sharpen, sharpen, colours)
        image = by_chance(keys[6], options.noise, add_noise, colours[..., :3])
        image = by_chance(keys[7], options.jpeg, through_jpeg, image)
        everything = jnp.concatenate([image, colours[..., 3:], alpha, unknown], axis=-1)
        flip = jax.random.bernoulli(keys[8], options.flip)
        everything = jnp.where(flip, everything[:, ::-1], everything)
        image = everything[..., :3]
        if len(pictures) == 1:
            layers = image, image
        else:
            layers = everything[..., 3:6], everything[..., 6:9]
        return image, everything[..., -2:-1], everything[..., -1:], *layers

    arrays = {name: x for name, x in batch.items() if name != "index"}
    image, *labels = each_sample(sample, keys, arrays)
    names = ("alpha", "trimap", "foreground", "background")
    return {"image": image}, dict(zip(names, labels, strict=True))


def by_chance(key: Array, chance: float, change: Any, x: Array) -> Array:
    """x, with `chance` changed by `change`, a function of a key and x."""
    keys = jax.random.split(key)
    changed = jax.random.bernoulli(keys[0], chance)
    return lax.cond(changed, lambda x: change(keys[1], x), lambda x: x, x)


def sharpen(key: Array, x: Array) -> Array:
    """An image, or an image and its layers, [H, W, 3 or 9], less what a Gaussian leaves of them.

    For the image the Gaussian's size and weight are drawn, those of the layers are fixed.
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
    """`image` with Gaussian noise, a mean up to 0.04 and a variance up to 0.001."""
    keys = jax.random.split(key, 3)
    offset = jax.random.uniform(keys[0], (), image.dtype, 0, 0.04)
    variance = jax.random.uniform(keys[1], (), image.dtype, 0, 0.001)
    noise = jnp.sqrt(variance) * jax.random.normal(keys[2], image.shape, image.dtype)
    return jnp.clip(image + offset + noise, 0, 1)


def through_jpeg(key: Array, image: Array) -> Array:
    """`image` as a JPEG of a drawn quality keeps it."""
    smallest, largest = JPEG_QUALITIES
    return recompress(image, jax.random.randint(key, (), smallest, largest + 1))


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The weighted sum of the losses, and its terms.

    `outputs`: `semantic` [B, H, W, 3], `alpha` and, where the network has that branch, `detail`
    [B, H, W, 1]. `truth`: `alpha`, `trimap` (0, exactly 0.5, 1), `foreground` and `background`
    [B, H, W, 3] in [0, 1]. The terms are `semantic`; `detail_alpha` and `detail_gradient`, means
    over the transition, 0 where there is none; `fusion_alpha`, `fusion_composition` and
    `fusion_gradient`, means over all pixels. All are over all devices of `axis_name`.
    """
    weights, alpha = config.task, truth["alpha"]
    transition = (truth["trimap"] == 0.5).astype(alpha.dtype)
    terms = {"semantic": weights.semantic_weight * semantic_loss(outputs, truth, axis_name)}

    if "detail" in outputs:
        detail = outputs["detail"]
        # Both are cut out before the filter, so the cut's own edge is in both.
        for name, error in (
            ("alpha", charbonnier(detail - alpha, EPSILON) * transition),
            ("gradient", gradient_difference(detail * transition, alpha * transition)),
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
        ("gradient", gradient_difference(fusion, alpha)),
    ):
        terms[f"fusion_{name}"] = weights.fusion_weight * mean(error, axis_name)
    return sum(terms.values()), terms


def semantic_loss(outputs: Arrays, truth: Arrays, axis_name: str | None) -> Array:
    """Mean over all pixels of -log of the probability of the class that the trimap says."""
    foreground, transition, background = jnp.split(outputs["semantic"], 3, axis=-1)
    trimap = truth["trimap"]
    right = jnp.where(trimap == 0, background, foreground)
    right = jnp.where(trimap == 0.5, transition, right)
    return mean(-jnp.log(right + EPSILON), axis_name)


def gradient_difference(prediction: Array, truth: Array) -> Array:
    """How far the lengths of two maps' gradients are apart, [B, H, W, 1]."""
    lengths = [gradient_length(x, EPSILON) for x in (prediction, truth)]
    return absolute(lengths[0] - lengths[1])


TASK = Task(synthesize=synthesize, loss=loss, denoised=may_denoise)
