"""Task of Deep Image Matting: alpha where the trimap is unknown, before and after refinement.

Source: open-mmlab/mmagic, models/editors/dim, models/losses/pixelwise_loss.py and configs/dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.choices import one_of
from matting_jax.image import rssn, trimap
from matting_jax.image.composite import composite
from matting_jax.losses import charbonnier, region_mean
from matting_jax.tasks import each_sample, random_flip
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

EPSILON = 1e-12
TRIMAPS = ("mmagic", "dim")  # rules of `image.trimap`; the second is the paper's
ADDED = {"synthesis.trimap": "mmagic"}
NO_COLOURS = (
    "the composition loss needs foreground and background colours, which photos with their alpha "
    "do not have: pass --config.task.composition_weight=0, or train on foregrounds and backgrounds"
)


def check(config: Any) -> None:
    """Raises ValueError for a wrong trimap rule, no loss, or composition losses of photos."""
    one_of(trimap_rule(config), TRIMAPS, "config.synthesis.trimap")
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


def trimap_rule(config: Any) -> str:
    """Returns config.synthesis.trimap, or the rule of runs without this field."""
    return config.synthesis.get("trimap", ADDED["synthesis.trimap"])


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos, with random trimaps.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3], with or without denoised copies (see `image.rssn`),
    or `image` and `alpha`. `config.synthesis` holds the probabilities of a flip and of RSSN, and
    the rule of the trimaps with the smallest and largest size of its ellipses. Returns inputs
    {image, trimap} and truth {alpha}, for composites also {foreground, background}, float32.
    mmagic reads whole composites of bytes and resizes the crop; here the resized crop is composed.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel
    rule = trimap_rule(config)

    def sample(key: Array, arrays: Arrays) -> tuple[Arrays, Arrays]:
        keys = jax.random.split(key, 4)
        truth = random_flip(keys[0], options.flip, arrays)
        alpha = truth["alpha"]
        if "image" in truth:
            image = truth.pop("image")
        else:
            truth = rssn.denoise(keys[2], truth, options.rssn)
            image, truth["foreground"], truth["background"] = rssn.compose(
                keys[3], truth["foreground"], alpha, truth["background"], options.rssn
            )
        erosion, dilation = jax.random.randint(keys[1], (2,), smallest, largest + 1)
        if rule == "mmagic":
            unknown = trimap.mmagic(alpha, erosion, dilation, largest=largest)
        else:
            unknown = trimap.dim(alpha, dilation, largest=largest)
        return {"image": image, "trimap": unknown}, truth

    return each_sample(sample, keys, batch)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the weighted sum of the losses, and its terms.

    Args:
        outputs: `alpha`, and if the network refines it `coarse_alpha`, which then has the terms
            `alpha` and `composition`.
        inputs: `image` [B, H, W, 3] and `trimap` [B, H, W, 1] with the values 0, 0.5 and 1.
        truth: `alpha`, and for the composition loss `foreground` and `background`.
        config: `config.task` holds the weights.
        axis_name: mapped axis; means are over the unknown pixels of all its devices.

    Returns:
        The total, and the terms `alpha`, `composition` and, with refinement, `refinement`; those of
        weight 0 are omitted.

    Raises:
        ValueError: the composition loss has a weight, but the truth has no colours.
    """
    weights, refined = config.task, outputs["alpha"]
    unknown = (inputs["trimap"] == 0.5).astype(refined.dtype)
    coarse = outputs.get("coarse_alpha", refined)

    def unknown_mean(difference: Array) -> Array:
        values = jnp.mean(charbonnier(difference, EPSILON), -1, keepdims=True)
        return region_mean(unknown * values, unknown, EPSILON, axis_name)

    terms = {}
    if weights.alpha_weight:
        terms["alpha"] = weights.alpha_weight * unknown_mean(coarse - truth["alpha"])
    if weights.composition_weight:
        if "foreground" not in truth:
            raise ValueError(NO_COLOURS)
        composed = composite(truth["foreground"], coarse, truth["background"])
        terms["composition"] = weights.composition_weight * unknown_mean(composed - inputs["image"])
    if weights.refinement_weight and "coarse_alpha" in outputs:
        terms["refinement"] = weights.refinement_weight * unknown_mean(refined - truth["alpha"])
    return sum(terms.values()), terms


TASK = Task(synthesize=synthesize, loss=loss, check=check, denoised=may_denoise, added=ADDED)
