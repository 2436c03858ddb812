"""One sentence for a wrong choice, with the nearest valid one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def one_of(value: str, choices: Iterable[str], kind: str) -> str:
    """`value` if it is among `choices`, else ValueError that names the nearest choice."""
    choices = list(choices)
    if value in choices:
        return value
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.0)
    others = f" (there is {', '.join(choices)})" if len(choices) <= 12 else ""
    raise ValueError(f"unknown {kind} {value!r}: did you mean {near[0]!r}?{others}")
