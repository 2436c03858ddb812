"""Values that normalisation layers need at inference, computed once from their variables.

Programs read them in place of parameters and statistics, and then run and compile faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from matting_jax.models.layers.norms import fold_batch_norm
from matting_jax.models.layers.spectral import fold_spectral_norm

Tree = Mapping[str, Any]

# By the collection and the names of the statistics of a layer: the function that computes what
# inference needs from its parameters and its statistics.
RULES = {
    ("batch_stats", frozenset(("mean", "var"))): fold_batch_norm,
    ("spectral", frozenset(("u", "v"))): fold_spectral_norm,
}


def fold(variables: Tree) -> dict[str, Any]:
    """Returns `variables` with the collection `folded`, which `BatchNorm` and `SpectralConv` read.

    Predictions are the same to rounding. Training needs the variables without the collection,
    because it does not follow them.
    """
    # One transfer: one for each array would be slow from an accelerator.
    statistics = {name: variables[name] for name, _ in RULES if name in variables}
    folded = fold_module(variables.get("params", {}), jax.device_get(statistics))
    return {**variables, "folded": folded}


def fold_module(params: Tree, statistics: Mapping[str, Tree]) -> dict[str, Any]:
    """Returns the folded variables of one module; its `statistics` are named by collection."""
    for collection, tree in statistics.items():
        rule = RULES.get((collection, frozenset(tree)))
        if rule is not None:
            return rule(jax.device_get(params), tree)
    children = {
        name: None
        for tree in statistics.values()
        for name, child in tree.items()
        if isinstance(child, Mapping)
    }
    return {
        name: fold_module(
            params.get(name, {}),
            {collection: tree[name] for collection, tree in statistics.items() if name in tree},
        )
        for name in children
    }
