"""Gradient accumulation: a batch that is computed in parts, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def check_parts(batch_size: int, devices: int, parts: int) -> None:
    """Raise ValueError where the part of a batch on one device is no multiple of `parts`."""
    local = batch_size // devices
    if parts < 1 or local % parts:
        raise ValueError(
            f"accumulate={parts} does not divide the {local} samples of batch_size={batch_size} "
            f"on each device ({devices} here): set --config.accumulate to a divisor of {local}"
        )


def in_parts(
    function: Callable[[Any, Any], tuple[Any, Any]], carry: Any, batch: Any, parts: int
) -> tuple[Any, Any]:
    """`carry, results = function(carry, part)` for each part of a batch; the means of the results.

    `batch`: arrays [B, ...], `parts` a divisor of B. Sample i is in part i modulo `parts`, so that
    a part holds the same samples however many devices share them.
    """
    if parts == 1:
        return function(carry, batch)
    batch = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(state: Any, part: Any) -> tuple[Any, None]:
        carry, sums = state
        carry, results = function(carry, part)
        return (carry, jax.tree.map(jnp.add, sums, results)), None

    _, results = jax.eval_shape(function, carry, jax.tree.map(lambda x: x[0], batch))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), results)
    (carry, sums), _ = jax.lax.scan(add, (carry, zeros), batch)
    return carry, jax.tree.map(lambda x: x / parts, sums)
