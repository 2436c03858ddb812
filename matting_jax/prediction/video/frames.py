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

from matting_jax.prediction.video.smooth import smooth

Array = jax.Array
Layers = Mapping[str, Array]

logger = logging.getLogger("matting_jax")


class Matter(Protocol):
    """What a network must offer; see `prediction.matter.Matter`."""

    name: str
    network: Any
    takes: Sequence[str]
    needs: Sequence[str]
    rule: Callable[..., Array]
    programs: Any
    trimap_from: Any
    trimap_rule: Any


class Drawn(NamedTuple):
    """What was drawn of a frame: its number among all frames, and arrays [H, W, ...] by name."""

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
        self.compiled = False
        self.number = 0  # of frames that were drawn
        self.before: Array | None = None  # the alpha before the waiting frame
        self.waiting: Layers | None = None

    def push(self, frames: Sequence[Mapping[str, np.ndarray]]) -> list[Drawn]:
        """Computes at most `batch` frames, and returns those that are drawn.

        Args:
            frames: `image` uint8 [H, W, 3] and, if any, `opacity` uint8 [H, W, 1] and `backdrop`
                uint8 [H, W, 3]; all frames have the same.
        """
        if not frames:
            return []
        count = len(frames)
        filled = [*frames, *[frames[-1]] * (self.batch - count)]  # one program for all batches
        inputs = {name: np.stack([frame[name] for frame in filled]) for name in frames[0]}
        if self.matter.trimap_from is not None:
            inputs["trimap"] = np.stack([self.make_trimap(x) for x in inputs["image"]])
        layers = self.run({**inputs, **self.constants})
        rows = [jax.tree.map(lambda x, i=i: x[i : i + 1], layers) for i in range(count)]
        if self.threshold is None:
            return [self.finish(row) for row in rows]
        return [drawn for row in rows for drawn in self.delay(row)]

    def flush(self) -> list[Drawn]:
        """Returns the last frame, if it waits for a next one."""
        return self.delay(None) if self.waiting is not None else []

    def delay(self, layers: Layers | None) -> list[Drawn]:
        """Returns the frame before `layers`, smoothed; None: there is no next frame."""
        waiting, self.waiting = self.waiting, layers
        if waiting is None:
            return []
        alpha = waiting["alpha"]
        # The first and the last frame have one neighbour only, and stay.
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

    def run(self, inputs: Mapping[str, Any]) -> Layers:
        """Runs the program of the network, and logs how long it takes to compile it."""
        variables = self.matter.programs.variables
        if self.compiled:
            return self.predict(variables, inputs)
        height, width = inputs["image"].shape[1:3]
        logger.info("compiling %s for frames of %d x %d", self.matter.name, width, height)
        start = time.perf_counter()
        result = self.predict(variables, inputs)
        logger.info("compiled %s in %.1f s", self.matter.name, time.perf_counter() - start)
        self.compiled = True
        return result


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
        network_inputs = {name: computed_once(x) for name, x in network_inputs.items()}
        return matter.programs.function(variables, network_inputs, (head, *more))

    output = jnp.clip(matter.rule(apply, **images), 0, 1)
    alpha = output[..., :1]
    if "trimap" in images:
        alpha = jnp.where(images["trimap"] == 0.5, alpha, images["trimap"])
    kept = {x: inputs[x] for x in inputs.keys() - {"background", "trimap"}}
    colours = {"foreground": output[..., 1:4]} if more else {}
    return {**kept, **colours, "alpha": alpha}


def computed_once(x: Array) -> Array:
    """Returns x [N, H, W, C], which XLA for CPU then does not recompute for each use of it.

    It recomputes the sums of samples of a resized frame in each of the network's layers that read
    them, but never a product, here with the identity.
    """
    if x.shape[-1] == 1 or jax.default_backend() != "cpu":
        return x
    return jnp.tensordot(x, jnp.eye(x.shape[-1], dtype=x.dtype), 1, precision="highest")


def draw_smooth(
    draw: Callable[[Layers], dict[str, Array]],
    layers: Layers,
    before: Array,
    after: Array,
    threshold: Array,
) -> dict[str, Array]:
    """Draws layers with an alpha that is smoothed by the alphas before and after it."""
    return draw({**layers, "alpha": smooth(before, layers["alpha"], after, threshold)})
