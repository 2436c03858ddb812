"""A network with its weights and its published test-time rule: photo in, alpha out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from matting_jax.image.trimap import quantise
from matting_jax.models import create_model, input_names, network_file
from matting_jax.prediction.trimap_from import make_trimap, rule_of

logger = logging.getLogger("matting_jax")


class Matter:
    """Alpha of photos by network `name`, with the test-time rule of its official code.

    `variables` as `load_checkpoint` returns them, `keywords` those of `create_model`. `test_time`
    holds options of the network's rule by name (`reference_size` for MODNet). `trimap_from` is the
    Matter of a network that needs nothing beside the photo, to make the trimap of this one where
    none is passed; `trimap_rule` replaces fields of its rule, see `trimap_from.Rule`. `needs` names
    what has to be passed beside the photo. Resizes and pads on the host and compiles once per
    network size, which it logs, and once more for `heads`. Raises ValueError for a `trimap_from`
    that makes no trimap, or where none is taken.
    """

    def __init__(
        self,
        name: str,
        variables: Mapping[str, Any],
        *,
        test_time: Mapping[str, Any] | None = None,
        trimap_from: Matter | None = None,
        trimap_rule: Mapping[str, Any] | None = None,
        **keywords: Any,
    ):
        model = create_model(name, **keywords)
        self.name, self.model = name, model
        self.takes = [x for x in input_names(model) if x != "image"]
        self.needs = [x for x in self.takes if x != "trimap" or trimap_from is None]
        self.trimap_from, self.trimap_rule = trimap_from, trimap_rule
        if trimap_from is not None:
            if "trimap" not in self.takes:
                raise ValueError(f"{name} takes no trimap: leave out trimap_from")
            rule_of(trimap_from.name, trimap_rule)
        self.rule = network_file(name)
        self.options = dict(test_time or {})
        self.variables = jax.device_put(dict(variables))
        self.sizes: set[tuple[int, ...]] = set()
        # What the rule restores to the photo's size: the alpha, unless its file says otherwise.
        self.result = getattr(self.rule, "RESULT", "alpha")
        # XLA leaves out what only the other heads need.
        self.head = jax.jit(
            lambda variables, inputs, name: model.apply(variables, **inputs)[name],
            static_argnames="name",
        )
        self.all_heads = jax.jit(lambda variables, inputs: model.apply(variables, **inputs))

    def __call__(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> np.ndarray:
        """Alpha [H, W] float32 in [0, 1] of a photo [H, W, 3], uint8 or float in [0, 1]; of a
        network that tells classes apart their probabilities [H, W, num_classes].

        Where the network takes one, a `trimap` [H, W], uint8 (below 85 background, from 170
        foreground, else unknown) or float in [0, 1] by the same thirds; known pixels are set from
        it. Or the empty `background` [H, W, 3], as the photo. Raises ValueError for an array of
        another shape, type or range, and for one that is missing or not taken.
        """
        images = self.images(photo, trimap, background)
        height, width = images["image"].shape[:2]
        outputs = self.outputs(images)
        alpha = self.rule.restore(self.model, outputs, height, width, **self.options)
        alpha = np.clip(alpha, 0, 1)
        if "trimap" in images:
            trimap = images["trimap"][..., 0]
            alpha = np.where(trimap == 0.5, alpha, trimap)
        return alpha

    def heads(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """All outputs of the network for one photo, [h, w, C] at the network's own sizes."""
        inputs = self.inputs(self.images(photo, trimap, background))
        outputs = self.all_heads(self.variables, inputs)
        return {name: np.asarray(x)[0] for name, x in outputs.items()}

    def make_trimap(self, photo: np.ndarray, rule: Mapping[str, Any] | None = None) -> np.ndarray:
        """The trimap [H, W] float32 (0, 0.5, 1) that this network, which needs nothing beside the
        photo, makes of a photo [H, W, 3], uint8 or float in [0, 1].

        `rule` replaces fields of the network's own, see `trimap_from.Rule`. Raises ValueError for a
        network that makes no trimap.
        """
        chosen = rule_of(self.name, rule)
        if chosen.head in ("alpha", self.result):
            output = self(photo)
            output = output[..., None] if output.ndim == 2 else output
        else:
            output = self.one_head(self.images(photo), chosen.head)
        return make_trimap(self.name, chosen, output, *photo.shape[:2])

    def images(
        self,
        photo: np.ndarray,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """What the network takes, checked: [H, W, C] float32 in [0, 1], a trimap 0, 0.5 and 1."""
        images = {"image": as_float_image(photo)}
        if trimap is None and self.trimap_from is not None:
            trimap = self.trimap_from.make_trimap(photo, self.trimap_rule)
        for name, given in (("trimap", trimap), ("background", background)):
            if given is None and name in self.needs:
                ways = " or trimap_from=" if name == "trimap" else ""
                raise ValueError(f"{self.name} needs a {name} beside the photo: pass {name}={ways}")
            if given is None:
                continue
            if name not in self.takes:
                raise ValueError(f"{self.name} takes no {name}: leave out {name}=")
            check = {"trimap": as_float_trimap, "background": as_float_image}[name]
            images[name] = check(given)
            if images[name].shape[:2] != images["image"].shape[:2]:
                raise ValueError(
                    f"the {name} has the size {size_of(images[name])}, the photo "
                    f"{size_of(images['image'])}: they must be equal"
                )
        return images

    def one_head(self, images: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        """The output `name` [h, w, C], of the pass that the rule has for it if there is one."""
        passes = getattr(self.rule, "passes", lambda *_, **__: {})
        inputs = passes(self.model, **images, **self.options).get(name)
        inputs = self.inputs(images) if inputs is None else self.logged(inputs)
        try:
            return np.asarray(self.head(self.variables, inputs, name))[0]
        except KeyError as error:
            raise ValueError(f"this {self.name} has no {name!r}: take another head") from error

    def outputs(self, images: Mapping[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        """What the rule makes the alpha of: the network's own, or the heads of several passes.

        A rule that looks at a photo more than once has `passes` beside `prepare`: the inputs of
        each head that its `restore` takes.
        """
        if not hasattr(self.rule, "passes"):
            return np.asarray(self.head(self.variables, self.inputs(images), self.result))
        passes = self.rule.passes(self.model, **images, **self.options)
        return {
            head: np.asarray(self.head(self.variables, self.logged(inputs), head))
            for head, inputs in passes.items()
        }

    def inputs(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`images` as the network takes them."""
        return self.logged(self.rule.prepare(self.model, **images, **self.options))

    def logged(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`inputs`, whose size is logged if it was not seen before."""
        size = inputs["image"].shape[1:3]
        if size not in self.sizes:
            self.sizes.add(size)
            logger.info("compiling %s for %d x %d", self.name, *size)
        return inputs


def size_of(image: np.ndarray) -> str:
    """Width and height in words."""
    return f"{image.shape[1]} x {image.shape[0]}"


def as_float_trimap(trimap: np.ndarray) -> np.ndarray:
    """A trimap [H, W], uint8 or float in [0, 1], as float32 [H, W, 1] with values 0, 0.5 and 1.

    Below a third (85 of 255) is background, from two thirds (170) foreground. ValueError for
    another shape, type or range.
    """
    trimap = np.asarray(trimap)
    if trimap.ndim != 2 or 0 in trimap.shape:
        raise ValueError(f"a trimap must be an array [H, W], got shape {trimap.shape}")
    if np.issubdtype(trimap.dtype, np.floating):
        if not (trimap.min() >= 0 and trimap.max() <= 1):
            raise ValueError(
                f"a float trimap must lie in [0, 1], got {trimap.min():.9g} to {trimap.max():.9g}: "
                "0 is background, 0.5 unknown, 1 foreground"
            )
    elif trimap.dtype != np.uint8:
        raise ValueError(f"a trimap must be uint8 or float in [0, 1], got {trimap.dtype}")
    return quantise(trimap)[..., None]


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
