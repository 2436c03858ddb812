"""Counts multiply-adds from the operations of a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn
from jax.extend import core

from matting_jax.equations import needed_equations
from matting_jax.models.layers.forms import as_written, use_lax_form


def multiply_adds(function: Callable[..., Any], *arguments: Any) -> int:
    """Counts the multiply-adds of convolutions and matrix products in one call of `function`.

    `arguments` are arrays or their shapes; nothing is computed. Operations that no result needs are
    not counted.
    """
    with as_written():
        program = jax.jit(function).trace(*arguments).jaxpr
    return count(program.jaxpr)


def forward_cost(model: nn.Module, variables: Any, inputs: Mapping[str, Any]) -> int:
    """Counts the multiply-adds of one forward pass as papers do, with all layers as written.

    `variables` and `inputs`, by name, are arrays or their shapes; nothing is computed.
    """
    plain = use_lax_form(model)
    return multiply_adds(lambda v, x: plain.apply(v, **x), variables, inputs)


def count(jaxpr: core.Jaxpr) -> int:
    """Sums over the equations that the results need, including nested programs."""
    return sum(map(count_equation, needed_equations(jaxpr)))


def count_equation(equation: core.JaxprEqn) -> int:
    """Counts the multiply-adds of one equation; of a conditional, those of its costliest branch."""
    parameters = equation.params
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        features = kernel.shape[parameters["dimension_numbers"].rhs_spec[0]]
        return equation.outvars[0].aval.size * (kernel.size // features)
    if equation.primitive.name == "cond":
        return max(count(b.jaxpr) for b in parameters["branches"])
    inner = [p for p in parameters.values() if isinstance(p, core.Jaxpr | core.ClosedJaxpr)]
    repeats = parameters["length"] if equation.primitive.name == "scan" else 1
    return repeats * sum(count(getattr(p, "jaxpr", p)) for p in inner)
