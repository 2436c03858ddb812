"""What GFM learns: labels at a glance, the detail of the transition, and alpha.

Source: JizhiziLi/GFM, core/train.py, core/evaluate.py and core/data.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax import losses
from matting_jax.choices import one_of
from matting_jax.image import rssn, trimap
from matting_jax.image.blur_fusion import estimate_layers
from matting_jax.image.composite import composite
from matting_jax.image.pyramid import laplacian_pyramid
from matting_jax.losses import absolute, cross_entropy, mean, region_mean
from matting_jax.models.gfm import CLASSES
from matting_jax.tasks import each_sample, random_flip
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

TARGETS = ("consistent", "released")


def check(config: Any) -> None:
    """Raises ValueError if `config.task.targets` is invalid or does not fit the network."""
    one_of(config.task.targets, TARGETS, "task.targets")
    if config.task.targets == "released" and config.model.rosta == "rim":
        raise ValueError(
            "the released targets are those of a single representation: set "
            "--config.task.targets=consistent with rosta rim"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos with their alpha.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3], with or without denoised copies (see `image.rssn`),
    or `image` and `alpha`, whose colours are estimated. `config.synthesis` holds the probabilities
    and ranges; kernel sizes are pixels of the crop. Returns inputs {image} and truth {alpha,
    foreground, background, trimap, eroded, dilated}, float32; the last two not for rosta tt.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Array, ...]:
        keys = jax.random.split(key, 4)
        alpha = arrays["alpha"]
        if "image" in arrays:
            colours = [arrays["image"]]
        else:
            arrays = rssn.denoise(keys[0], arrays, options.rssn)
            colours = rssn.compose(
                keys[1], arrays["foreground"], alpha, arrays["background"], options.rssn
            )
        alpha, colours = random_flip(keys[2], options.flip, (alpha, colours))
        size = jax.random.randint(keys[3], (), smallest, largest + 1)
        return alpha, colours, labels(alpha, size, largest, config.model.rosta)

    alpha, (image, *colours), truth = each_sample(sample, keys, batch)
    foreground, background = colours or estimate_layers(image, alpha)
    truth |= {"alpha": alpha, "foreground": foreground, "background": background}
    return {"image": image}, truth


def labels(alpha: Array, size: Array | int, largest: int, rosta: str) -> Arrays:
    """Makes what the glance decoder learns of an alpha.

    Args:
        alpha: [H, W, 1] in [0, 1].
        size: kernel size of the trimap, from 1 to `largest`; that of the others is twice as large.
        largest: largest `size`.
        rosta: representation, a name of `models.gfm.CLASSES` or "rim".

    Returns:
        `trimap`, and except for tt the `eroded` foreground and the `dilated` subject, [H, W, 1].
    """
    truth = {"trimap": trimap.gfm(alpha, size, largest)}
    if rosta != "tt":
        truth["eroded"] = trimap.gfm_foreground(alpha, 2 * size, 2 * largest)
        truth["dilated"] = trimap.gfm_subject(alpha, 2 * size, 2 * largest)
    return truth


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the weighted sum of the losses, and its terms.

    Args:
        outputs: `glance`, `focus` and `alpha` of the network, with rosta rim those of the three
            representations and the integrated `alpha`.
        inputs: `image`, as `synthesize` returns it.
        truth: as `synthesize` returns it.
        config: `config.task` holds the weights and targets.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms `glance`, `focus`, `fusion` and `composition`. With rosta rim each
        is a sum over the representations, the last two also over the integrated alpha.
    """
    rostas = {"": config.model.rosta}
    if config.model.rosta == "rim":
        rostas = {f"_{rosta}": rosta for rosta in CLASSES}
    alpha, released = truth["alpha"], config.task.targets == "released"
    glance = focus = 0
    for suffix, rosta in rostas.items():
        label = classes(truth, rosta, released)
        glance += glance_loss(outputs[f"glance{suffix}"], label, axis_name)
        focus += focus_loss(outputs[f"focus{suffix}"], truth, rosta, axis_name)
    alphas = [x for name, x in outputs.items() if name.startswith("alpha")]
    fusion = sum(alpha_loss(x, alpha, axis_name) + laplacian(x, alpha, axis_name) for x in alphas)
    composition = sum(composition_loss(x, inputs["image"], truth, axis_name) for x in alphas)

    weights = config.task
    terms = {
        "glance": weights.glance_weight * glance,
        "focus": weights.focus_weight * focus,
        "fusion": weights.fusion_weight * fusion,
        "composition": weights.composition_weight * composition,
    }
    return sum(terms.values()), terms


