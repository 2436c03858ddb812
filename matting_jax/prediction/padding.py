"""Photos padded further than a test-time rule needs, so that many sizes share few programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from matting_jax.image.geometry import pad_to_multiple
from matting_jax.models import network_of


def check_size_step(step: int, name: str, model: nn.Module) -> int:
    """Returns `step`; raises ValueError unless the rule of network `name` can pad photos to it."""
    if not step:
        return 0
    padding = network_of(model).padding
    if padding is None:
        raise ValueError(
            f"{name} gets photos at sizes of its own: omit size_step, which is for networks that "
            "get them at theirs"
        )
    if step < 0 or step % padding(model):
        raise ValueError(f"size_step of {name} must be a multiple of {padding(model)}, got {step}")
    return step


def run_padded(
    step: int,
    rule: Callable[..., Any],
    model: nn.Module,
    options: Mapping[str, Any],
    apply: Callable[..., Any],
    **images: Any,
) -> Any:
    """Returns what a test-time rule returns for images whose sides are padded to multiples.

    Args:
        step: the multiple; 0: the images are not padded.
        rule: the test-time rule.
        model: the network.
        options: those of the rule.
        apply: runs the network.
        **images: the inputs, [N, H, W, C].
    """
    height, width = images["image"].shape[1:3]
    if step:
        images = {name: pad_to_multiple(x, step) for name, x in images.items()}
    output = rule(apply, model=model, **images, **options)
    return output[:, :height, :width] if step else output
