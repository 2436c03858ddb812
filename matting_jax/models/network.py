"""The record that ends the file of each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax
from flax import linen as nn

Array = jax.Array
Sizes = dict[str, tuple[int, int]]  # of a network, by the output that is read


@dataclass(frozen=True)
class TrimapRule:
    """How the output of a trimap-free network becomes a trimap for another network.

    Attributes:
        head: the output that is thresholded.
        sure: minimum probability of foreground or background for a pixel to count as known.
        margin: minimum distance of known pixels to all others, as a fraction of the longer side.
        heads: valid values of `head`, each with its channels of foreground and background; for a
            single channel the probability of background is 1 - foreground.
    """

    head: str
    sure: float
    margin: float
    heads: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Network:
    """Facts about a network that general code reads.

    `predict(apply, image, *, model, **inputs, **options)` is the published test-time rule. It maps
    a stack of photos [N, H, W, 3] in [0, 1], with trimaps [N, H, W, 1] or backgrounds [N, H, W, 3]
    by name, to [N, H, W, C]. `apply(head, **inputs)` runs the network and returns one output. With
    NumPy arrays the rule runs on the host around a compiled network; with JAX arrays it can be
    compiled as a whole.

    Attributes:
        module: the linen module.
        predict: the test-time rule.
        output: the output that the rule returns, "logits" for segmentation.
        foreground: the output that holds foreground colours, if there is one. It has the size of
            `output`, and the rule treats all channels alike, so that these colours appended to it
            are handed out by the same pass.
        trimap: how the network makes a trimap for another one, if it can.
        optional_modules: modules that only some variants have, for learning rates by module.
        batch_norm: whether the module has `axis_name` and `frozen_statistics`.
        passes: returns the network's size (h, w) in each pass of the rule by the output that is
            read, for `height` and `width` of a photo, `model` and the options of the rule. Programs
            are then compiled ahead; None: when they are called.
        padding: returns the multiple of both sides to which the rule pads photos, for networks that
            get photos at their own size. Larger multiples need fewer programs, see `Matter`.
        pooled_norm: whether a model batch-normalises the mean of the whole photo, one value per
            channel. Training then needs several photos in a micro-batch.
        ranges: intervals of its own fields in a config, its keywords and the options of the rule,
            such as {"test_time.scales": "(0, inf)"}, where those of `ranges.ADDED` do not fit.
        choices: valid values of the options of the rule that are text, by their fields.
    """

    module: type[nn.Module]
    predict: Callable[..., Array]
    output: str = "alpha"
    foreground: str | None = None
    trimap: TrimapRule | None = None
    optional_modules: tuple[str, ...] = ()
    batch_norm: bool = True
    passes: Callable[..., Sizes] | None = None
    padding: Callable[[nn.Module], int] | None = None
    pooled_norm: Callable[[nn.Module], bool] = lambda model: False
    ranges: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
