"""What the networks learn, one file each.

A task's file has
    synthesize(keys, batch, config) -> inputs, truth: what the network sees and what it should say;
    loss(outputs, inputs, truth, config, axis_name) -> total, terms,
and, only where it needs them,
    check(config): a ValueError for a config that cannot be followed, before any data is read;
    stage(model, config, step) -> model, view: the network that a step trains, with some or all of
    the parameters of `model`, and the size (height, width) that `synthesize` takes as its last
    argument, where training changes between a few of them;
    forward(model, variables, inputs) -> outputs, updated statistics, in place of the plain one;
    evaluate(matter, images, config, shown) -> scores, pictures: of the test data, with pictures by
    name of the first `shown` images, in place of alpha's;
    remember(variables): what it keeps from step to step beside the network, saved with it, and then
    refresh(memory, variables, step, epoch, config): the memory for `step`, which `forward` takes
    as its last argument.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax

from matting_jax.choices import one_of


def task_file(name: str) -> ModuleType:
    """The module of task `name`; ValueError with the nearest name where there is none."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return importlib.import_module(f"{__name__}.{one_of(name, names, 'task')}")


def each_sample(function: Callable[..., Any], *batches: Any) -> Any:
    """`function` of one sample, applied to every sample of the batches.

    On CPU one after the other, because random sizes steer what is read and computed there; on an
    accelerator all at once.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda sample: function(*sample), batches)
    return jax.vmap(function)(*batches)
