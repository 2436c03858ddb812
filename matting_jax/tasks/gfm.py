"""Task of GFM: labels at a glance, the detail of the transition, and alpha.

Source: JizhiziLi/GFM, core/train.py, core/evaluate.py and core/data.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.choices import one_of
from matting_jax.image import rssn, trimap
from matting_jax.image.blur_fusion import estimate_layers
from matting_jax.image.composite import composite
from matting_jax.image.morphology import dilate_host_mask, ellipse
from matting_jax.image.planes import AlphaPlanes
from matting_jax.image.pyramid import laplacian_pyramid
from matting_jax.losses import absolute, charbonnier, cross_entropy, mean, region_mean
from matting_jax.models.gfm import CLASSES
from matting_jax.tasks import each_sample, random_flip
from matting_jax.tasks.task import Task, may_denoise

Array = jax.Array
Arrays = dict[str, Array]

EPSILON = 1e-12  # of the Charbonnier loss, which is 1e-6 at 0
TARGETS = ("consistent", "released")
FORMS = {
    "glance_loss": ("official", "paper"),
    "regions": ("official", "paper"),
    "labels_from": ("crop", "photo"),
}
# What runs whose configs do not have these fields used.
ADDED = {f"task.{name}": choices[0] for name, choices in FORMS.items()}

# Kernel sizes of the trimap and of the other labels, in pixels of the whole photo.
TRIMAP_SIZE, REGION_SIZE = 25, 50


def form(config: Any, name: str) -> str:
    """Returns the form, one of FORMS[name], that a config chooses."""
    return config.task.get(name, ADDED[f"task.{name}"])


def check(config: Any) -> None:
    """Raises ValueError if targets or a form are invalid or do not fit the network."""
    one_of(config.task.targets, TARGETS, "task.targets")
    for name, choices in FORMS.items():
        one_of(form(config, name), choices, f"task.{name}")
    if config.task.targets == "released" and config.model.rosta == "rim":
        raise ValueError(
            "the released targets are those of a single representation: set "
            "--config.task.targets=consistent with rosta rim"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Makes inputs and truth from layers to composite, or from photos with their alpha.

    `keys`: one random key per sample. `batch`: uint8 `foreground` [B, H, W, 3], `alpha`
    [B, H, W, 1] and `background` [B, H, W, 3], with or without denoised copies (see `image.rssn`),
    or `image` and `alpha`, whose colours are estimated. If `config.task.labels_from` is "photo",
    also `alpha_planes`, see `photo_labels`. `config.synthesis` holds the probabilities and ranges;
    kernel sizes are pixels of the crop. Returns inputs {image} and truth {alpha, foreground,
    background, trimap, eroded, dilated}, float32; the last two not for rosta tt.
    """
    options = config.synthesis
    smallest, largest = options.trimap_kernel

    def sample(key: Array, arrays: Arrays) -> tuple[Array, ...]:
        keys = jax.random.split(key, 4)
        alpha, planes = arrays["alpha"], None
        if form(config, "labels_from") == "photo":
            planes = arrays["alpha_planes"]
        if "image" in arrays:
            colours = [arrays["image"]]
        else:
            arrays = rssn.denoise(keys[0], arrays, options.rssn)
            colours = rssn.compose(
                keys[1], arrays["foreground"], alpha, arrays["background"], options.rssn
            )
        alpha, colours, planes = random_flip(keys[2], options.flip, (alpha, colours, planes))
        if planes is not None:
            return alpha, colours, read_labels(planes)
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


def planes(config: Any) -> AlphaPlanes | None:
    """Returns how labels are made of whole photos if the config asks for them."""
    if form(config, "labels_from") == "crop":
        return None
    rosta = config.model.rosta
    return AlphaPlanes(partial(photo_labels, rosta=rosta), 1 if rosta == "tt" else 3)


def photo_labels(alpha: np.ndarray, rosta: str) -> np.ndarray:
    """Makes the labels of a whole photo, on the host, with the kernels of the paper.

    Args:
        alpha: uint8 [H, W].
        rosta: representation, a name of `models.gfm.CLASSES` or "rim".

    Returns:
        The trimap (0, 128, 255), and except for tt the eroded foreground and the dilated subject
        (0, 255), uint8 [H, W, 1 or 3].
    """
    subject, hole = alpha > 0, alpha < 255
    small, large = ellipse(TRIMAP_SIZE), ellipse(REGION_SIZE)
    unknown = np.where(dilate_host_mask(hole, small), 128, 255)
    made = [np.where(dilate_host_mask(subject, small), unknown, 0)]
    if rosta != "tt":
        made.append(np.where(dilate_host_mask(hole, large), 0, 255))
        made.append(np.where(dilate_host_mask(subject, large), 255, 0))
    return np.stack(made, -1).astype(np.uint8)


