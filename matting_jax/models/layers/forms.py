"""Two forms of a layer, and what XLA computes once, keeps or computes again.

`form` is "cpu", "lax" (operations as written, for accelerators and export) or "auto", which asks
the platform.
"""

from __future__ import annotations

import dataclasses

import jax
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of

Array = jax.Array


def is_cpu_form(form: str) -> bool:
    """Whether `form` asks for the forms that are fast on CPU; ValueError for an unknown one."""
    one_of(form, ("auto", "cpu", "lax"), "form")
    return form == "cpu" or form == "auto" and jax.default_backend() == "cpu"


def use_lax_form(model: nn.Module) -> nn.Module:
    """Returns `model` with all its layers in the form "lax", as papers count and exports need them.

    Networks whose layers have no other form have no field `form`.
    """
    has_forms = any(field.name == "form" for field in dataclasses.fields(model))
    return model.clone(form="lax") if has_forms else model


def rematerialised(module: type[nn.Module], again: bool) -> type[nn.Module]:
    """`module`; if `again`, what it has inside is computed again in the backward pass, not kept."""
    return nn.remat(module) if again else module


def computed_once(x: Array, form: str = "auto") -> Array:
    """x, which XLA may not compute again for each of its uses.

    On CPU it would along a chain of residual blocks: each block would sum up all blocks before it,
    and backward all blocks after it.
    """
    return behind_condition(x) if is_cpu_form(form) else x


@jax.custom_vjp
def behind_condition(x: Array) -> Array:
    """x, behind a conditional, which XLA does not look through; all NaN where its first is NaN."""
    first = x[(0,) * x.ndim]
    return lax.cond(first == first, lambda x: x, lambda x: first * x, x)


def behind_condition_forward(x: Array):
    return behind_condition(x), None


def behind_condition_backward(_, g: Array):
    return (behind_condition(g),)


behind_condition.defvjp(behind_condition_forward, behind_condition_backward)
