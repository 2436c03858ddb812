"""What MODNet learns: semantics, detail and alpha of the subject, each with its own loss.

Source: ZHKKKe/MODNet, src/trainer.py, supervised_training_iter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.image import rssn, trimap
from matting_jax.image.colour import jitter
from matting_jax.image.filters import blur3
from matting_jax.image.geometry import downsample
from matting_jax.losses import absolute, l2, mean
from matting_jax.tasks import each_sample, random_flip
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos with their alpha.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3], with or without denoised copies (see `image.rssn`),
    or `image` and `alpha`. `config.synthesis` holds the probabilities and ranges of the
    augmentation. Returns inputs {image} and truth {alpha, trimap}, float32.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel
    # The author's kernel sizes are for images of 256 pixels, and grow with each further 256.
    scale = max(batch["alpha"].shape[1] // 256, 1)

    def sample(key: Array, arrays: Arrays) -> tuple[Array, Array, Array]:
        keys = jax.random.split(key, 5)
        alpha = arrays["alpha"]
        if "image" in arrays:
            image = jitter(keys[0], arrays["image"], options.jitter)
        else:
            denoising, composition = jax.random.split(keys[4])
            arrays = rssn.denoise(denoising, arrays, options.rssn)
            foreground = jitter(keys[0], arrays["foreground"], options.jitter)
            background = jitter(keys[1], arrays["background"], options.jitter)
            image, *_ = rssn.compose(composition, foreground, alpha, background, options.rssn)
        image, alpha = random_flip(keys[2], options.flip, (image, alpha))
        dilation, erosion = scale * jax.random.randint(keys[3], (2,), smallest, largest + 1)
        return image, alpha, trimap.modnet(alpha, dilation, erosion, scale * largest)

    image, alpha, unknown = each_sample(sample, keys, batch)
    return {"image": image}, {"alpha": alpha, "trimap": unknown}


def semantic_target(alpha: Array) -> Array:
    """Computes the semantics of alpha [B, H, W, 1]: reduced to a sixteenth and blurred."""
    return blur3(downsample(alpha, 16))


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the weighted sum of the three losses, and its terms.

    Args:
        outputs: `semantic`, `detail` and `alpha` of the network.
        inputs: `image` [B, H, W, 3].
        truth: `alpha` and `trimap` (0, exactly 0.5, 1), [B, H, W, 1].
        config: `config.task` holds the weights.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms `semantic`, `detail` and `matte`.
    """
    weights, trimap = config.task, truth["trimap"]
    alpha, prediction = truth["alpha"], outputs["alpha"]
    boundary = trimap == 0.5

    # L_s: semantics against the reduced and blurred alpha.
    semantic = l2(outputs["semantic"], semantic_target(alpha), axis_name)

    # L_d: detail inside the boundary; other pixels contribute 0 to the mean.
    detail = mean(absolute(jnp.where(boundary, outputs["detail"] - alpha, 0)), axis_name)

    # L_a: alpha, and again inside the boundary with the trimap around it.
    inside = jnp.where(boundary, prediction, trimap)
    matte = matte_loss(prediction, inside, alpha, inputs["image"], weights, axis_name)

    terms = {
        "semantic": weights.semantic_weight * semantic,
        "detail": weights.detail_weight * detail,
        "matte": weights.matte_weight * matte,
    }
    return sum(terms.values()), terms


def matte_loss(
    prediction: Array,
    inside: Array,
    alpha: Array,
    image: Array,
    weights: Any,
    axis_name: str | None = None,
) -> Array:
    """Computes the L1 and compositional losses of alpha over the image and inside the boundary.

    Args:
        prediction: predicted alpha [B, H, W, 1].
        inside: the prediction inside the boundary and known values around it [B, H, W, 1].
        alpha: true alpha [B, H, W, 1].
        image: [B, H, W, 3] in [0, 1].
        weights: `boundary_weight` of the losses of `inside`, and `compositional_weight`.
        axis_name: mapped axis; means are over the pixels of all its devices.
    """
    # The image as the network sees it, in [-1, 1], is composed onto black.
    image = 2 * image - 1
    total = 0
    for estimate, weight in ((prediction, 1), (inside, weights.boundary_weight)):
        difference = mean(absolute(estimate - alpha), axis_name)
        compositional = mean(absolute(image * estimate - image * alpha), axis_name)
        total += weight * (difference + weights.compositional_weight * compositional)
    return total


TASK = Task(synthesize=synthesize, loss=loss, denoised=may_denoise)
