"""Task of GCA: alpha where the trimap is unknown, of one foreground or of two combined.

Source: Yaoyi-Li/GCA-Matting, trainer.py and dataloader/data_generator.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.image import rssn, trimap
from matting_jax.image.colour import IMAGENET_STD, jitter_hsv
from matting_jax.image.composite import composite
from matting_jax.image.filters import correlate, gabor_filters, sobel_magnitude
from matting_jax.losses import absolute, charbonnier, region_mean
from matting_jax.tasks import each_sample
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

TERMS = ("rec", "comp", "smooth_l1", "grad", "gabor")


def check(config: Any) -> None:
    """Raises ValueError if no loss is left."""
    if not any(config.task[f"{name}_weight"] for name in TERMS):
        raise ValueError(
            f"no loss is left: set one of {', '.join(f'task.{name}_weight' for name in TERMS)} "
            "above 0"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from one or two foregrounds to composite, with random trimaps.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3]. If samples may combine two foregrounds, also
    `foreground2` and `alpha2`; a sample without a second one has the first again with alpha2 0,
    which changes nothing. Denoised copies are optional, see `image.rssn`. `config.synthesis` holds
    the smallest and largest size of the ellipses of the trimap, the ranges of the jitter and RSSN's
    probabilities. Returns inputs {image, trimap} and truth {alpha, foreground, background},
    float32. Colours are never converted to bytes; the source converts combined ones.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Arrays, Arrays]:
        keys = jax.random.split(key, 4)
        arrays = rssn.denoise(keys[2], arrays, options.rssn)
        foreground, alpha = arrays["foreground"], arrays["alpha"]
        if "foreground2" in arrays:
            second = arrays["foreground2"], arrays["alpha2"]
            foreground, alpha = combine(foreground, alpha, *second)
        sizes = jax.random.randint(keys[0], (2,), smallest, largest + 1)
        unknown = trimap.gca(alpha, *sizes, largest)
        foreground = jitter_hsv(keys[1], foreground, alpha, options.jitter)
        image, foreground, background = rssn.compose(
            keys[3], foreground, alpha, arrays["background"], options.rssn
        )
        truth = {"alpha": alpha, "foreground": foreground, "background": background}
        return {"image": image, "trimap": unknown}, truth

    return each_sample(sample, keys, batch)


def combine(
    foreground: Array, alpha: Array, foreground2: Array, alpha2: Array
) -> tuple[Array, Array]:
    """Combines a foreground with a second one behind it.

    The second one's colours mix in where the first is soft, whatever its own alpha is there.

    Args:
        foreground: colours [H, W, 3] of the first.
        alpha: alpha [H, W, 1] of the first.
        foreground2: colours [H, W, 3] of the second.
        alpha2: alpha [H, W, 1] of the second.

    Returns:
        Colours [H, W, 3] and alpha [H, W, 1] of both together.
    """
    return composite(foreground, alpha, foreground2), 1 - (1 - alpha) * (1 - alpha2)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the weighted sum of the losses, and its terms.

    Args:
        outputs: `alpha` of the network.
        inputs: `image` [B, H, W, 3] and `trimap` [B, H, W, 1] with the values 0, 0.5 and 1.
        truth: `alpha`, and for `comp` the colours `foreground` and `background`.
        config: `config.task` holds the weights.
        axis_name: mapped axis; losses are sums over the unknown pixels of all its devices, divided
            by the number of these pixels. The source takes the pixels of each device separately.

    Returns:
        The total, and the terms by the names of `TERMS`; those of weight 0 are omitted.
    """
    prediction, alpha = outputs["alpha"], truth["alpha"]
    unknown = (inputs["trimap"] == 0.5).astype(prediction.dtype)

    def unknown_mean(values: Array) -> Array:
        return region_mean(values, unknown, axis_name=axis_name)

    def comp() -> Array:
        difference = composite(truth["foreground"], prediction, truth["background"])
        # In the network's normalised colours, whose mean cancels out.
        difference = (difference - inputs["image"]) / jnp.array(IMAGENET_STD, prediction.dtype)
        return unknown_mean(unknown * absolute(difference))

    def grad() -> Array:
        difference = sobel_magnitude(prediction) - sobel_magnitude(alpha)
        return unknown_mean(unknown * absolute(difference))

    losses = {
        "rec": lambda: unknown_mean(unknown * absolute(prediction - alpha)),
        "comp": comp,
        # Known pixels contribute 0.001 each to the sum.
        "smooth_l1": lambda: unknown_mean(charbonnier(unknown * (prediction - alpha), 1e-6)),
        "grad": grad,
        "gabor": lambda: unknown_mean(
            unknown * jnp.square(correlate(prediction - alpha, gabor_filters()))
        ),
    }
    weights = {name: config.task[f"{name}_weight"] for name in TERMS}
    terms = {name: weights[name] * losses[name]() for name in TERMS if weights[name]}
    return sum(terms.values()), terms


TASK = Task(synthesize=synthesize, loss=loss, check=check, denoised=may_denoise)
