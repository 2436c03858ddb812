"""What BackgroundMattingV2 learns: alpha, foreground, and where its base network is wrong.

The background that the network sees is not the one behind the subject: it was captured at another
moment, so it lacks the shadow that the subject throws, and differs a little in noise, colour and
place. Source: PeterL1n/BackgroundMattingV2, train_base.py, train_refine.py and
dataset/augmentation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.image.affine import random_affine, warp
from matting_jax.image.colour import distort, distort_hsv
from matting_jax.image.composite import composite
from matting_jax.image.filters import box_blur, gradient_length, sharpen
from matting_jax.image.geometry import crop_middle, resize
from matting_jax.losses import absolute, l2, mean
from matting_jax.tasks import each_sample
from matting_jax.tasks.task import Task

Array = jax.Array
Arrays = dict[str, Array]


def check(config: Any) -> None:
    """Raise ValueError where `config` asks for something that cannot be trained."""
    if config.task.base_steps and not config.model.refine:
        raise ValueError(
            f"task.base_steps is {config.task.base_steps}, but without model.refine every step "
            "trains the base network alone: leave it 0"
        )
    multiple = 4 if config.model.refine else 1
    for view in views(config):
        sides = view if isinstance(view, tuple | list) else ()
        if len(sides) != 2 or min(sides) < 1 or any(side % multiple for side in sides):
            raise ValueError(
                f"synthesis.views holds {view}, but each must be a height and a width, multiples "
                f"of {multiple}"
            )


def views(config: Any) -> Sequence[tuple[int, int]]:
    """The sizes of `config.synthesis.views`, one a step in turn, or that of the crop."""
    side = config.data.crop.size
    return config.synthesis.views or [(side, side)]


def stage(model: nn.Module, config: Any, step: int) -> tuple[nn.Module, tuple[int, int]]:
    """What the step trains: the first `config.task.base_steps` the base network alone, at the size
    at which it sees the views later."""
    sizes = views(config)
    view = sizes[step % len(sizes)]
    if step > config.task.base_steps:
        return model, view
    return model.clone(refine=False), tuple(int(side * model.backbone_scale) for side in view)


def synthesize(
    keys: Array, batch: Arrays, config: Any, view: tuple[int, int]
) -> tuple[Arrays, Arrays]:
    """Composites with the backgrounds that were captured for them, and what the network should say.

    `keys`: one random key a sample. `batch`: uint8 `foreground` [B, S, S, 3], `alpha` [B, S, S, 1]
    and `background` [B, S, S, 3]. `config.synthesis` holds chances and ranges. Returns inputs
    {image, background, keys} and truth {alpha, foreground} of the size `view`. Where the official
    programs draw one shadow, blur, noise or affine for a batch, each sample has its own here.
    Raises ValueError for photos without a background of their own.
    """
    if "foreground" not in batch:
        raise ValueError(
            "bgmv2 learns from composites, whose background is known: give "
            "config.data.train.foregrounds and config.data.train.backgrounds, not photos"
        )
    options = config.synthesis

    def sample(key: Array, arrays: Arrays) -> tuple[Array, ...]:
        keys = jax.random.split(key, 7)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
        subject = jnp.concatenate([arrays["foreground"], arrays["alpha"]], axis=-1)
        subject = change_layer(keys[0], subject, options.foreground)
        background = change_layer(keys[1], arrays["background"], options.background)
        layers = see_part(jnp.concatenate([subject, background], axis=-1), view)
        foreground, alpha, background = jnp.split(layers, (3, 4), axis=-1)

        shaded = throw_shadow(keys[2], background, alpha, options.shadow)
        image = composite(foreground, alpha, shaded)
        noisy = jax.random.bernoulli(keys[3], options.noise.chance)
        image, captured = (
            jnp.where(noisy, add_noise(key, x, options.noise.deviation), x)
            for key, x in zip(jax.random.split(keys[4]), (image, background), strict=True)
        )
        captured = change_capture(keys[5], captured, options.capture)
        return image, captured, alpha, foreground, keys[6]

    arrays = {name: x for name, x in batch.items() if name != "index"}
    image, captured, alpha, foreground, drop = each_sample(sample, keys, arrays)
    inputs = {"image": image, "background": captured, "keys": drop}
    return inputs, {"alpha": alpha, "foreground": foreground}


def change_layer(key: Array, layer: Array, options: Any) -> Array:
    """A foreground with its alpha [H, W, 4], or a background [H, W, 3], moved, mirrored, blurred or
    sharpened, and its colours changed."""
    keys = jax.random.split(key, 7)
    transform = random_affine(keys[0], options.affine, *layer.shape[:2])
    layer = warp(layer, transform)
    layer = jnp.where(jax.random.bernoulli(keys[1], options.flip), layer[:, ::-1], layer)
    radius = jax.random.randint(keys[2], (), 0, options.blur_radius + 1)
    largest = 2 * options.blur_radius + 1
    layer = sometimes(
        keys[3], options.blur, lambda x: box_blur(x, 2 * radius + 1, largest, "edge"), layer
    )
    layer = sometimes(keys[4], options.sharpen, sharpen, layer)
    order = jax.random.permutation(keys[5], 4)
    colours = distort(keys[6], layer[..., :3], {"chance": 1.0, **options.jitter}, order)
    return jnp.concatenate([colours, layer[..., 3:]], axis=-1)


def see_part(x: Array, view: tuple[int, int]) -> Array:
    """The middle of a square x [S, S, C] at the size `view`: its longer side sees all of the x."""
    side = max(view)
    return crop_middle(resize(x[None], side, side), *view)[0]


def throw_shadow(key: Array, background: Array, alpha: Array, options: Any) -> Array:
    """The background [H, W, 3], by chance darker where the blurred, moved alpha [H, W, 1] lies."""
    keys = jax.random.split(key, 4)

    def shade(background: Array) -> Array:
        strength = options.strength * jax.random.uniform(keys[1])
        shadow = warp(alpha, random_affine(keys[2], options.affine, *alpha.shape[:2]), nearest=True)
        smallest, largest = options.blur_size
        size = jax.random.randint(keys[3], (), smallest, largest + 1)
        shadow = box_blur(shadow, size, largest, "reflect")
        return jnp.clip(background - strength * shadow, 0, 1)

    return sometimes(keys[0], options.chance, shade, background)


def add_noise(key: Array, image: Array, deviation: float) -> Array:
    """`image` with Gaussian noise of a random deviation up to `deviation`, cut to [0, 1]."""
    keys = jax.random.split(key)
    deviation = deviation * jax.random.uniform(keys[0])
    return jnp.clip(image + deviation * jax.random.normal(keys[1], image.shape), 0, 1)


def change_capture(key: Array, background: Array, options: Any) -> Array:
    """The background [H, W, 3] as it was captured: by chance of other colours, and moved a bit."""
    keys = jax.random.split(key, 5)
    ranges = [options.jitter[name] for name in ("brightness", "contrast", "saturation", "hue")]
    amounts = jnp.array(ranges) * jax.random.uniform(keys[0], (4,), minval=-1, maxval=1)
    order = jax.random.permutation(keys[1], 4)
    background = sometimes(
        keys[2], options.jitter.chance, lambda x: distort_hsv(x, amounts, order), background
    )
    transform = random_affine(keys[3], options.affine, *background.shape[:2])
    return sometimes(
        keys[4], options.affine.chance, lambda x: warp(x, transform, nearest=True), background
    )


def sometimes(key: Array, chance: float, change: Any, x: Array) -> Array:
    """`change(x)` with `chance`, else x."""
    return lax.cond(jax.random.bernoulli(key, chance), change, lambda x: x, x)


def loss(
    outputs: Arrays,
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The plain sum of the losses of the base network, or of both where the network refines.

    Terms `alpha`, `sobel` (of alpha's gradient), `foreground` and `error`, with refinement also
    `coarse_alpha`, `coarse_sobel` and `coarse_foreground`. Means are over all pixels of all devices
    of `axis_name`; those where the foreground is not to be seen count with 0.
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
    # As released: here the coarse alpha has a part in the error's gradient, above it has none.
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
    """L1 of alpha [B, H, W, 1], of its gradient, and of the foreground [B, H, W, 3] where there is
    any."""
    steepness, true_steepness = (gradient_length(x, 1e-6) for x in (alpha, true_alpha))
    seen = true_alpha != 0
    return {
        "alpha": mean(absolute(alpha - true_alpha), axis_name),
        "sobel": mean(absolute(steepness - true_steepness), axis_name),
        "foreground": mean(absolute(jnp.where(seen, foreground - true_foreground, 0)), axis_name),
    }


TASK = Task(synthesize=synthesize, loss=loss, check=check, stage=stage)
