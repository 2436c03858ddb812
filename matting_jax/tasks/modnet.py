"""Task of MODNet: semantics, detail and alpha of the subject, each with its own loss.

Sources: arXiv 2011.11961, section "MODNet", equations 1 to 4, for the form "paper";
ZHKKKe/MODNet, src/trainer.py, supervised_training_iter, for the form "official".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.choices import one_of
from matting_jax.image import rssn, trimap
from matting_jax.image.blur_fusion import estimate_layers
from matting_jax.image.colour import jitter
from matting_jax.image.composite import composite
from matting_jax.image.filters import blur3
from matting_jax.image.geometry import downsample
from matting_jax.losses import absolute, l2, mean
from matting_jax.tasks import each_sample, random_flip
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

FORMS = ("official", "paper")


def check(config: Any) -> None:
    """Raises ValueError for an invalid form of the losses."""
    one_of(form_of(config), FORMS, "task.form")


def form_of(config: Any) -> str:
    """Returns the form of the losses; runs from before there were two used the official one."""
    return config.task.get("form", "official")


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos with their alpha.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3], with or without denoised copies (see `image.rssn`),
    or `image` and `alpha`. `config.synthesis` holds the probabilities and ranges of the
    augmentation. Returns inputs {image} and truth {alpha, trimap}, float32; for the form "paper"
    also the `foreground` and `background` that compose to the image. Those of photos are estimated.
    """
    options, paper = config.synthesis, form_of(config) == "paper"
    smallest, largest = options.trimap_kernel
    # The author's kernel sizes are for images of 256 pixels, and grow with each further 256.
    scale = max(batch["alpha"].shape[1] // 256, 1)

    def sample(key: Array, arrays: Arrays) -> tuple[Array, ...]:
        keys = jax.random.split(key, 5)
        if "image" in arrays:
            image = jitter(keys[0], arrays["image"], options.jitter)
            image, alpha = random_flip(keys[2], options.flip, (image, arrays["alpha"]))
            layers = []
        else:
            denoising, composition = jax.random.split(keys[4])
            arrays = rssn.denoise(denoising, arrays, options.rssn)
            foreground = jitter(keys[0], arrays["foreground"], options.jitter)
            background = jitter(keys[1], arrays["background"], options.jitter)
            # Before they are composed: XLA would jitter them again for the image.
            foreground, alpha, background = random_flip(
                keys[2], options.flip, (foreground, arrays["alpha"], background)
            )
            image, *layers = rssn.compose(composition, foreground, alpha, background, options.rssn)
        dilation, erosion = scale * jax.random.randint(keys[3], (2,), smallest, largest + 1)
        unknown = trimap.modnet(alpha, dilation, erosion, scale * largest)
        return image, alpha, layers if paper else [], unknown

    image, alpha, layers, unknown = each_sample(sample, keys, batch)
    truth = {"alpha": alpha, "trimap": unknown}
    if paper:
        foreground, background = layers or estimate_layers(image, alpha)
        truth |= {"foreground": foreground, "background": background}
    return {"image": image}, truth


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
        truth: `alpha` and `trimap` (0, exactly 0.5, 1), [B, H, W, 1]; for the form "paper" also
            `foreground` and `background` [B, H, W, 3].
        config: `config.task` holds the weights and the form: "paper" halves L_s and compares the
            image with the composite of the true layers under the predicted alpha; "official"
            compares the image on black under the predicted and the true alpha.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms `semantic`, `detail` and `matte`.
    """
    weights, trimap = config.task, truth["trimap"]
    alpha, prediction = truth["alpha"], outputs["alpha"]
    boundary, paper = trimap == 0.5, form_of(config) == "paper"

    # L_s: semantics against the reduced and blurred alpha.
    semantic = l2(outputs["semantic"], semantic_target(alpha), axis_name)
    if paper:
        semantic = semantic / 2

    # L_d: detail inside the boundary; other pixels contribute 0 to the mean.
    detail = mean(absolute(jnp.where(boundary, outputs["detail"] - alpha, 0)), axis_name)

    # L_a: alpha, and again inside the boundary with the trimap around it.
    inside = jnp.where(boundary, prediction, trimap)
    if paper:
        colours = partial(difference_of_composites, inputs["image"], truth)
    else:
        colours = partial(difference_on_black, inputs["image"], alpha)
    matte = matte_loss(prediction, inside, alpha, colours, weights, axis_name)

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
    colours: Callable[[Array], Array],
    weights: Any,
    axis_name: str | None = None,
) -> Array:
    """Computes the L1 and compositional losses of alpha over the image and inside the boundary.

    Args:
        prediction: predicted alpha [B, H, W, 1].
        inside: the prediction inside the boundary and known values around it [B, H, W, 1].
        alpha: true alpha [B, H, W, 1].
        colours: maps an alpha to the difference of colours that it makes, [B, H, W, 3].
        weights: `boundary_weight` of the losses of `inside`, and `compositional_weight`.
        axis_name: mapped axis; means are over the pixels of all its devices.
    """
    total = 0
    for estimate, weight in ((prediction, 1), (inside, weights.boundary_weight)):
        difference = mean(absolute(estimate - alpha), axis_name)
        compositional = mean(absolute(colours(estimate)), axis_name)
        total += weight * (difference + weights.compositional_weight * compositional)
    return total


def difference_of_composites(image: Array, layers: Arrays, estimate: Array) -> Array:
    """Computes the image minus the composite of its true layers under an estimated alpha.

    All colours are in [0, 1]; `layers` holds `foreground` and `background`.
    """
    return image - composite(layers["foreground"], estimate, layers["background"])


def difference_on_black(image: Array, alpha: Array, estimate: Array) -> Array:
    """Computes the difference of two alphas of the image as the network sees it, in [-1, 1].

    This is the released trainer's compositional loss, which knows no layers.
    """
    image = 2 * image - 1
    return image * estimate - image * alpha


TASK = Task(
    synthesize=synthesize,
    loss=loss,
    check=check,
    denoised=may_denoise,
    added={"task.form": "official"},
)
