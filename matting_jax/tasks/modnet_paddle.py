"""Task of PaddleSeg's MODNet: as `modnet`, with its own losses, trimaps and augmentation.

Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/modnet.py, datasets/matting_dataset.py and
transforms/transforms.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.image import rssn, trimap
from matting_jax.image.colour import distort
from matting_jax.image.filters import gaussian_blur
from matting_jax.losses import absolute, l2, mean
from matting_jax.tasks import apply_randomly, each_sample, random_flip
from matting_jax.tasks.modnet import difference_on_black, matte_loss, semantic_target
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos with their alpha.

    Arguments and results are those of `modnet.synthesize`; trimaps, colour distortion, blur and
    flip are PaddleSeg's. The trimap is made from the alpha before it is blurred with the image, and
    from the crop. PaddleSeg makes it from the whole photo, which differs near the crop's edges.
    """
    options = config.synthesis

    def sample(key: Array, arrays: Arrays) -> tuple[Array, Array, Array]:
        keys = jax.random.split(key, 8)
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
        image, alpha = both[..., :3], both[..., 3:]
        return random_flip(keys[5], options.flip, (image, alpha, unknown))

    image, alpha, unknown = each_sample(sample, keys, batch)
    return {"image": image}, {"alpha": alpha, "trimap": unknown}


def random_trimap(
    keys: Array, alpha: Array, sizes: tuple[int, int], times: tuple[int, int]
) -> Array:
    """Makes PaddleSeg's trimap of alpha [H, W, 1] with a random kernel and number of iterations.

    Args:
        keys: two random keys.
        alpha: [H, W, 1] in [0, 1].
        sizes: smallest and largest size of the elliptical kernel.
        times: smallest and largest number of iterations.
    """
    size = jax.random.randint(keys[0], (), sizes[0], sizes[1] + 1)
    iterations = jax.random.randint(keys[1], (), times[0], times[1] + 1)
    return trimap.paddleseg(alpha, size, iterations, sizes[1])


def random_blur(key: Array, x: Array, probability: float) -> Array:
    """Blurs x [H, W, C], with `probability`, by a Gaussian of 3, 5, 7 or 9 taps.

    As in the source, 3 taps are half as likely as each of the other sizes.
    """
    keys = jax.random.split(key)
    number = jax.random.randint(keys[0], (), 3, 10)
    size = number + 1 - number % 2  # even numbers become the next odd one
    return apply_randomly(keys[1], probability, lambda x: gaussian_blur(x, size), x)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the weighted sum of the losses, and its terms.

    The detail loss is the mean over the boundary only, the matte loss takes the true alpha around
    it, and outside of it semantics and alpha should agree.

    Args:
        outputs: `semantic`, `detail` and `alpha` of the network.
        inputs: `image` [B, H, W, 3].
        truth: `alpha` and `trimap` (0, exactly 0.5, 1), [B, H, W, 1].
        config: `config.task` holds the weights.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms `semantic`, `detail`, `matte` and `consistency`.
    """
    weights, trimap = config.task, truth["trimap"]
    alpha, prediction = truth["alpha"], outputs["alpha"]
    boundary = trimap == 0.5

    semantic = l2(outputs["semantic"], semantic_target(alpha), axis_name)

    difference = absolute(jnp.where(boundary, outputs["detail"] - alpha, 0))
    share = mean(boundary.astype(alpha.dtype), axis_name)
    detail = mean(difference, axis_name) / (share + 1e-6)

    inside = jnp.where(boundary, prediction, alpha)
    colours = partial(difference_on_black, inputs["image"], alpha)
    matte = matte_loss(prediction, inside, alpha, colours, weights, axis_name)

    # A pixel of the semantics contributes 0 if the first of its 16 x 16 pixels is in the boundary.
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
