"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from flax import linen as nn

Array = jax.Array
Arrays = dict[str, Array]
Variables = dict[str, Any]


def accept(config: Any) -> None:
    """Accepts every config."""


def forward(
    model: nn.Module, variables: Variables, inputs: Arrays, memory: Any
) -> tuple[Arrays, Variables]:
    """Returns the network's outputs in training and its updated statistics."""
    statistics = [name for name in variables if name != "params"]
    return model.apply(variables, **inputs, train=True, mutable=statistics)


def whole_network(model: nn.Module, config: Any, step: int) -> tuple[nn.Module]:
    """Trains all of `model` in every step."""
    return (model,)


def may_denoise(config: Any) -> bool:
    """Returns whether RSSN may take denoised colours: `denoised` of tasks that compose with it."""
    return config.synthesis.rssn.denoise > 0


def mad(scores: Mapping[str, float]) -> float:
    """Returns the MAD of the test images."""
    return scores["mad"]


@dataclass(frozen=True)
class Memory:
    """State that a task carries from step to step in addition to the network; saved with it.

    `remember(variables)` returns the first one, `refresh(memory, variables, step, epoch, config)`
    that of `step`, where `epoch` is the number of training samples.
    """

    remember: Callable[[Variables], Any]
    refresh: Callable[..., Any]


@dataclass(frozen=True)
class Task:
    """What a network learns: pure functions, which the loop calls by these names.

    `synthesize(keys, batch, config, *view) -> inputs, truth` turns a uint8 batch into what the
    network sees and what it should return, with one random key a sample.
    `loss(outputs, inputs, truth, config, axis_name=None) -> total, terms`.
    """

    synthesize: Callable[..., tuple[Arrays, Arrays]]
    loss: Callable[..., tuple[Array, Mapping[str, Array]]]
    # Raises ValueError for a config that the task cannot train.
    check: Callable[[Any], None] = accept
    # forward(model, variables, inputs, memory) -> outputs, updated statistics.
    forward: Callable[..., tuple[Arrays, Variables]] = forward
    # stage(model, config, step) -> the network that a step trains, and the view of `synthesize`.
    stage: Callable[..., tuple] = whole_network
    # evaluate(matter, images, config, shown) -> scores, pictures; None: the scores of alpha.
    evaluate: Callable[..., tuple] | None = None
    state: Memory | None = None
    # The score that the best checkpoint minimises, of the scores by name.
    score: Callable[[Mapping[str, float]], float] = mad
    # What a run predicts: "alpha", "trimap" or "classes".
    result: Callable[[Any], str] = lambda config: "alpha"
    # Whether composites may have denoised colours, so that the data must provide copies.
    denoised: Callable[[Any], bool] = lambda config: False
    # Whether photos come with the class of each pixel in place of an alpha.
    labelled: Callable[[Any], bool] = lambda config: False
    # Whether it learns from photos without alpha, those of config.data.train.photos.
    unlabelled: bool = False
