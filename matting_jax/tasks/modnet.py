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
from matting_jax.tasks import each_sample
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Composites, or photos with their alpha, and what the network should say of them.

    `keys`: one random key a sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha` [B, H, W, 1]
    and `background` [B, H, W, 3], with denoised copies or without (see `image.rssn`), or `image`
    and `alpha`. `config.synthesis` holds the chances and ranges of the augmentation. Returns inputs
    {image} and truth {alpha, trimap}, float32.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel
    # The author's kernel sides are for 256 pixels of image side, and grow with each 256 more.
    unit = max(batch["alpha"].shape[1] // 256, 1)

    def sample(key: Array, arrays: Arrays) -> tuple[Array, Array, Array]:
        keys = jax.random.split(key, 5)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
        alpha = arrays["alpha"]
        if "image" in arrays:
            image = jitter(keys[0], arrays["image"], options.jitter)
        else:
            reduction, composition = jax.random.split(keys[4])
            arrays = rssn.denoise(reduction, arrays, options.rssn)
            foreground = jitter(keys[0], arrays["foreground"], options.jitter)
            background = jitter(keys[1], arrays["background"], options.jitter)
            image, *_ = rssn.compose(composition, foreground, alpha, background, options.rssn)
        flip = jax.random.bernoulli(keys[2], options.flip)
        image = jnp.where(flip, image[:, ::-1], image)
        alpha = jnp.where(flip, alpha[:, ::-1], alpha)
        dilation, erosion = unit * jax.random.randint(keys[3], (2,), smallest, largest + 1)
        return image, alpha, trimap.modnet(alpha, dilation, erosion, unit * largest)

    arrays = {name: x for name, x in batch.items() if name != "index"}
    image, alpha, unknown = each_sample(sample, keys, arrays)
    return {"image": image}, {"alpha": alpha, "trimap": unknown}


def semantic_target(alpha: Array) -> Array:
    """The semantics of alpha [B, H, W, 1]: its blurred sixteenth, [B, H/16, W/16, 1]."""
    return blur3(downsample(alpha, 16))


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The weighted sum of the three losses, and its terms `semantic`, `detail` and `matte`.

    `outputs`: `semantic`, `detail` and `alpha` of the network. `truth`: `alpha` and `trimap`
    (0, exactly 0.5, 1). Means are over all pixels of all devices of `axis_name`.
    """
    weights, trimap = config.task, truth["trimap"]
    alpha, prediction = truth["alpha"], outputs["alpha"]
    boundary = trimap == 0.5

    # L_s: semantics against the blurred sixteenth of alpha.
    semantic = l2(outputs["semantic"], semantic_target(alpha), axis_name)

    # L_d: detail inside the boundary; the rest counts in the mean with 0.
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
    """L1 and compositional loss of `prediction`, and of `inside` times `weights.boundary_weight`.

    `inside` is the prediction inside the boundary and known around it; the compositional part
    counts `weights.compositional_weight`. `image` [B, H, W, 3] in [0, 1], the rest [B, H, W, 1].
    """
    # The compositional part composes the image as the network sees it, in [-1, 1], on black.
    image = 2 * image - 1
    total = 0
    for estimate, weight in ((prediction, 1), (inside, weights.boundary_weight)):
        difference = mean(absolute(estimate - alpha), axis_name)
        compositional = mean(absolute(image * estimate - image * alpha), axis_name)
        total += weight * (difference + weights.compositional_weight * compositional)
    return total


TASK = Task(synthesize=synthesize, loss=loss, denoised=may_denoise)
