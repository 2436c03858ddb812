"""The function to export: a network with its weights, or its test-time rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.models import CHANNELS, input_names, network_of
from matting_jax.models.layers.folding import fold

Array = jax.Array
ANY = "any"  # the size of a file that takes every size

UNIT = "float32 in [0, 1]"
# What the inputs and outputs of a file mean.
INPUTS = {
    "image": f"RGB, {UNIT}",
    "trimap": "float32: 0 background, 0.5 unknown, 1 foreground",
    "background": f"RGB of the same place without the subject, {UNIT}",
}
OUTPUTS = {
    "alpha": UNIT,
    "foreground": f"RGB colours of the subject, {UNIT}",
    "logits": "float32, logits of the classes",
    "probabilities": f"{UNIT}, probabilities of the classes",
}


@dataclass(frozen=True)
class Graph:
    """A function of named arrays [1, H, W, C], float32, that returns named arrays.

    Attributes:
        function: takes the inputs by name; its weights are constants.
        inputs: the shape of each input by name, sorted as the network takes them; the sides of
            `ANY` size are None.
        outputs: the names of its outputs.
    """

    function: Callable[..., dict[str, Array]]
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The inputs as shapes; raises TypeError for those of any size."""
        return {name: jax.ShapeDtypeStruct(x, jnp.float32) for name, x in self.inputs.items()}

    @property
    def is_fixed(self) -> bool:
        """Whether the inputs have one size."""
        return None not in self.inputs["image"]


def parse_size(text: str, any_size: bool = True) -> tuple[int | None, int | None]:
    """Returns height and width of "HEIGHTxWIDTH"; with `any_size` None for both of "any".

    Raises ValueError for another text.
    """
    if text == ANY and any_size:
        return None, None
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        more = f", or {ANY}" * any_size
        raise ValueError(f"--size must be HEIGHTxWIDTH, as 512x512{more}, got {text!r}")
    height, width = map(int, sides)
    return height, width


def build_graph(
    model: nn.Module,
    variables: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    size: tuple[int | None, int | None],
    rule: bool,
    form: str,
) -> Graph:
    """Returns a network, or its test-time rule, as one function.

    Args:
        model: the network.
        variables: its variables.
        options: options of its test-time rule.
        size: height and width of the inputs, None for any.
        rule: export the test-time rule, for photos of `size`, and not only the network.
        form: form of the layers, see `layers.forms`.

    Raises:
        ValueError: if the network cannot have inputs of this size.
    """
    if any(field.name == "form" for field in dataclasses.fields(model)):
        model = model.clone(form=form)
    network, folded = network_of(model), fold(variables)
    heads = [network.output, *([network.foreground] if network.foreground else [])]

    def run(head: str, **inputs: Array) -> Array:
        outputs = model.apply(folded, **inputs)
        return jnp.concatenate([outputs[x] for x in (head, *heads[1:])], axis=-1)

    def by_network(**inputs: Array) -> dict[str, Array]:
        outputs = model.apply(folded, **inputs)
        return {name: outputs[name] for name in heads}

    def by_rule(**inputs: Array) -> dict[str, Array]:
        output = jnp.clip(network.predict(run, **inputs, model=model, **options), 0, 1)
        if network.output != "alpha":
            return {"probabilities": output}
        alpha = output[..., :1]
        if "trimap" in inputs:
            alpha = jnp.where(inputs["trimap"] == 0.5, alpha, inputs["trimap"])
        return {"alpha": alpha} | ({heads[1]: output[..., 1:]} if heads[1:] else {})

    shapes = {name: (1, *size, CHANNELS[name]) for name in input_names(model)}
    graph = Graph(by_rule if rule else by_network, shapes, ())
    if not graph.is_fixed:
        names = ["probabilities"] if rule and network.output != "alpha" else heads
        return dataclasses.replace(graph, outputs=tuple(names))
    outputs = jax.eval_shape(graph.function, **graph.shapes)
    return dataclasses.replace(graph, outputs=tuple(outputs))
