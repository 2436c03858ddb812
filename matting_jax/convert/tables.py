"""The tensors in a network's official files: names and shapes; and how a variant is described."""

from __future__ import annotations

import dataclasses
import importlib
from functools import cache

import jax
from flax import linen as nn

from matting_jax.convert.names import Names
from matting_jax.convert.shapes import flat_shapes
from matting_jax.models import name_of

# Axes of a kernel in the official order: HWIO is OIHW there, [in, out] is [out, in].
OFFICIAL_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}
# Keywords that change how a network runs, not what it is.
RUN_KEYWORDS = ("dtype", "axis_name", "frozen_statistics", "form", "parent", "name")


def find_names(model: nn.Module) -> Names:
    """Returns the names of `model` in its official checkpoints, from the file of its network."""
    return importlib.import_module(f"{__package__}.{name_of(model)}").names_of(model)


def official_shape(leaf: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    """Returns the shape of a Flax leaf in an official file."""
    return tuple(leaf.shape[axis] for axis in OFFICIAL_AXES.get(leaf.ndim, range(leaf.ndim)))


@cache
def official_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Returns {official name: shape} of all tensors of `model`, copies included."""
    names = find_names(model).official
    shapes = flat_shapes(model)
    return {name: official_shape(leaf) for path, leaf in shapes.items() for name in names(path)}


def describe(model: nn.Module) -> str:
    """Returns the network's name with its variant: choices, and values that are not the default."""
    fields = [x for x in dataclasses.fields(model) if x.name not in RUN_KEYWORDS]
    values = {x.name: (getattr(model, x.name), x.default) for x in fields}
    variant = [
        f"{name}={value!r}"
        for name, (value, default) in values.items()
        if isinstance(value, str) or value != default
    ]
    return f"{name_of(model)} ({', '.join(variant)})" if variant else name_of(model)
