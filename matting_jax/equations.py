"""The equations of a traced function: which of them its results need, and their values."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend import core


def needed_equations(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
    """Returns the equations that the results of `jaxpr` depend on, in their order."""
    needed = {v for v in jaxpr.outvars if isinstance(v, core.Var)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            needed.update(v for v in equation.invars if isinstance(v, core.Var))
            equations.append(equation)
    return equations[::-1]


def evaluate(traced: jax.stages.Traced, *arguments: Any, **keywords: Any) -> Any:
    """Returns what the traced function returns, computed equation by equation.

    Equations of the same kind and shapes are compiled once, and those that the results do not need
    never: for one call of a function of many alike equations that takes a fraction of the time of
    compiling it as one program.
    """
    jaxpr = traced.jaxpr.jaxpr
    short = core.ClosedJaxpr(jaxpr.replace(eqns=needed_equations(jaxpr)), traced.jaxpr.consts)
    results = core.jaxpr_as_fun(short)(*jax.tree.leaves((arguments, keywords)))
    return jax.tree.unflatten(jax.tree.structure(traced.out_info), results)
