"""Task of BackgroundMattingV2: alpha, foreground, and where its base network is wrong.

The background that the network sees was captured at another moment than the image: it does not
have the subject's shadow, and differs slightly in noise, colour and position.
Source: PeterL1n/BackgroundMattingV2, train_base.py, train_refine.py and dataset/augmentation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.image.affine import random_affine, warp
from matting_jax.image.colour import distort, distort_hsv
from matting_jax.image.composite import composite
from matting_jax.image.filters import box_blur, sharpen
from matting_jax.image.geometry import crop_middle, resize
from matting_jax.losses import absolute, gradient_difference, l2, mean
from matting_jax.tasks import apply_randomly, each_sample, random_flip
from matting_jax.tasks.task import Task

Array = jax.Array
Arrays = dict[str, Array]


def check(config: Any) -> None:
    """Raises ValueError if the stages or views cannot be trained."""
    if config.task.base_steps and not config.model.refine:
        raise ValueError(
            f"task.base_steps is {config.task.base_steps}, but without model.refine all steps "
            "train the base network only: set it to 0"
        )
    multiple = 4 if config.model.refine else 1
    for view in views(config):
        sides = view if isinstance(view, tuple | list) else ()
        if len(sides) != 2 or min(sides) < 1 or any(side % multiple for side in sides):
            raise ValueError(
                f"synthesis.views holds {view}, but each view must be a height and a width, "
                f"multiples of {multiple}"
            )


def views(config: Any) -> Sequence[tuple[int, int]]:
    """Returns the sizes of the views, which the steps take in turn: one, of the crop, if empty."""
    side = config.data.crop.size
    return config.synthesis.views or [(side, side)]


def stage(model: nn.Module, config: Any, step: int) -> tuple[nn.Module, tuple[int, int]]:
    """Returns the network that `step` trains, and its view.

    The first `config.task.base_steps` train the base network only, at the size at which it sees
    the views later.
    """
    sizes = views(config)
    view = sizes[step % len(sizes)]
    if step > config.task.base_steps:
        return model, view
    return model.clone(refine=False), tuple(int(side * model.backbone_scale) for side in view)


def synthesize(
    keys: Array, batch: Arrays, config: Any, view: tuple[int, int]
) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth: composites with their captured backgrounds.

    Each sample has its own random shadow, blur, noise and affine; the official programs share one
    over a batch.

    Args:
        keys: one random key per sample.
        batch: uint8 `foreground` [B, S, S, 3], `alpha` [B, S, S, 1] and `background` [B, S, S, 3].
        config: `config.synthesis` holds the probabilities and ranges.
        view: height and width of the results.

    Returns:
        Inputs {image, background, keys} and truth {alpha, foreground}, float32.

    Raises:
        ValueError: the batch holds photos, whose background is not known.
    """
    if "foreground" not in batch:
        raise ValueError(
            "bgmv2 learns from composites, whose background is known: set "
            "config.data.train.foregrounds and config.data.train.backgrounds, not photos"
        )
    options = config.synthesis

    def sample(key: Array, arrays: Arrays) -> tuple[Arrays, Arrays]:
        keys = jax.random.split(key, 7)
        subject = jnp.concatenate([arrays["foreground"], arrays["alpha"]], axis=-1)
        subject = change_layer(keys[0], subject, options.foreground)
        background = change_layer(keys[1], arrays["background"], options.background)
        layers = crop_view(jnp.concatenate([subject, background], axis=-1), view)
        foreground, alpha, background = jnp.split(layers, (3, 4), axis=-1)

        shaded = add_shadow(keys[2], background, alpha, options.shadow)
        image = composite(foreground, alpha, shaded)
        noisy = jax.random.bernoulli(keys[3], options.noise.chance)
        image, captured = (
            jnp.where(noisy, add_noise(key, x, options.noise.deviation), x)
            for key, x in zip(jax.random.split(keys[4]), (image, background), strict=True)
        )
        captured = change_capture(keys[5], captured, options.capture)
        inputs = {"image": image, "background": captured, "keys": keys[6]}
        return inputs, {"alpha": alpha, "foreground": foreground}

    return each_sample(sample, keys, batch)


def change_layer(key: Array, layer: Array, options: Any) -> Array:
    """Moves, flips, blurs, sharpens and recolours a layer.

    `layer` is a foreground with its alpha [H, W, 4] or a background [H, W, 3].
    """
    keys = jax.random.split(key, 7)
    transform = random_affine(keys[0], options.affine, *layer.shape[:2])
    layer = warp(layer, transform)
    layer = random_flip(keys[1], options.flip, layer)
    radius = jax.random.randint(keys[2], (), 0, options.blur_radius + 1)
    largest = 2 * options.blur_radius + 1
    layer = apply_randomly(
        keys[3], options.blur, lambda x: box_blur(x, 2 * radius + 1, largest, "edge"), layer
    )
    layer = apply_randomly(keys[4], options.sharpen, sharpen, layer)
    order = jax.random.permutation(keys[5], 4)
    colours = distort(keys[6], layer[..., :3], {"chance": 1.0, **options.jitter}, order)
    return jnp.concatenate([colours, layer[..., 3:]], axis=-1)


