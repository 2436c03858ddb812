"""The record of a task: what the training loop and the evaluation call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from matting_jax.image.planes import AlphaPlanes
from matting_jax.overlap import overlap

Array = jax.Array
Arrays = dict[str, Array]
Variables = dict[str, Any]
Scores = dict[str, float]
Pictures = list[dict[str, np.ndarray]]


def accept(config: Any) -> None:
    """Accepts every config."""


def forward(
    model: nn.Module, variables: Variables, inputs: Arrays, memory: Any
) -> tuple[Arrays, Variables]:
    """Returns the network's outputs in training mode and its updated statistics."""
    statistics = [name for name in variables if name != "params"]
    return model.apply(variables, **inputs, train=True, mutable=statistics)


def whole_network(model: nn.Module, config: Any, step: int) -> tuple[nn.Module]:
    """Trains all of `model` in every step."""
    return (model,)


def may_denoise(config: Any) -> bool:
    """Returns whether RSSN may take denoised colours, for tasks that compose with `image.rssn`."""
    return config.synthesis.rssn.denoise > 0


def mad(scores: Mapping[str, float]) -> float:
    """Returns the MAD of the test images."""
    return scores["mad"]


@dataclass(frozen=True)
class Memory:
    """State that a task carries from step to step in addition to the network; saved with it.

    `remember(variables)` returns the first one, `refresh(memory, variables, step, epoch, config)`
    the one of `step`, where `epoch` is the number of training samples.
    """

    remember: Callable[[Variables], Any]
    refresh: Callable[..., Any]


class Predicted(NamedTuple):
    """A test photo, float [H, W, 3] in [0, 1], its truth and what the network predicts."""

    photo: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


class Stages(NamedTuple):
    """The stages of an evaluation by counts, as `overlap` takes them; items are image numbers."""

    load: Callable[[int], Any]
    compute: Callable[[int, Any], Predicted]
    finish: Callable[[int, Predicted], tuple]
    pixels: Callable[[Predicted], int]


@dataclass(frozen=True)
class Evaluation:
    """Scores that are computed from counts, which add up over the test images.

    Attributes:
        read: read(image, config) returns a photo and its truth; called in threads.
        predict: predict(matter, photo, config) returns the prediction.
        count: count(predicted, config) returns an array of counts; called in threads.
        draw: draw(predicted, config) returns pictures by name, float [H, W, 3] in [0, 1].
        score: score(counts, config) returns the scores by name.
    """

    read: Callable[..., tuple[np.ndarray, np.ndarray]]
    predict: Callable[..., np.ndarray]
    count: Callable[..., np.ndarray]
    draw: Callable[..., dict[str, np.ndarray]]
    score: Callable[..., Scores]

    def __call__(
        self, matter: Any, images: Sequence[Any], config: Any, shown: int
    ) -> tuple[Scores, Pictures]:
        """Returns the scores of all images, and the pictures of the first `shown`."""
        stages = self.stages(matter, images, config, shown)
        counts, pictures = add_up(overlap(range(len(images)), *stages))
        return self.score(counts, config), pictures

    def stages(self, matter: Any, images: Sequence[Any], config: Any, shown: int) -> Stages:
        """Returns the functions that count one image, and draw the first `shown`."""

        def load(number: int) -> tuple[np.ndarray, np.ndarray]:
            return self.read(images[number], config)

        def compute(number: int, read: tuple[np.ndarray, np.ndarray]) -> Predicted:
            return Predicted(*read, self.predict(matter, read[0], config))

        def finish(number: int, predicted: Predicted) -> tuple:
            pictures = self.draw(predicted, config) if number < shown else None
            return self.count(predicted, config), pictures

        return Stages(load, compute, finish, lambda predicted: predicted.photo[..., 0].size)


def add_up(results: Iterable[tuple[int, Future]]) -> tuple[Any, Pictures]:
    """Returns the sum of the counts of images in any order, 0 without any, and their pictures.

    Args:
        results: number of each image, and a future of what the last of `Stages` returns.
    """
    total, pictures = 0, {}
    for number, result in results:
        counts, drawn = result.result()
        total = total + counts
        if drawn is not None:
            pictures[number] = drawn
    return total, [pictures[number] for number in sorted(pictures)]


@dataclass(frozen=True)
class Task:
    """Describes what a network learns: pure functions, which general code calls by these names.

    Attributes:
        synthesize: `synthesize(keys, batch, config, *view) -> inputs, truth` turns a uint8 batch
            into what the network sees and what it should predict, with one random key per sample.
        loss: `loss(outputs, inputs, truth, config, axis_name=None) -> total, terms`.
        check: raises ValueError for a config that the task cannot train, before any data is read.
        forward: `forward(model, variables, inputs, memory) -> outputs, updated statistics`.
        stage: `stage(model, config, step)` returns the network that a step trains, with some or all
            parameters of `model`; then the view (height, width) of `synthesize`, if the task has
            views.
        evaluate: the scores of the test data; None: those of alpha.
        classify: `classify(matter, photo, config)` returns the class of each pixel [H, W] of a
            photo, float32 [H, W, 3] in [0, 1]; for tasks whose result is "classes".
        state: what is carried from step to step in addition to the network; None: nothing.
        score: maps the scores by name to the one that the best checkpoint minimises.
        score_name: its name in messages.
        result: maps a config to what a run predicts: "alpha", "trimap" or "classes".
        denoised: maps a config to whether composites may have denoised colours, so that the data
            must provide copies.
        labelled: maps a config to whether images come with the class of each pixel instead of an
            alpha.
        planes: maps a config to the planes that the data makes from the alpha of each whole image
            and crops with it, to the array `alpha_planes` of the batch; None: there are none.
        unlabelled: whether it learns from photos without alpha, those of config.data.train.photos.
        added: fields of the recipe that were added later, by dotted name, with the value that runs
            without them used. The task reads them with the same default.
        ranges: intervals of the fields that only this task has, by dotted name, such as
            {"task.classes": "[0, 1]"}, where those of `ranges.ADDED` do not fit.
    """

    synthesize: Callable[..., tuple[Arrays, Arrays]]
    loss: Callable[..., tuple[Array, Mapping[str, Array]]]
    check: Callable[[Any], None] = accept
    forward: Callable[..., tuple[Arrays, Variables]] = forward
    stage: Callable[..., tuple] = whole_network
    evaluate: Evaluation | None = None
    classify: Callable[..., np.ndarray] | None = None
    state: Memory | None = None
    score: Callable[[Mapping[str, float]], float] = mad
    score_name: str = "MAD"
    result: Callable[[Any], str] = lambda config: "alpha"
    denoised: Callable[[Any], bool] = lambda config: False
    labelled: Callable[[Any], bool] = lambda config: False
    planes: Callable[[Any], AlphaPlanes | None] = lambda config: None
    unlabelled: bool = False
    added: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, str] = field(default_factory=dict)
