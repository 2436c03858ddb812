"""A network with its weights and its published test-time rule: photo in, alpha out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.choices import one_of, refuse_input, require_input
from matting_jax.models import create_model, input_names, network_of
from matting_jax.prediction.inputs import as_float_image, as_float_trimap, size_of
from matting_jax.prediction.trimap_from import make_trimap, rule_of

Images = dict[str, np.ndarray]

logger = logging.getLogger("matting_jax")


class Matter:
    """Predicts the alpha of photos with the network's published test-time rule.

    The rule runs on the host around the compiled network, which is compiled, and logged, once per
    network size, and once more for `heads`.

    Attributes:
        name: name of the network.
        model: its linen module.
        network: its record.
        takes: inputs in addition to the photo: "trimap", "background".
        needs: those of them that must be passed.
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
        """Creates the network and checks that it fits `trimap_from`.

        Args:
            name: name of the network.
            variables: its variables, as `load_checkpoint` returns them.
            test_time: options of its test-time rule, e.g. `reference_size` of MODNet.
            trimap_from: makes the trimap of a photo that is passed without one.
            trimap_rule: replaces fields of its trimap rule: `head`, `sure`, `margin`.
            **keywords: keywords of the network, those of `create_model`.

        Raises:
            ValueError: if `trimap_from` makes no trimap, or the network takes none.
        """
        self.name = name
        self.model = model = create_model(name, **keywords)
        self.network = network_of(model)
        self.takes = [x for x in input_names(model) if x != "image"]
        self.needs = [x for x in self.takes if x != "trimap" or trimap_from is None]
        self.trimap_from, self.trimap_rule = trimap_from, trimap_rule
        if trimap_from is not None:
            refuse_input("trimap", self.takes, name, "trimap_from")
            rule_of(trimap_from.name, trimap_rule)
        self.rule = partial(self.network.predict, model=model, **(test_time or {}))
        self.sizes: set[tuple[int, ...]] = set()
        self.set_variables(variables)

        def one_head(variables: Any, inputs: Images, head: str) -> jax.Array:
            outputs = model.apply(variables, **inputs)
            return outputs[one_of(head, outputs, f"output of this {name}")]

        def with_foreground(variables: Any, inputs: Images, head: str) -> jax.Array:
            outputs = model.apply(variables, **inputs)
            return jnp.concatenate([outputs[head], outputs[self.network.foreground]], -1)

        # XLA drops what only the other heads need.
        self.one_head = jax.jit(one_head, static_argnames="head")
        self.with_foreground = jax.jit(with_foreground, static_argnames="head")
        self.all_heads = jax.jit(lambda variables, inputs: model.apply(variables, **inputs))

    def set_variables(self, variables: Mapping[str, Any]) -> None:
        """Replaces the variables; nothing is compiled again."""
        self.variables = jax.device_put(dict(variables))

    def __call__(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predicts the alpha of one photo.

        Args:
            photo: uint8 or float in [0, 1], [H, W, 3].
            trimap: uint8 (below 85 background, from 170 foreground, else unknown) or float in
                [0, 1] with the same thirds, [H, W]; if the network takes one.
            background: the place without the subject, as the photo; if the network takes one.

        Returns:
            Alpha [H, W] float32 in [0, 1], known pixels set from the trimap; for a segmentation
            network, class probabilities [H, W, num_classes].

        Raises:
            ValueError: for a wrong shape, dtype or range, and for a missing or unexpected input.
        """
        images = self.checked(photo, trimap, background)
        output = np.clip(self.rule(self.apply, **images)[0], 0, 1)
        return set_known(output[..., 0], images) if self.network.output == "alpha" else output

    def cut_out(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the alpha of one photo and the foreground colours of the network, in one pass.

        Takes what a call takes. Returns alpha [H, W] and foreground [H, W, 3], both float32 in
        [0, 1]. Raises ValueError for a network that predicts no foreground colours.
        """
        if self.network.foreground is None:
            raise ValueError(f"{self.name} predicts no foreground colours: estimate them")

        def apply(head: str, **inputs: np.ndarray) -> np.ndarray:
            self.log_size(inputs)
            return np.asarray(self.with_foreground(self.variables, inputs, head))

        images = self.checked(photo, trimap, background)
        output = np.clip(self.rule(apply, **images)[0], 0, 1)
        return set_known(output[..., 0], images), output[..., 1:]

    def apply(self, head: str, **inputs: np.ndarray) -> np.ndarray:
        """Runs the network on inputs [N, h, w, C] and returns its output `head`.

        Raises ValueError for an unknown output, with the closest valid one.
        """
        self.log_size(inputs)
        return np.asarray(self.one_head(self.variables, inputs, head))

    def heads(
        self,
        photo: np.ndarray,
        *,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns all outputs of the network for one photo, [h, w, C] at their own sizes.

        A rule that runs the network several times yields those of its last pass.
        """
        *_, inputs = self.passes(self.checked(photo, trimap, background)).values()
        self.log_size(inputs)
        outputs = self.all_heads(self.variables, inputs)
        return {name: np.asarray(x)[0] for name, x in outputs.items()}

    def output(self, photo: np.ndarray, head: str) -> np.ndarray:
        """Returns one output for a photo [H, W, 3], if the network needs nothing else.

        The output of the test-time rule has the photo's size, [H, W, C]. Any other one has its own
        size, [h, w, C], and is that of the pass in which the rule reads it, or of the last pass.
        """
        if head in ("alpha", self.network.output):
            output = self(photo)
            return output[..., None] if output.ndim == 2 else output
        passes = self.passes(self.checked(photo))
        *_, last = passes.values()
        return self.apply(head, **passes.get(head, last))[0]

    def make_trimap(self, photo: np.ndarray, rule: Mapping[str, Any] | None = None) -> np.ndarray:
        """Makes the trimap [H, W] float32 (0, 0.5, 1) of a photo [H, W, 3], uint8 or float.

        `rule` replaces fields of the network's trimap rule. Raises ValueError for a network that
        makes no trimap.
        """
        chosen = rule_of(self.name, rule)
        return make_trimap(chosen, self.output(photo, chosen.head), *photo.shape[:2])

    def passes(self, images: Images) -> dict[str, Images]:
        """Returns the inputs of each pass of the test-time rule by the output that it reads."""
        passes = {}

        def record(head: str, **inputs: np.ndarray) -> np.ndarray:
            passes[head] = inputs
            output = self.one_head.eval_shape(self.variables, inputs, head)
            return np.zeros(output.shape, output.dtype)

        self.rule(record, **images)
        return passes

    def checked(
        self,
        photo: np.ndarray,
        trimap: np.ndarray | None = None,
        background: np.ndarray | None = None,
    ) -> Images:
        """Returns the checked inputs of the rule: [1, H, W, C] float32, a trimap 0, 0.5 and 1."""
        images = {"image": as_float_image(photo)}
        if trimap is None and self.trimap_from is not None:
            trimap = self.trimap_from.make_trimap(photo, self.trimap_rule)
        for name, given in (("trimap", trimap), ("background", background)):
            if given is None:
                continue
            refuse_input(name, self.takes, self.name, f"{name}=")
            check = {"trimap": as_float_trimap, "background": as_float_image}[name]
            images[name] = check(given)
            if images[name].shape[:2] != images["image"].shape[:2]:
                raise ValueError(
                    f"the {name} has the size {size_of(images[name])}, the photo "
                    f"{size_of(images['image'])}: they must be equal"
                )
        for name in self.needs:
            other = " or trimap_from=" if name == "trimap" else ""
            require_input(name, images, self.name, f"pass {name}={other}")
        return {name: image[None] for name, image in images.items()}

    def log_size(self, inputs: Images) -> None:
        """Logs each network size once, when the network is compiled for it."""
        size = inputs["image"].shape[1:3]
        if size not in self.sizes:
            self.sizes.add(size)
            logger.info("compiling %s for %d x %d", self.name, *size)


def set_known(alpha: np.ndarray, images: Images) -> np.ndarray:
    """Returns alpha [H, W] with known pixels set from the trimap of `images`, if it has one."""
    if "trimap" not in images:
        return alpha
    trimap = images["trimap"][0, ..., 0]
    return np.where(trimap == 0.5, alpha, trimap)
