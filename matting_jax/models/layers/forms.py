"""The two forms of a layer, and what XLA recomputes.

`form` is "cpu" (fast on CPU), "lax" (operations as papers write them, for accelerators and export)
or "auto", which selects by the platform.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.choices import one_of

Array = jax.Array

plain_convolutions = ContextVar("plain_convolutions", default=False)


def is_cpu_form(form: str) -> bool:
    """Returns whether `form` selects the CPU form; raises ValueError for an unknown one."""
    one_of(form, ("auto", "cpu", "lax"), "form")
    return form == "cpu" or form == "auto" and on_cpu()


def on_cpu() -> bool:
    """Returns whether programs run on CPU, for choices that do not depend on `form`."""
    return jax.default_backend() == "cpu"


@contextmanager
def as_written() -> Iterator[None]:
    """Traces each dense convolution as one operation, for export and to count multiply-adds."""
    token = plain_convolutions.set(True)
    try:
        yield
    finally:
        plain_convolutions.reset(token)


def use_lax_form(model: nn.Module) -> nn.Module:
    """Returns `model` with all layers in the form "lax".

    Networks whose layers have only one form have no field `form`.
    """
    has_forms = any(field.name == "form" for field in dataclasses.fields(model))
    return model.clone(form="lax") if has_forms else model


def rematerialise(module: type[nn.Module], enabled: bool) -> type[nn.Module]:
    """Returns `module`; if `enabled`, its activations are recomputed in the backward pass."""
    return nn.remat(module) if enabled else module


def relu_once(x: Array, form: str = "auto") -> Array:
    """Computes max(x, 0) for the end of a residual block, so that XLA does not recompute x.

    XLA for CPU recomputes a maximum for each of its uses: along a chain of residual blocks each
    block would add up all blocks before it. It computes a selection, the CPU form, only once.
    """
    return jnp.where(x <= 0, 0, x) if is_cpu_form(form) else nn.relu(x)


def compute_once(x: Array) -> Array:
    """Returns x, which XLA for CPU then does not recompute for each use of it.

    Otherwise it fuses concatenated and resized maps into each operation that reads them, and keeps
    the samples in memory that they are made of. It computes a selection only once. Gradients pass
    unchanged.
    """
    return select_all(x) if on_cpu() and not plain_convolutions.get() else x


@jax.custom_jvp
def select_all(x: Array) -> Array:
    """Returns x by a selection that XLA cannot simplify."""
    return jnp.where(x <= -jnp.inf, -jnp.inf, x)


@select_all.defjvp
def select_all_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return select_all(*primals), tangents[0]
