"""Training tasks of the networks: one file a network, each ending with its record `TASK`.

The functions here are those that several tasks share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from matting_jax.choices import one_of
from matting_jax.models import find_network
from matting_jax.parallel import switch
from matting_jax.ranges import check_ranges
from matting_jax.tasks.task import Task

Array = jax.Array


def find_task(name: str) -> Task:
    """Returns the task of the file `name`; raises ValueError that suggests the closest name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "task"]
    return importlib.import_module(f"{__name__}.{one_of(name, names, 'task')}").TASK


def check_config(config: ConfigDict) -> None:
    """Checks the fields of a config, also those that only its network or its task has.

    Raises ValueError that names the first one whose value cannot be.
    """
    network, task = find_network(config.name), find_task(config.task.name)
    check_ranges(config, {**network.ranges, **task.ranges}, network.choices)


def each_sample(function: Callable[..., Any], keys: Array, batch: dict[str, Array]) -> Any:
    """Applies `function(key, arrays)` to each sample of a uint8 batch.

    `arrays` are float32 in [0, 1], except for `label`, which keeps its integers. On CPU samples
    are computed one after another, so that each runs only the branches of its own random choices;
    on an accelerator all in parallel.
    """

    def with_floats(key: Array, arrays: dict[str, Array]) -> Any:
        floats = {
            name: x if name == "label" else x.astype(jnp.float32) / 255
            for name, x in arrays.items()
        }
        return function(key, floats)

    arrays = {name: x for name, x in batch.items() if name != "index"}
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda sample: with_floats(*sample), (keys, arrays))
    return jax.vmap(with_floats)(keys, arrays)


def random_flip(key: Array, probability: float, arrays: Any) -> Any:
    """Flips all arrays [H, W, ...] of a tree left to right, with `probability`, or none of them."""

    def flip(arrays: Any) -> Any:
        return jax.tree.map(lambda x: x[:, ::-1], arrays)

    # A condition, unlike a choice of pixels, lets XLA compute the arrays once and in order.
    return jax.lax.cond(jax.random.bernoulli(key, probability), flip, lambda x: x, arrays)


def apply_randomly(
    key: Array, probability: float, function: Callable[[Array], Array], x: Array
) -> Array:
    """Returns `function(x)` with `probability`, x otherwise."""
    chosen = jax.random.bernoulli(key, probability)
    return switch(chosen.astype(jnp.int32), [lambda x: x, function], x)
