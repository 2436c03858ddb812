"""Primitives that only call a program."""

from __future__ import annotations

from typing import Any

from jax.extend import core

# The parameter that holds the program, by the name of the primitive.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}


def inner_program(equation: Any) -> core.ClosedJaxpr:
    """Returns the program that an equation of `CALLS` calls."""
    inner = equation.params[CALLS[equation.primitive.name]]
    return inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
