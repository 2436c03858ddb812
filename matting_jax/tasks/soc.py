"""SOC: a trained network adapts to unlabelled photos until its own predictions agree.

Semantics, detail and alpha of one photo are three views of one subject. Where they disagree on
photos of a new kind, each learns from the others, while a frozen copy of the network holds the
detail. Any network that predicts the three can be adapted; the config names its outputs.
Source: MODNet, section "Self-supervised sub-objectives consistency"; ZHKKKe/MODNet,
src/trainer.py, soc_adaptation_iter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of
from matting_jax.image.filters import blur3
from matting_jax.image.geometry import downsample, upsample
from matting_jax.image.morphology import dilate, erode
from matting_jax.losses import absolute, l2, mean
from matting_jax.tasks.task import Memory, Task

Array = jax.Array
Arrays = dict[str, Array]
Variables = dict[str, Any]

FORMS = ("official", "paper")
REFRESHES = ("epoch", "never")


def check(config: Any) -> None:
    """Raise ValueError where `config` asks for something that no adaptation is."""
    one_of(config.task.form, FORMS, "task.form")
    one_of(config.task.refresh, REFRESHES, "task.refresh")
    if not config.init.checkpoint:
        raise ValueError(
            "SOC adapts a trained network: give --config.init.checkpoint=FILE, an official "
            "checkpoint, or the workdir of a run"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """The photos as they are, and no truth: `batch` uint8 `image` [B, H, W, 3], inputs {image}."""
    return {"image": batch["image"].astype(jnp.float32) / 255}, {}


def remember(variables: Variables) -> Variables:
    """What is kept from step to step beside the network: its frozen copy."""
    return jax.tree.map(jnp.copy, variables)


def refresh(frozen: Variables, variables: Variables, step: Array, epoch: int, config: Any):
    """The frozen copy to use in `step` (from 0): a new one at the start of each epoch.

    `epoch` is the number of photos; the released docstring copies then. With
    `config.task.refresh` "never" the first copy stays, as an earlier answer of the author has it.
    """
    if config.task.refresh == "never":
        return frozen
    first, before = step * config.batch_size // epoch, (step - 1) * config.batch_size // epoch
    return lax.cond(first != before, lambda: variables, lambda: frozen)


def forward(
    model: nn.Module, variables: Variables, inputs: Arrays, frozen: Variables
) -> tuple[dict[str, Any], Any]:
    """Outputs of the network, those of its frozen copy under `frozen`, and new statistics."""
    outputs, updated = model.apply(variables, **inputs, train=True, mutable=["batch_stats"])
    kept = lax.stop_gradient(model.apply(frozen, **inputs, train=False))
    return {**outputs, "frozen": kept}, updated


def loss(
    outputs: dict[str, Any],
    inputs: Arrays,
    truth: Arrays,
    config: Any,
    axis_name: str | None = None,
) -> tuple[Array, Mapping[str, Array]]:
    """The weighted sum of the consistency of semantics and of detail.

    `outputs`: `alpha` [B, H, W, 1] in [0, 1] and, under the names that `config.task` gives,
    `detail` [B, H, W, 1] and `semantic` [B, h, w, C]; the same of the frozen copy under `frozen`.
    Terms are `semantic`, `detail` and `matte`; they are means over the samples of all devices of
    `axis_name`. `config.task.form` "official" holds detail and alpha inside the boundary near the
    frozen copy's; "paper" holds the detail there (L_dd) and pulls alpha and detail together.
    """
    options, frozen = config.task, outputs["frozen"]
    alpha, detail = outputs["alpha"], outputs[options.detail]
    semantic = subject_sixteenth(outputs[options.semantic], options.classes, alpha.shape[1])
    coarse = blur3(downsample(alpha, 16))
    boundary = boundary_mask(semantic, alpha)

    if options.form == "official":
        # Each side learns from the other as it is, without what is too faint to be the subject.
        agreement = l2(semantic, visible(coarse), axis_name)
        agreement += l2(coarse, visible(semantic), axis_name)
        matte = frozen["alpha"]
    else:
        agreement = l2(coarse, semantic, axis_name) / 2
        matte = detail
    terms = {
        "semantic": options.semantic_weight * agreement,
        "detail": options.detail_weight
        * boundary_l1(detail, frozen[options.detail], boundary, axis_name),
        "matte": options.matte_weight * boundary_l1(alpha, matte, boundary, axis_name),
    }
    return sum(terms.values()), terms


def subject_sixteenth(semantic: Array, classes: tuple[float, ...], height: int) -> Array:
    """How much of each place is subject, [B, H/16, W/16, 1], from `semantic` [B, h, w, C].

    `classes` says how much of a channel is subject: (1,) where it is the subject itself,
    (0, 0.5, 1) for probabilities of background, transition and foreground. `height`: the photo's H.
    """
    if semantic.shape[-1] != len(classes):
        raise ValueError(
            f"task.classes has {len(classes)} numbers, but the network's semantics "
            f"{semantic.shape[-1]} channels: give one for each"
        )
    subject = jnp.sum(semantic * jnp.asarray(classes, semantic.dtype), -1, keepdims=True)
    factor = 16 * subject.shape[1] // height
    return subject if factor == 1 else downsample(subject, factor)


def visible(x: Array) -> Array:
    """x without gradient, 0 where it is at most 0.01."""
    return lax.stop_gradient(jnp.where(x > 0.01, x, 0))


def boundary_mask(semantic: Array, alpha: Array) -> Array:
    """1 near the outline of the subject and 0 elsewhere, [B, H, W, 1], without gradient.

    The subject is where alpha [B, H, W, 1] is above 0.1 and semantics [B, H/16, W/16, 1] are, too;
    the outline is as wide as a twentieth of the photo's mean side.
    """
    height, width = alpha.shape[1:3]
    side = max(int((height + width) / 2 * 0.05), 1)
    region = (alpha > 0.1) * upsample((semantic > 0.1).astype(alpha.dtype), 16)
    changed = jax.vmap(lambda x: dilate(x, side, side) != erode(x, side, side))(region)
    return changed.astype(alpha.dtype)


def boundary_l1(x: Array, target: Array, boundary: Array, axis_name: str | None) -> Array:
    """Mean over the samples of |x - target| inside their boundary; 0 for one that has none."""
    area = jnp.sum(boundary, (1, 2, 3))
    difference = jnp.sum(boundary * absolute(x - target), (1, 2, 3))
    return mean(difference / jnp.maximum(area, 1), axis_name)


TASK = Task(
    synthesize=synthesize,
    loss=loss,
    check=check,
    forward=forward,
    state=Memory(remember=remember, refresh=refresh),
    unlabelled=True,
)
