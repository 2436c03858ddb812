"""Traces of a few training steps by jax.profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax


def check_profile_steps(steps: Sequence[int], last: int) -> None:
    """Raises ValueError unless `steps` is empty, or a first step up to `last` and a last step."""
    if steps and (len(steps) != 2 or not 1 <= steps[0] <= steps[1]):
        raise ValueError(
            f"--config.profile_steps must be () or (FIRST, LAST) with 1 <= FIRST <= LAST, got "
            f"{tuple(steps)}"
        )
    if steps and steps[0] > last:
        raise ValueError(
            f"--config.profile_steps is {tuple(steps)}, but training ends after step {last}: set "
            "steps that are trained"
        )


@contextmanager
def profile_steps(steps: Sequence[int], folder: Path) -> Iterator[Callable[[int, Any], None]]:
    """Yields a function to call before each step, which traces the steps asked for.

    Args:
        steps: () for none, or the first and the last step.
        folder: where jax.profiler writes, in `plugins/profile`, for TensorBoard or xprof.

    Yields:
        f(step, state), given the state that the step starts from. The trace ends before the step
        after the last one, or with the block.
    """
    first, last = steps or (0, 0)
    running = False

    def end(state: Any) -> None:
        nonlocal running
        jax.block_until_ready(state)  # steps are dispatched before they are computed
        jax.profiler.stop_trace()
        running = False

    def before(step: int, state: Any) -> None:
        nonlocal running
        if running and step > last:
            end(state)
        if step == first:
            jax.profiler.start_trace(str(folder))
            running = True

    try:
        yield before
    finally:
        if running:
            end(None)
