"""What GCA learns: alpha where the trimap is unknown, of one foreground or of two in one.

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
    """Raise ValueError where nothing would be learnt."""
    if not any(config.task[f"{name}_weight"] for name in TERMS):
        raise ValueError(
            f"no loss is left: set one of {', '.join(f'task.{name}_weight' for name in TERMS)} "
            "above 0"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Composites of one or two foregrounds under a random trimap.

    `keys`: one random key a sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha` [B, H, W, 1]
    and `background` [B, H, W, 3]; and where samples may combine two foregrounds, `foreground2` and
    `alpha2`: in a sample without a second the first again, with alpha2 0, which changes nothing.
    Colours have denoised copies or none, see `image.rssn`. `config.synthesis` holds the smallest
    and largest size of the ellipses of the trimap, the ranges of the jitter and RSSN's chances.
    Returns inputs {image, trimap} and truth {alpha, foreground, background},
    float32. Colours are never cut down to bytes, as the source does where it combines.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Arrays, Arrays]:
        keys = jax.random.split(key, 4)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
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

    arrays = {name: x for name, x in batch.items() if name != "index"}
    return each_sample(sample, keys, arrays)


def combine(
    foreground: Array, alpha: Array, foreground2: Array, alpha2: Array
) -> tuple[Array, Array]:
    """Colours [H, W, 3] and alpha [H, W, 1] of a foreground with a second one behind it.

    The second's colours mix in where the first is soft, whatever its own alpha is there.
    """
    return composite(foreground, alpha, foreground2), 1 - (1 - alpha) * (1 - alpha2)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The weighted sum of the losses, and its terms by the names of `TERMS`.

    `outputs`: `alpha` of the network. `truth`: `alpha`, and for `comp` the colours `foreground` and
    `background`. A term of weight 0 is left out. Sums over the unknown region by its pixels, of all
    devices of `axis_name`: the source takes each device's own.
    """
    prediction, alpha = outputs["alpha"], truth["alpha"]
    unknown = (inputs["trimap"] == 0.5).astype(prediction.dtype)

    def over_unknown(values: Array) -> Array:
        return region_mean(values, unknown, axis_name=axis_name)

    def comp() -> Array:
        difference = composite(truth["foreground"], prediction, truth["background"])
        # Between colours as the network normalises them, whose mean falls out.
        difference = (difference - inputs["image"]) / jnp.array(IMAGENET_STD, prediction.dtype)
        return over_unknown(unknown * absolute(difference))

    def grad() -> Array:
        difference = sobel_magnitude(prediction) - sobel_magnitude(alpha)
        return over_unknown(unknown * absolute(difference))

    losses = {
        "rec": lambda: over_unknown(unknown * absolute(prediction - alpha)),
        "comp": comp,
        # Known pixels count in the sum, 0.001 each.
        "smooth_l1": lambda: over_unknown(charbonnier(unknown * (prediction - alpha), 1e-6)),
        "grad": grad,
        "gabor": lambda: over_unknown(
            unknown * jnp.square(correlate(prediction - alpha, gabor_filters()))
        ),
    }
    weights = {name: config.task[f"{name}_weight"] for name in TERMS}
    terms = {name: weights[name] * losses[name]() for name in TERMS if weights[name]}
    return sum(terms.values()), terms


TASK = Task(synthesize=synthesize, loss=loss, check=check, denoised=may_denoise)
