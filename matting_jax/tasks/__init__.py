"""What the networks learn: one file a network, each ending with its record `TASK`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import jax

from matting_jax.choices import one_of
from matting_jax.tasks.task import Task


def find_task(name: str) -> Task:
    """Returns the task of the file `name`; raises ValueError that suggests the closest name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "task"]
    return importlib.import_module(f"{__name__}.{one_of(name, names, 'task')}").TASK


def each_sample(function: Callable[..., Any], *batches: Any) -> Any:
    """`function` of one sample, applied to every sample of the batches.

    On CPU one after the other, because random sizes steer what is read and computed there; on an
    accelerator all at once.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda sample: function(*sample), batches)
    return jax.vmap(function)(*batches)