def crop_view(x: Array, view: tuple[int, int]) -> Array:
    """Resizes a square x [S, S, C] to the longer side of `view`, and crops its middle to `view`."""
    side = max(view)
    return crop_middle(resize(x[None], side, side), *view)[0]


def add_shadow(key: Array, background: Array, alpha: Array, options: Any) -> Array:
    """Randomly darkens a background where the subject's shadow falls.

    Args:
        key: random key.
        background: [H, W, 3] in [0, 1].
        alpha: of the subject, [H, W, 1]; moved and blurred it is the shadow.
        options: `chance` (probability), `strength` (maximum), `blur_size` and `affine` (ranges).
    """
    keys = jax.random.split(key, 4)

    def shade(background: Array) -> Array:
        strength = options.strength * jax.random.uniform(keys[1])
        shadow = warp(alpha, random_affine(keys[2], options.affine, *alpha.shape[:2]), nearest=True)
        smallest, largest = options.blur_size
        size = jax.random.randint(keys[3], (), smallest, largest + 1)
        shadow = box_blur(shadow, size, largest, "reflect")
        return jnp.clip(background - strength * shadow, 0, 1)

    return apply_randomly(keys[0], options.chance, shade, background)


def add_noise(key: Array, image: Array, deviation: float) -> Array:
    """Adds Gaussian noise of a random deviation up to `deviation`; clipped to [0, 1]."""
    keys = jax.random.split(key)
    deviation = deviation * jax.random.uniform(keys[0])
    return jnp.clip(image + deviation * jax.random.normal(keys[1], image.shape), 0, 1)


def change_capture(key: Array, background: Array, options: Any) -> Array:
    """Randomly changes the colours and the position of a captured background [H, W, 3]."""
    keys = jax.random.split(key, 5)
    ranges = [options.jitter[name] for name in ("brightness", "contrast", "saturation", "hue")]
    amounts = jnp.array(ranges) * jax.random.uniform(keys[0], (4,), minval=-1, maxval=1)
    order = jax.random.permutation(keys[1], 4)
    recolour = partial(distort_hsv, amounts=amounts, order=order)
    background = apply_randomly(keys[2], options.jitter.chance, recolour, background)
    transform = random_affine(keys[3], options.affine, *background.shape[:2])
    move = partial(warp, transform=transform, nearest=True)
    return apply_randomly(keys[4], options.affine.chance, move, background)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """Computes the sum of the losses of the base network, and of the refiner if there is one.

    Args:
        outputs: of the network, which refines or not.
        inputs: not used.
        truth: `alpha` [B, H, W, 1] and `foreground` [B, H, W, 3].
        config: not used.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms `alpha`, `sobel` (of alpha's gradient), `foreground` and `error`,
        with refinement also `coarse_alpha`, `coarse_sobel` and `coarse_foreground`.
    """
    alpha, foreground = truth["alpha"], truth["foreground"]
    terms = image_terms(outputs["alpha"], outputs["foreground"], alpha, foreground, axis_name)
    if "error" in outputs:
        wrong = lax.stop_gradient(absolute(outputs["alpha"] - alpha))
        terms["error"] = l2(outputs["error"], wrong, axis_name)
        return sum(terms.values()), terms

    coarse = outputs["coarse_alpha"]
    small = [resize(x, *coarse.shape[1:3]) for x in (alpha, foreground)]
    coarse_terms = image_terms(coarse, outputs["coarse_foreground"], *small, axis_name)
    terms |= {f"coarse_{name}": value for name, value in coarse_terms.items()}
    # As released, the coarse alpha receives a gradient from the error here, and none above.
    size = alpha.shape[1:3]
    wrong = absolute(resize(coarse, *size) - alpha)
    terms["error"] = l2(resize(outputs["coarse_error"], *size), wrong, axis_name)
    return sum(terms.values()), terms


def image_terms(
    alpha: Array,
    foreground: Array,
    true_alpha: Array,
    true_foreground: Array,
    axis_name: str | None,
) -> dict[str, Array]:
    """Computes the L1 losses of alpha, of its gradient and of the foreground.

    Args:
        alpha: predicted [B, H, W, 1].
        foreground: predicted [B, H, W, 3].
        true_alpha: [B, H, W, 1].
        true_foreground: [B, H, W, 3].
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The terms `alpha`, `sobel` and `foreground`; pixels with alpha 0 contribute 0 to the last.
    """
    sobel = gradient_difference(alpha, true_alpha, 1e-6)
    visible = true_alpha != 0
    difference = jnp.where(visible, foreground - true_foreground, 0)
    return {
        "alpha": mean(absolute(alpha - true_alpha), axis_name),
        "sobel": mean(sobel, axis_name),
        "foreground": mean(absolute(difference), axis_name),
    }


TASK = Task(
    synthesize=synthesize,
    loss=loss,
    check=check,
    stage=stage,
    ranges={"synthesis.views": "[1, inf)"},
)
