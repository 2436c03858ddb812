"""What PaddleSeg's MODNet learns: as `modnet`, its losses, trimaps and augmentation of its own.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/modnet.py, datasets/matting_dataset.py and
transforms/transforms.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from matting_jax.image import rssn, trimap
from matting_jax.image.colour import distort
from matting_jax.image.filters import gaussian_blur
from matting_jax.losses import absolute, l2, mean
from matting_jax.tasks import each_sample
from matting_jax.tasks.modnet import matte_loss, semantic_target
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Composites, or photos with their alpha, and what the network should say of them.

    As `modnet.synthesize`, and its trimaps, distortion of colours, blur and flip are those of
    PaddleSeg. The trimap is that of the alpha before it is blurred with the image, and of the crop,
    where PaddleSeg takes the whole photo's: they differ near the crop's edges.
    """
    options = config.synthesis

    def sample(key: Array, arrays: Arrays) -> tuple[Array, Array, Array]:
        keys = jax.random.split(key, 8)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
        alpha = arrays["alpha"]
        image = arrays.get("image")
        if image is None:
            arrays = rssn.denoise(keys[6], arrays, options.rssn)
            image, *_ = rssn.compose(
                keys[7], arrays["foreground"], alpha, arrays["background"], options.rssn
            )
        unknown = random_trimap(keys[:2], alpha, options.trimap_kernel, options.trimap_iterations)
        order = jax.random.permutation(keys[2], 4)
        image = distort(keys[3], image, options.distort, order)
        both = random_blur(keys[4], jnp.concatenate([image, alpha], axis=-1), options.blur)
        everything = jnp.concatenate([both, unknown], axis=-1)
        flip = jax.random.bernoulli(keys[5], options.flip)
        return jnp.split(jnp.where(flip, everything[:, ::-1], everything), (3, 4), axis=-1)

    arrays = {name: x for name, x in batch.items() if name != "index"}
    image, alpha, unknown = each_sample(sample, keys, arrays)
    return {"image": image}, {"alpha": alpha, "trimap": unknown}


def random_trimap(
    keys: Array, alpha: Array, sizes: tuple[int, int], times: tuple[int, int]
) -> Array:
    """PaddleSeg's trimap of alpha [H, W, 1], the ellipse's size and how often drawn by two keys."""
    size = jax.random.randint(keys[0], (), sizes[0], sizes[1] + 1)
    iterations = jax.random.randint(keys[1], (), times[0], times[1] + 1)
    return trimap.paddleseg(alpha, size, iterations, sizes[1])


def random_blur(key: Array, x: Array, chance: float) -> Array:
    """x [H, W, C], with `chance` blurred by a Gaussian of 3, or twice as often 5, 7 or 9 taps."""
    keys = jax.random.split(key)
    drawn = jax.random.randint(keys[0], (), 3, 10)
    size = drawn + 1 - drawn % 2  # the even ones are made odd
    blurred = jax.random.bernoulli(keys[1], chance)
    return lax.cond(blurred, lambda x: gaussian_blur(x, size), lambda x: x, x)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The weighted sum of the losses, and its terms `semantic`, `detail`, `matte`, `consistency`.

    Arguments as of `modnet.loss`. Detail counts inside the boundary alone, around it the matte loss
    takes the true alpha, and outside it semantics and alpha should agree.
    """
    weights, trimap = config.task, truth["trimap"]
    alpha, prediction = truth["alpha"], outputs["alpha"]
    boundary = trimap == 0.5

    semantic = l2(outputs["semantic"], semantic_target(alpha), axis_name)

    difference = absolute(jnp.where(boundary, outputs["detail"] - alpha, 0))
    share = mean(boundary.astype(alpha.dtype), axis_name)
    detail = mean(difference, axis_name) / (share + 1e-6)

    inside = jnp.where(boundary, prediction, alpha)
    matte = matte_loss(prediction, inside, alpha, inputs["image"], weights, axis_name)

    # A sixteenth counts with 0 where its first pixel is in the boundary.
    difference = outputs["semantic"] - semantic_target(prediction)
    difference = jnp.where(boundary[:, ::16, ::16], 0, difference)
    consistency = mean(jnp.square(difference), axis_name)

    terms = {
        "semantic": weights.semantic_weight * semantic,
        "detail": weights.detail_weight * detail,
        "matte": weights.matte_weight * matte,
        "consistency": weights.consistency_weight * consistency,
    }
    return sum(terms.values()), terms


TASK = Task(synthesize=synthesize, loss=loss, denoised=may_denoise)
