"""Guesses which network a file that does not fit holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from flax import linen as nn

from matting_jax.convert.find import Content, find_tensors
from matting_jax.convert.tables import describe, find_names, official_shapes
from matting_jax.models import NETWORKS, create_model, name_of

# Similarity to a network from which it is named as the one that a file holds, and from which no
# other networks are tried.
ALIKE, NEARLY_EQUAL = 0.5, 0.9


def guess(model: nn.Module, content: Content) -> str:
    """Returns which network or variant other than `model` a file seems to hold, "" if none does.

    This takes seconds, because it builds the tables of all networks.
    """
    scores = [(similarity(content, model), 0, model)]

    def compare(others: Iterator[nn.Module]) -> None:
        for other in others:
            scores.append((similarity(content, other), -len(scores), other))

    compare(variants(name_of(model)))
    if max(scores)[0] < NEARLY_EQUAL:
        compare(create_model(name) for name in NETWORKS if name != name_of(model))
        compare(variants(name_of(max(scores)[2])))
    best, _, found = max(scores)
    if found is model or best < ALIKE:
        return ""
    return f"it looks like a checkpoint of {describe(found)}"


def variants(name: str) -> Iterator[nn.Module]:
    """Yields the network `name` with its defaults, and its variants that have other tensors."""
    model = create_model(name)
    yield model
    for keywords in find_names(model).variants:
        yield create_model(name, **keywords)


def similarity(content: Content, model: nn.Module) -> float:
    """Returns how well a file fits a network: tensors that fit among all of both, in [0, 1]."""
    shapes, names = official_shapes(model), find_names(model)
    try:
        tensors = find_tensors(content, shapes)
    except ValueError:  # several sets of weights fit
        return 1.0
    tensors = {name: x for name, x in tensors.items() if name not in names.constants}
    fitting = sum(name in shapes and np.shape(x) == shapes[name] for name, x in tensors.items())
    return fitting / len(shapes.keys() | tensors.keys())