def read_labels(planes: Array) -> Arrays:
    """Returns the labels of `labels` from those of `photo_labels`, cropped, float [H, W, n].

    Crops resize labels bilinearly. As in the source only exact values count: other values of the
    trimap are neither known nor in the transition, and other pixels not in the eroded foreground or
    the dilated subject.
    """
    levels = jnp.rint(255 * planes)
    truth = {"trimap": jnp.where(levels[..., :1] == 128, 0.5, planes[..., :1])}
    if planes.shape[-1] > 1:
        for i, name in ((1, "eroded"), (2, "dilated")):
            truth[name] = (levels[..., i : i + 1] == 255).astype(planes.dtype)
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
            representations and the integrated `alpha`; `glance_logits` for the paper's form.
        inputs: `image`, as `synthesize` returns it.
        truth: as `synthesize` returns it.
        config: `config.task` holds the weights, targets and forms.
        axis_name: mapped axis; means are over the pixels of all its devices.

    Returns:
        The total, and the terms `glance`, `focus`, `fusion` and `composition`. With rosta rim each
        is a sum over the representations, the last two also over the integrated alpha.
    """
    rostas = {"": config.model.rosta}
    if config.model.rosta == "rim":
        rostas = {f"_{rosta}": rosta for rosta in CLASSES}
    alpha, released = truth["alpha"], config.task.targets == "released"
    scores = {"official": "glance", "paper": "glance_logits"}[form(config, "glance_loss")]
    glance = focus = 0
    for suffix, rosta in rostas.items():
        label = classes(truth, rosta, released)
        glance += glance_loss(outputs[f"{scores}{suffix}"], label, axis_name)
        inside = transition(truth, rosta, form(config, "regions"))
        focus += focus_loss(outputs[f"focus{suffix}"], truth, rosta, inside, axis_name)
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
    if rosta == "tt":
        return jnp.where(label == 0, 0, jnp.where(label == 1, 2, 1)).astype(jnp.int32)
    return (label >= 1).astype(jnp.int32)


def transition(truth: Arrays, rosta: str, regions: str) -> Array:
    """Returns where the focus is learnt, bool [B, H, W, 1].

    The released trainer takes the unknown region of the trimap for all representations. In the
    paper it is, for FT, alpha above 0 minus the eroded foreground, and for BT the dilated subject
    minus alpha above 0, which has no soft alpha.
    """
    if regions == "paper" and rosta == "ft":
        return (truth["alpha"] > 0) & (truth["eroded"] < 1)
    if regions == "paper" and rosta == "bt":
        return (truth["dilated"] >= 1) & (truth["alpha"] <= 0)
    return truth["trimap"] == 0.5


def glance_loss(scores: Array, label: Array, axis_name: str | None) -> Array:
    """Computes the mean cross-entropy of scores [B, H, W, n] for integers [B, H, W].

    In the paper the scores are logits. In the source they are sigmoids that count as logits: with
    three classes the loss cannot fall below 0.55.
    """
    return mean(cross_entropy(scores, label), axis_name)


def focus_loss(
    focus: Array, truth: Arrays, rosta: str, inside: Array, axis_name: str | None
) -> Array:
    """Computes the loss of the focus in the transition.

    Args:
        focus: [B, H, W, 1] in [0, 1].
        truth: `alpha`, and except for tt `eroded` and `dilated`.
        rosta: representation: the focus is alpha (tt), what it adds to the eroded foreground (ft),
            or what it takes from the dilated subject (bt).
        inside: the transition, bool [B, H, W, 1].
        axis_name: mapped axis; means are over the pixels of all its devices.
    """
    alpha = truth["alpha"]
    target = {
        "tt": lambda: alpha,
        "ft": lambda: alpha - truth["eroded"],
        "bt": lambda: truth["dilated"] - alpha,
    }[rosta]()
    inside = inside.astype(alpha.dtype)
    # Pixels outside the transition contribute 1e-6 each to the sum.
    difference = region_mean(charbonnier(inside * (focus - target), EPSILON), inside, 1, axis_name)
    return difference + laplacian(inside * focus, inside * target, axis_name)


def alpha_loss(prediction: Array, alpha: Array, axis_name: str | None) -> Array:
    """Computes the mean Charbonnier loss of alpha [B, H, W, 1] over the whole image."""
    return mean(charbonnier(prediction - alpha, EPSILON), axis_name)


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
    difference = charbonnier(255 * (composed - image), EPSILON) / 255
    return 3 * mean(difference, axis_name)


TASK = Task(
    synthesize=synthesize,
    loss=loss,
    check=check,
    denoised=may_denoise,
    planes=planes,
    added=ADDED,
)