def classes(truth: Arrays, rosta: str, released: bool) -> Array:
    """Returns the class of each pixel, int32 [B, H, W], that the glance decoder learns.

    The released trainer takes the dilated subject as FT's foreground, and fully opaque pixels as
    BT's subject. This contradicts how it then makes alpha of them.
    """
    names = {"tt": "trimap", "ft": "eroded", "bt": "dilated"}
    if released:
        names |= {"ft": "dilated", "bt": "alpha"}
    label = truth[names[rosta]][..., 0]
    return (2 * label if rosta == "tt" else label >= 1).astype(jnp.int32)


def glance_loss(scores: Array, label: Array, axis_name: str | None) -> Array:
    """Computes the mean cross-entropy of scores [B, H, W, n] for integers [B, H, W].

    As in the source, the scores count as logits although they are sigmoids: with three classes
    the loss cannot fall below 0.55.
    """
    return mean(cross_entropy(scores, label), axis_name)


def focus_loss(focus: Array, truth: Arrays, rosta: str, axis_name: str | None) -> Array:
    """Computes the loss of the focus in the transition.

    Args:
        focus: [B, H, W, 1] in [0, 1].
        truth: `alpha`, `trimap` and except for tt `eroded` and `dilated`.
        rosta: representation: the focus is alpha (tt), what it adds to the eroded foreground (ft),
            or what it takes from the dilated subject (bt).
        axis_name: mapped axis; means are over the pixels of all its devices.
    """
    alpha = truth["alpha"]
    target = {
        "tt": lambda: alpha,
        "ft": lambda: alpha - truth["eroded"],
        "bt": lambda: truth["dilated"] - alpha,
    }[rosta]()
    inside = (truth["trimap"] == 0.5).astype(alpha.dtype)
    # Pixels outside the transition contribute 1e-6 each to the sum.
    difference = region_mean(charbonnier(inside * (focus - target)), inside, 1, axis_name)
    return difference + laplacian(inside * focus, inside * target, axis_name)


def charbonnier(x: Array) -> Array:
    """Computes |x|, smooth at 0, where it is 1e-6."""
    return losses.charbonnier(x, 1e-12)


def alpha_loss(prediction: Array, alpha: Array, axis_name: str | None) -> Array:
    """Computes the mean difference over the whole image."""
    return mean(charbonnier(prediction - alpha), axis_name)


def laplacian(prediction: Array, truth: Array, axis_name: str | None) -> Array:
    """Computes the sum over all scales of the mean differences of arrays [B, H, W, 1]."""
    # The pyramid is linear, so the pyramid of the difference suffices.
    pyramid = laplacian_pyramid(prediction - truth)
    return sum(mean(absolute(level), axis_name) for level in pyramid)


def composition_loss(
    prediction: Array, image: Array, truth: Arrays, axis_name: str | None
) -> Array:
    """Computes the mean over the pixels of the colour differences, summed over the channels.

    Args:
        prediction: alpha [B, H, W, 1].
        image: [B, H, W, 3] in [0, 1].
        truth: `foreground` and `background` [B, H, W, 3].
        axis_name: mapped axis; the mean is over the pixels of all its devices.
    """
    composed = composite(truth["foreground"], prediction, truth["background"])
    # The source's epsilon is relative to colours of 0 to 255.
    difference = charbonnier(255 * (composed - image)) / 255
    return 3 * mean(difference, axis_name)


TASK = Task(synthesize=synthesize, loss=loss, check=check, denoised=may_denoise)
