"""What GFM learns: labels at a glance, the detail of the transition, and alpha.

Source: JizhiziLi/GFM, core/train.py, core/evaluate.py and core/data.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from matting_jax.choices import one_of
from matting_jax.image import rssn, trimap
from matting_jax.image.blur_fusion import blur_fusion
from matting_jax.image.composite import composite
from matting_jax.image.pyramid import laplacian_pyramid
from matting_jax.losses import absolute, mean
from matting_jax.models.gfm import CLASSES
from matting_jax.parallel import sum_devices
from matting_jax.tasks import each_sample
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

TARGETS = ("consistent", "released")


def check(config: Any) -> None:
    """Raise ValueError where `config.task` asks for targets that there are not."""
    one_of(config.task.targets, TARGETS, "task.targets")
    if config.task.targets == "released" and config.model.rosta == "rim":
        raise ValueError(
            "the released targets are those of one representation: give "
            "--config.task.targets=consistent with rosta rim"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Composites, or photos with their alpha, and what the network should say of them.

    `keys`: one random key a sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha` [B, H, W, 1]
    and `background` [B, H, W, 3], with denoised copies or without (see `image.rssn`), or `image`
    and `alpha`, whose colours are estimated. `config.synthesis` holds the chances and ranges; sides
    of kernels are pixels of the crop. Returns inputs {image} and truth {alpha, foreground,
    background, trimap, eroded, dilated}, float32; the last two not for rosta tt.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Array, ...]:
        keys = jax.random.split(key, 4)
        arrays = {name: x.astype(jnp.float32) / 255 for name, x in arrays.items()}
        alpha = arrays["alpha"]
        if "image" in arrays:
            colours = [arrays["image"]]
        else:
            arrays = rssn.denoise(keys[0], arrays, options.rssn)
            colours = rssn.compose(
                keys[1], arrays["foreground"], alpha, arrays["background"], options.rssn
            )
        flip = jax.random.bernoulli(keys[2], options.flip)
        alpha, *colours = [jnp.where(flip, x[:, ::-1], x) for x in (alpha, *colours)]
        size = jax.random.randint(keys[3], (), smallest, largest + 1)
        return alpha, colours, labels(alpha, size, largest, config.model.rosta)

    arrays = {name: x for name, x in batch.items() if name != "index"}
    alpha, (image, *colours), truth = each_sample(sample, keys, arrays)
    foreground, background = colours or colours_of(image, alpha)
    truth |= {"alpha": alpha, "foreground": foreground, "background": background}
    return {"image": image}, truth


def colours_of(image: Array, alpha: Array) -> tuple[Array, Array]:
    """Colours of foreground and background [B, H, W, 3] that compose a photo with its alpha.

    Estimated by blur fusion; what they then lack goes to each by its share, so that they may leave
    [0, 1]. The released recipe has them estimated by closed-form matting before.
    """
    foreground, background = blur_fusion(image, alpha)
    missing = image - composite(foreground, alpha, background)
    missing /= jnp.square(alpha) + jnp.square(1 - alpha)
    return foreground + alpha * missing, background + (1 - alpha) * missing


def labels(alpha: Array, size: Array | int, largest: int, rosta: str) -> Arrays:
    """What the glance decoder learns of alpha [H, W, 1] in [0, 1]: `trimap` by a kernel of `size`,
    from 1 to `largest`, `eroded` foreground and `dilated` subject by one of twice its size."""
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
    """The weighted sum of the losses, and its terms `glance`, `focus`, `fusion`, `composition`.

    `outputs` of the network, `inputs` and `truth` as of `synthesize`. Means are over all pixels of
    all devices of `axis_name`. With rosta rim each term is the sum over the three representations,
    the last two with that of the integrated alpha.
    """
    rostas = {"": config.model.rosta}
    if config.model.rosta == "rim":
        rostas = {f"_{rosta}": rosta for rosta in CLASSES}
    alpha, released = truth["alpha"], config.task.targets == "released"
    glance = focus = 0
    for end, rosta in rostas.items():
        glance += cross_entropy(outputs[f"glance{end}"], classes(truth, rosta, released), axis_name)
        focus += focus_loss(outputs[f"focus{end}"], truth, rosta, axis_name)
    alphas = [x for name, x in outputs.items() if name.startswith("alpha")]
    fusion = sum(whole(x, alpha, axis_name) + laplacian(x, alpha, axis_name) for x in alphas)
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
    """The class of each pixel, int32 [B, H, W], that the glance decoder learns.

    The released trainer holds FT's foreground for the dilated subject, and BT's subject for what is
    fully opaque, which contradicts how it then makes alpha of them.
    """
    names = {"tt": "trimap", "ft": "eroded", "bt": "dilated"}
    if released:
        names |= {"ft": "dilated", "bt": "alpha"}
    label = truth[names[rosta]][..., 0]
    return (2 * label if rosta == "tt" else label >= 1).astype(jnp.int32)


def cross_entropy(scores: Array, label: Array, axis_name: str | None) -> Array:
    """Mean cross entropy of scores [B, H, W, n], taken for logits though they are sigmoids: with
    three classes it cannot fall below 0.55."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(scores), label[..., None], -1)
    return -mean(chosen, axis_name)


def focus_loss(focus: Array, truth: Arrays, rosta: str, axis_name: str | None) -> Array:
    """The focus in the transition against what it adds to the glance, or takes from it."""
    alpha = truth["alpha"]
    target = {
        "tt": lambda: alpha,
        "ft": lambda: alpha - truth["eroded"],
        "bt": lambda: truth["dilated"] - alpha,
    }[rosta]()
    inside = (truth["trimap"] == 0.5).astype(alpha.dtype)
    difference, area = sum_devices(
        (jnp.sum(charbonnier(inside * (focus - target))), jnp.sum(inside)), axis_name
    )
    return difference / (area + 1) + laplacian(inside * focus, inside * target, axis_name)


def charbonnier(x: Array) -> Array:
    """|x|, smooth at 0: 1e-6 there."""
    return jnp.sqrt(jnp.square(x) + 1e-12)


def whole(prediction: Array, alpha: Array, axis_name: str | None) -> Array:
    """Mean difference over the whole image."""
    return mean(charbonnier(prediction - alpha), axis_name)


def laplacian(prediction: Array, truth: Array, axis_name: str | None) -> Array:
    """The mean differences at all scales, added up; arrays [B, H, W, 1]."""
    # The pyramid is linear, so that one of the difference suffices.
    pyramid = laplacian_pyramid(prediction - truth)
    return sum(mean(absolute(level), axis_name) for level in pyramid)


def composition_loss(
    prediction: Array, image: Array, truth: Arrays, axis_name: str | None
) -> Array:
    """Mean over the pixels of the colours' differences, the three channels added up."""
    composed = composite(truth["foreground"], prediction, truth["background"])
    # In the units of bytes, whose square the small number is added to.
    difference = charbonnier(255 * (composed - image)) / 255
    return 3 * mean(difference, axis_name)


TASK = Task(synthesize=synthesize, loss=loss, check=check, denoised=may_denoise)
