"""SOC: adapts a trained network to unlabelled photos until its own predictions agree.

Semantics, detail and alpha of a photo describe the same subject. Where they disagree on photos of
a new kind, each learns from the others, while a frozen copy of the network preserves the detail.
Any network that predicts the three can be adapted; the config names its outputs.
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
from matting_jax.image.geometry import downsample, upsample
from matting_jax.image.morphology import dilate, erode
from matting_jax.losses import absolute, l2, mean
from matting_jax.models import create_model, example_inputs
from matting_jax.tasks.modnet import semantic_target
from matting_jax.tasks.task import Memory, Task

Array = jax.Array
Arrays = dict[str, Array]
Variables = dict[str, Any]

FORMS = ("official", "paper")
REFRESHES = ("epoch", "never")


def check(config: Any) -> None:
    """Raises ValueError for an invalid form or refresh, or without a network with these outputs."""
    one_of(config.task.form, FORMS, "task.form")
    one_of(config.task.refresh, REFRESHES, "task.refresh")
    if not config.init.checkpoint:
        raise ValueError(
            "SOC adapts a trained network: set --config.init.checkpoint=FILE to an official "
            "checkpoint or the workdir of a run"
        )
    check_outputs(config)


def check_outputs(config: Any) -> None:
    """Raises ValueError if the network lacks the outputs that `config.task` names."""
    hint = f"; take the fields of configs/soc.py:{config.name}, as --config.name changes no others"
    try:
        model = create_model(config.name, **config.model)
    except ValueError as error:
        raise ValueError(f"{error}{hint}") from error
    outputs, _ = jax.eval_shape(
        lambda key: model.init_with_output(key, **example_inputs(model)), jax.random.key(0)
    )
    for field in ("semantic", "detail"):
        try:
            one_of(config.task[field], outputs, f"task.{field}, an output of {config.name},")
        except ValueError as error:
            raise ValueError(f"{error}{hint}") from error
    check_classes(outputs[config.task.semantic].shape[-1], config.task.classes)


def check_classes(channels: int, classes: tuple[float, ...]) -> None:
    """Raises ValueError unless `classes` has one number for each channel of the semantics."""
    if channels != len(classes):
        raise ValueError(
            f"task.classes has {len(classes)} numbers, but the network's semantics have "
            f"{channels} channels: set one for each"
        )


def synthesize(keys: Array, batch: Arrays, config: Any) -> tuple[Arrays, Arrays]:
    """Returns the photos unchanged as inputs {image}, and no truth.

    `batch`: uint8 `image` [B, H, W, 3].
    """
    return {"image": batch["image"].astype(jnp.float32) / 255}, {}


def remember(variables: Variables) -> Variables:
    """Returns what is kept from step to step in addition to the network: its frozen copy."""
    return jax.tree.map(jnp.copy, variables)


def refresh(
    frozen: Variables, variables: Variables, step: Array, epoch: int, config: Any
) -> Variables:
    """Returns the frozen copy to use in a step: a new one at the start of each epoch.

    Args:
        frozen: copy of the previous step.
        variables: of the network.
        step: number of the step, from 0.
        epoch: number of photos.
        config: `config.task.refresh` "epoch" follows the released docstring; "never" keeps the
            first copy, as in an earlier answer of the author.
    """
    if config.task.refresh == "never":
        return frozen
    first, before = step * config.batch_size // epoch, (step - 1) * config.batch_size // epoch
    return lax.cond(first != before, lambda: variables, lambda: frozen)


def forward(
    model: nn.Module, variables: Variables, inputs: Arrays, frozen: Variables
) -> tuple[dict[str, Any], Any]:
    """Returns the network's outputs, its frozen copy's as `frozen`, and its updated statistics."""
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
    """Computes the weighted sum of the consistency losses, and its terms.

    Args:
        outputs: `alpha` [B, H, W, 1] in [0, 1] and, by the names in `config.task`, detail
            [B, H, W, 1] and semantics [B, h, w, C]; `frozen` holds those of the frozen copy.
        inputs: not used.
        truth: not used.
        config: `config.task.form` "official" keeps detail and alpha inside the boundary close to
            the frozen copy's; "paper" does so for the detail (L_dd) and pulls alpha towards it.
        axis_name: mapped axis; means are over the samples of all its devices.

    Returns:
        The total, and the terms `semantic`, `detail` and `matte`.
    """
    options, frozen = config.task, outputs["frozen"]
    alpha, detail = outputs["alpha"], outputs[options.detail]
    semantic = reduce_semantic(outputs[options.semantic], options.classes, alpha.shape[1])
    coarse = semantic_target(alpha)
    boundary = boundary_mask(semantic, alpha)

    if options.form == "official":
        # Each learns from the other, whose values too small to be the subject are set to 0.
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


def reduce_semantic(semantic: Array, classes: tuple[float, ...], height: int) -> Array:
    """Computes the share of the subject, [B, H/16, W/16, 1], from semantics [B, h, w, C].

    `classes` holds the share of the subject in each channel: (1,) for a single channel, the subject
    itself; (0, 0.5, 1) for probabilities of background, transition and foreground, or for scores
    in [0, 1], which are divided by their sum. `height` is the photo's H.
    """
    check_classes(semantic.shape[-1], classes)
    if len(classes) > 1:
        semantic = semantic / jnp.maximum(jnp.sum(semantic, -1, keepdims=True), 1e-6)
    subject = jnp.sum(semantic * jnp.asarray(classes, semantic.dtype), -1, keepdims=True)
    factor = 16 * subject.shape[1] // height
    return subject if factor == 1 else downsample(subject, factor)


def visible(x: Array) -> Array:
    """Returns x without gradient, with values up to 0.01 set to 0."""
    return lax.stop_gradient(jnp.where(x > 0.01, x, 0))


def boundary_mask(semantic: Array, alpha: Array) -> Array:
    """Computes a mask [B, H, W, 1], 1 near the outline of the subject and 0 elsewhere.

    The subject is where both alpha [B, H, W, 1] and semantics [B, H/16, W/16, 1] exceed 0.1. The
    outline is a twentieth of the photo's mean side wide. The mask has no gradient.
    """
    height, width = alpha.shape[1:3]
    side = max(int((height + width) / 2 * 0.05), 1)
    region = (alpha > 0.1) * upsample((semantic > 0.1).astype(alpha.dtype), 16)
    changed = jax.vmap(lambda x: dilate(x, side, side) != erode(x, side, side))(region)
    return changed.astype(alpha.dtype)


def boundary_l1(x: Array, target: Array, boundary: Array, axis_name: str | None) -> Array:
    """Computes the mean over samples of the mean |x - target| [B, H, W, 1] in their boundary.

    A sample without a boundary contributes 0.
    """
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
    ranges={"task.classes": "[0, 1]"},
)
