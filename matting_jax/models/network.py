"""What the library knows of a network beyond its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
from flax import linen as nn

Array = jax.Array


@dataclass(frozen=True)
class TrimapRule:
    """How the output of a trimap-free network becomes a trimap for another network.

    Pixels whose foreground or background probability in the output `head` is at least `sure` are
    known, unless another kind of pixel lies within `margin`, a fraction of the photo's longer side.
    `heads` lists the outputs that `head` may name, each with its channels of foreground and
    background; for a single channel the background probability is 1 - foreground.
    """

    head: str
    sure: float
    margin: float
    heads: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A linen module, its published test-time rule, and what general code must know of it.

    `predict(apply, image, *, model, **inputs, **options)` maps a stack of photos [N, H, W, 3] in
    [0, 1] (and trimaps [N, H, W, 1] or backgrounds [N, H, W, 3] by name) to [N, H, W, C]. It takes
    NumPy and JAX arrays alike; `apply(head, **inputs)` runs the network and returns one output.
    """

    module: type[nn.Module]
    predict: Callable[..., Array]
    output: str = "alpha"  # "logits" for segmentation
    foreground: str | None = None  # the output that holds foreground colours, if there is one
    trimap: TrimapRule | None = None  # how it makes a trimap for another network
    optional_modules: tuple[str, ...] = ()  # modules that only some variants have
    batch_norm: bool = True  # takes `axis_name` and `frozen_statistics`
