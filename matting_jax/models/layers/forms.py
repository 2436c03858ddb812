"""The two forms of a layer, and what XLA recomputes.

`form` is "cpu" (fast on CPU), "lax" (operations as papers write them, for accelerators and export)
or "auto", which selects by the platform.
"""

from __future__ import annotations

import dataclasses

import jax
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of

Array = jax.Array


def is_cpu_form(form: str) -> bool:
    """Returns whether `form` selects the CPU form; raises ValueError for an unknown one."""
    one_of(form, ("auto", "cpu", "lax"), "form")
    return form == "cpu" or form == "auto" and jax.default_backend() == "cpu"


def use_lax_form(model: nn.Module) -> nn.Module:
    """Returns `model` with all layers in the form "lax".

    Networks whose layers have only one form have no field `form`.
    """
    has_forms = any(field.name == "form" for field in dataclasses.fields(model))
    return model.clone(form="lax") if has_forms else model


def rematerialise(module: type[nn.Module], enabled: bool) -> type[nn.Module]:
    """Returns `module`; if `enabled`, its activations are recomputed in the backward pass."""
    return nn.remat(module) if enabled else module


def compute_once(x: Array, form: str = "auto") -> Array:
    """Prevents XLA from recomputing x for each use.

    On CPU it would recompute it along a chain of residual blocks: each block would add up all
    blocks before it, and in the backward pass all blocks after it.
    """
    return pass_conditional(x) if is_cpu_form(form) else x


@jax.custom_vjp
def pass_conditional(x: Array) -> Array:
    """Returns x from a conditional, across which XLA does not fuse; all NaN if its first is NaN."""
    first = x[(0,) * x.ndim]
    return lax.cond(first == first, lambda x: x, lambda x: first * x, x)


def pass_conditional_forward(x: Array):
    return pass_conditional(x), None


def pass_conditional_backward(_, g: Array):
    return (pass_conditional(g),)


pass_conditional.defvjp(pass_conditional_forward, pass_conditional_backward)
