"""A network with its weights and its published test-time rule: photo in, alpha out."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from matting_jax.models import create_model, network_file

logger = logging.getLogger("matting_jax")


class Matter:
    """Alpha of photos by network `name`, with the test-time rule of its official code.

    `variables` as `load_checkpoint` returns them, `keywords` those of `create_model`. `test_time`
    holds options of the network's rule by name (`reference_size` for MODNet). Resizes on the host
    and compiles once per network size, which it logs, and once more for `heads`.
    """

    def __init__(
        self,
        name: str,
        variables: Mapping[str, Any],
        *,
        test_time: Mapping[str, Any] | None = None,
        **keywords: Any,
    ):
        model = create_model(name, **keywords)
        self.name, self.model = name, model
        self.rule = network_file(name)
        self.options = dict(test_time or {})
        self.variables = jax.device_put(dict(variables))
        self.sizes: set[tuple[int, ...]] = set()
        # XLA leaves out what only the other heads need.
        self.alpha = jax.jit(lambda variables, inputs: model.apply(variables, **inputs)["alpha"])
        self.all_heads = jax.jit(lambda variables, inputs: model.apply(variables, **inputs))

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        """Alpha [H, W] float32 in [0, 1] of a photo [H, W, 3], uint8 or float in [0, 1].

        Raises ValueError for an array of another shape, type or range.
        """
        photo = as_float_image(photo)
        alpha = np.asarray(self.alpha(self.variables, self.inputs(photo)))
        alpha = self.rule.restore(self.model, alpha, *photo.shape[:2], **self.options)
        return np.clip(alpha, 0, 1)

    def heads(self, photo: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs of the network for one photo, [h, w, C] at the network's own sizes."""
        outputs = self.all_heads(self.variables, self.inputs(as_float_image(photo)))
        return {name: np.asarray(x)[0] for name, x in outputs.items()}

    def inputs(self, photo: np.ndarray) -> dict[str, np.ndarray]:
        """What the network takes for this photo; a size not seen before is logged."""
        inputs = self.rule.prepare(self.model, photo, **self.options)
        size = inputs["image"].shape[1:3]
        if size not in self.sizes:
            self.sizes.add(size)
            logger.info("compiling %s for %d x %d", self.name, *size)
        return inputs


def as_float_image(photo: np.ndarray) -> np.ndarray:
    """A photo [H, W, 3], uint8 or float in [0, 1], as float32 in [0, 1]; else ValueError."""
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ValueError(
            f"a photo must be an array [H, W, 3], got shape {photo.shape}: repeat grey values by "
            "np.dstack([photo] * 3), leave out the alpha of RGBA by photo[..., :3]"
        )
    if photo.dtype == np.uint8:
        return np.divide(photo, 255, dtype=np.float32)
    if not np.issubdtype(photo.dtype, np.floating):
        raise ValueError(
            f"a photo must be uint8 or float in [0, 1], got {photo.dtype}: divide it by the "
            "largest value that it can hold, 65535 for 16 bits"
        )
    low, high = photo.min(), photo.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"a float photo must lie in [0, 1], got {low:.9g} to {high:.9g}: divide 0 to 255 by "
            "255, clip or mend what lies outside"
        )
    return photo.astype(np.float32, copy=False)
