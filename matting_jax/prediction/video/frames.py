"""Runs a network over frames of one size, with its test-time rule compiled whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.prediction.memory import free_bytes, needed_bytes
from matting_jax.prediction.resized import keep_resized
from matting_jax.prediction.video.smooth import smooth

Array = jax.Array
Layers = Mapping[str, Array]

logger = logging.getLogger("matting_jax")


class Matter(Protocol):
    """The interface of a network; see `prediction.matter.Matter`."""

    name: str
    network: Any
    takes: Sequence[str]
    needs: Sequence[str]
    rule: Callable[..., Array]
    programs: Any
    trimap_from: Any
    trimap_rule: Any


class Drawn(NamedTuple):
    """The images drawn of a frame, [H, W, ...] by name, and its number among all frames."""

    number: int
    images: Mapping[str, Array]


class FramePredictor:
    """Predicts frames in order and draws them, on the device.

    What `push` returns is computed in the background: converting it to NumPy waits for it. With
    `threshold` each frame is drawn one frame late.

    Attributes:
        batch: frames that are computed together.
    """

    def __init__(
        self,
        matter: Matter,
        draw: Callable[[Layers], dict[str, Array]],
        *,
        foreground: bool = False,
        background: np.ndarray | None = None,
        threshold: float | None = None,
        batch: int = 1,
    ):
        """Prepares the programs; they are compiled for the first frame.

        Args:
            matter: the network.
            draw: maps the layers of N frames to what is drawn, [N, H, W, ...].
            foreground: whether `draw` gets the network's foreground colours.
            background: the empty place, uint8 [H, W, 3], if the network takes it.
            threshold: of `smooth`; None: no smoothing.
            batch: frames that are computed together.
        """
        self.matter, self.batch, self.threshold = matter, batch, threshold
        self.constants = {}
        if background is not None:
            self.constants["background"] = jax.device_put(background[None])
        more = (matter.network.foreground,) if foreground else ()
        predict = partial(predict_layers, matter, more)
        smoothed = threshold is not None
        if smoothed:
            self.predict, self.draw = jax.jit(predict), jax.jit(partial(draw_smooth, draw))
        else:
            self.predict = jax.jit(lambda variables, inputs: draw(predict(variables, inputs)))
        self.program: Callable[..., Any] | None = None
        self.names: tuple[str, ...] = ()  # inputs that the program was compiled for
        self.number = 0  # of frames that were drawn
        self.before: Array | None = None  # the alpha before the waiting frame
        self.waiting: Layers | None = None

    def push(self, frames: Sequence[Mapping[str, np.ndarray]]) -> list[Drawn]:
        """Computes frames, `batch` at a time, and returns those that are drawn.

        Args:
            frames: `image` uint8 [H, W, 3] and, if any, `opacity` uint8 [H, W, 1] and `backdrop`
                uint8 [H, W, 3]; all frames have the same. Frames of a later call may have others,
                for which the program is compiled again.
        """
        rows, left = [], list(frames)
        while left:
            if self.names != (names := tuple(left[0])):
                self.program, self.names = self.compile_fitting(self.stack(left[:1])), names
            group, left = left[: self.batch], left[self.batch :]
            filled = [*group, *[group[-1]] * (self.batch - len(group))]  # one program for all
            layers = self.program(self.matter.programs.variables, self.stack(filled))
            rows += [jax.tree.map(lambda x, i=i: x[i : i + 1], layers) for i in range(len(group))]
        if self.threshold is None:
            return [self.finish(row) for row in rows]
        return [drawn for row in rows for drawn in self.delay(row)]

    def stack(self, frames: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """Returns the inputs of the program for some frames, [N, H, W, C]."""
        inputs = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
        if self.matter.trimap_from is not None:
            inputs["trimap"] = np.stack([self.make_trimap(x) for x in inputs["image"]])
        return {**inputs, **self.constants}

    def flush(self) -> list[Drawn]:
        """Returns the last frame, if it waits for a next one."""
        return self.delay(None) if self.waiting is not None else []

    def delay(self, layers: Layers | None) -> list[Drawn]:
        """Returns the frame before `layers`, smoothed; None: there is no next frame."""
        waiting, self.waiting = self.waiting, layers
        if waiting is None:
            return []
        alpha = waiting["alpha"]
        # The first and the last frame have only one neighbour and are not smoothed.
        inside = self.before is not None and layers is not None
        before, after = (self.before, layers["alpha"]) if inside else (alpha, alpha)
        self.before = alpha
        return [self.finish(self.draw(waiting, before, after, self.threshold))]

    def finish(self, drawn: Layers) -> Drawn:
        """Numbers a drawn frame."""
        self.number += 1
        return Drawn(self.number - 1, {name: x[0] for name, x in drawn.items()})

    def make_trimap(self, image: np.ndarray) -> np.ndarray:
        """Makes the trimap float32 [H, W, 1] of a frame by the other network."""
        return self.matter.trimap_from.make_trimap(image, self.matter.trimap_rule)[..., None]

    def compile_fitting(self, inputs: Mapping[str, Any]) -> Callable[..., Any]:
        """Compiles the program of the network; `batch` is halved until it fits in memory.

        `inputs` are those of one frame.
        """
        height, width = inputs["image"].shape[1:3]
        what = f"{self.matter.name} for frames of {width} x {height}"
        logger.info("compiling %s", what)
        start = time.perf_counter()
        while True:
            shapes = {
                name: jax.ShapeDtypeStruct(
                    (1 if name in self.constants else self.batch, *x.shape[1:]), x.dtype
                )
                for name, x in inputs.items()
            }
            program = self.predict.lower(self.matter.programs.variables, shapes).compile()
            free = free_bytes(jax.devices()[0])
            if self.batch == 1 or free is None or needed_bytes(program) <= free:
                break
            self.batch //= 2
            logger.info("the frames do not fit in memory: %d at a time", self.batch)
        logger.info("compiled %s in %.1f s", what, time.perf_counter() - start)
        return program


def predict_layers(matter: Matter, more: tuple[str, ...], variables: Any, inputs: Layers) -> Layers:
    """Returns the layers of N frames: `inputs` without those of the network only, and `alpha`.

    Args:
        matter: the network.
        more: its output of foreground colours, which becomes `foreground`, or ().
        variables: its variables.
        inputs: `image` and `background` uint8, `trimap` float32, as [N, H, W, C]; others are kept.
    """
    images = {name: inputs[name] for name in ("image", "background", "trimap") if name in inputs}
    for name in images.keys() - {"trimap"}:
        shape = inputs["image"].shape
        images[name] = jnp.broadcast_to(images[name], shape).astype(jnp.float32) / 255

    def apply(head: str, **network_inputs: Array) -> Array:
        network_inputs = {name: keep_resized(x) for name, x in network_inputs.items()}
        return matter.programs.function(variables, network_inputs, (head, *more))

    output = jnp.clip(matter.rule(apply, **images), 0, 1)
    alpha = output[..., :1]
    if "trimap" in images:
        alpha = jnp.where(images["trimap"] == 0.5, alpha, images["trimap"])
    kept = {x: inputs[x] for x in inputs.keys() - {"background", "trimap"}}
    colours = {"foreground": output[..., 1:4]} if more else {}
    return {**kept, **colours, "alpha": alpha}


def draw_smooth(
    draw: Callable[[Layers], dict[str, Array]],
    layers: Layers,
    before: Array,
    after: Array,
    threshold: Array,
) -> dict[str, Array]:
    """Draws layers with an alpha that is smoothed by the alphas before and after it."""
    return draw({**layers, "alpha": smooth(before, layers["alpha"], after, threshold)})
