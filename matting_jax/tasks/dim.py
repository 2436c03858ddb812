"""What Deep Image Matting learns: alpha where the trimap is unknown, before and after refinement.

Source: open-mmlab/mmagic, models/editors/dim, models/losses/pixelwise_loss.py and configs/dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.image import rssn, trimap
from matting_jax.image.composite import composite
from matting_jax.losses import charbonnier, region_mean
from matting_jax.tasks import each_sample
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

EPSILON = 1e-12
NO_COLOURS = (
    "the composition loss needs the colours of foreground and background, which photos with their "
    "alpha lack: pass --config.task.composition_weight=0, or foregrounds and backgrounds"
)


def check(config: Any) -> None:
    """Raise ValueError where nothing would be learnt, or photos should teach a composition."""
    weights, refine = config.task, config.model.refine
    if not (
        weights.alpha_weight or weights.composition_weight or refine and weights.refinement_weight
    ):
        raise ValueError(
            "no loss is left: set task.alpha_weight or task.composition_weight above 0, or with "
            "model.refine task.refinement_weight"
        )
    if config.data.train.images and weights.composition_weight:
        raise ValueError(NO_COLOURS)


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Composites, or photos with their alpha, under a random trimap.

    `keys`: one random key a sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha` [B, H, W, 1]
    and `background` [B, H, W, 3], with denoised copies or without (see `image.rssn`), or `image`
    and `alpha`. `config.synthesis` holds the chances of a flip and of RSSN, and the smallest and
    largest size of the ellipses that erode and dilate. Returns inputs
    {image, trimap} and truth {alpha} with the colours of composites, float32. mmagic reads files of
    whole composites, cut down to bytes, and resizes the crop; here the resized crop is composed.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Arrays, Arrays]:
        keys = jax.random.split(key, 4)
        flip = jax.random.bernoulli(keys[0], options.flip)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
        truth = {name: jnp.where(flip, x[:, ::-1], x) for name, x in arrays.items()}
        alpha = truth["alpha"]
        if "image" in truth:
            image = truth.pop("image")
        else:
            truth = rssn.denoise(keys[2], truth, options.rssn)
            image, truth["foreground"], truth["background"] = rssn.compose(
                keys[3], truth["foreground"], alpha, truth["background"], options.rssn
            )
        erosion, dilation = jax.random.randint(keys[1], (2,), smallest, largest + 1)
        unknown = trimap.mmagic(alpha, erosion, dilation, largest=largest)
        return {"image": image, "trimap": unknown}, truth

    arrays = {name: x for name, x in batch.items() if name != "index"}
    return each_sample(sample, keys, arrays)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The weighted sum of the losses, and its terms `alpha`, `composition` and `refinement`.

    `outputs`: `alpha`, and where the network refines it `coarse_alpha`, which then has the first
    two terms; without it there is no third. A term of weight 0 is left out. Means are over the
    unknown pixels of all devices of `axis_name`.
    """
    weights, refined = config.task, outputs["alpha"]
    unknown = (inputs["trimap"] == 0.5).astype(refined.dtype)
    coarse = outputs.get("coarse_alpha", refined)

    def over_unknown(difference: Array) -> Array:
        values = jnp.mean(charbonnier(difference, EPSILON), -1, keepdims=True)
        return region_mean(unknown * values, unknown, EPSILON, axis_name)

    terms = {}
    if weights.alpha_weight:
        terms["alpha"] = weights.alpha_weight * over_unknown(coarse - truth["alpha"])
    if weights.composition_weight:
        if "foreground" not in truth:
            raise ValueError(NO_COLOURS)
        composed = composite(truth["foreground"], coarse, truth["background"])
        terms["composition"] = weights.composition_weight * over_unknown(composed - inputs["image"])
    if weights.refinement_weight and "coarse_alpha" in outputs:
        terms["refinement"] = weights.refinement_weight * over_unknown(refined - truth["alpha"])
    return sum(terms.values()), terms


TASK = Task(synthesize=synthesize, loss=loss, check=check, denoised=may_denoise)
