"""Guards: each raises a ValueError that says what is wrong, which value, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

LINES, WIDTH = 20, 300  # of an error message, and characters of a line


def one_of(
    value: str, choices: Iterable[str], kind: str, synonyms: Mapping[str, str] | None = None
) -> str:
    """Returns `value` if it is among `choices`; otherwise the error suggests the closest one.

    Args:
        value: what was given.
        choices: the valid values.
        kind: what they are, for the error message.
        synonyms: what to suggest for words that are known elsewhere; of a dotted value the last
            word counts.

    Raises:
        ValueError: if `value` is not valid.
    """
    choices = list(choices)
    if value in choices:
        return value
    value = str(value or "")  # in Python it may be anything
    if not value:
        raise ValueError(f"no {kind} is given: choose one of {shorten_list(choices)}")
    closest = (synonyms or {}).get(value.rpartition(".")[2].lower())
    closest = closest or difflib.get_close_matches(value, choices, n=1, cutoff=0.0)[0]
    listed = f" (valid: {', '.join(choices)})" if len(choices) <= 12 else ""
    raise ValueError(f"unknown {kind} {value!r}: did you mean {closest!r}?{listed}")


def shorten_list(choices: Sequence[str]) -> str:
    """Returns the first choices, joined by commas."""
    return ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")


def at_least(value: float, least: float, field: str) -> None:
    """Raises ValueError for a value of `field` below `least`."""
    if not value >= least:
        raise ValueError(f"{field} must be at least {least}, got {value}")


def is_probability(value: float, field: str) -> None:
    """Raises ValueError for a value of `field` outside [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{field} must be a probability in [0, 1], got {value}")


def require_input(kind: str, given: Collection[str], network: str, remedy: str) -> None:
    """Raises ValueError if the `kind` of input that a network needs is not among the `given`."""
    if kind not in given:
        raise ValueError(f"{network} needs a {kind} for each photo: {remedy}")


def refuse_input(kind: str, taken: Collection[str], network: str, option: str) -> None:
    """Raises ValueError if a `kind` of input, given by `option`, is not among those `taken`."""
    if kind not in taken:
        raise ValueError(f"{network} takes no {kind}: omit {option}")


def shorten(lines: Sequence[str], last: str = "") -> str:
    """Returns an error message of at most 20 lines, which counts those that it omits.

    Long lines are cut. `last`, if it is not empty, is the last line.
    """
    lines = [line if len(line) <= WIDTH else f"{line[:WIDTH]}..." for line in lines]
    ends = [last] if last else []
    if len(lines) + len(ends) > LINES:
        kept = LINES - 1 - len(ends)
        lines = [*lines[:kept], f"  and {len(lines) - kept} more"]
    return "\n".join([*lines, *ends])


def check_finite(arrays: Mapping[str, Any], what: str) -> None:
    """Raises ValueError that lists the arrays of `what` with values that are NaN or infinite."""
    import numpy as np  # slow to import, and a wrong flag needs only the other guards

    faults = [
        f"{name} ({x.size - np.count_nonzero(np.isfinite(x))} of {x.size} values)"
        for name, x in arrays.items()
        if not np.isfinite(x).all()
    ]
    if faults:
        start = f"weights of {what} are NaN or infinite"
        if len(faults) == 1:
            raise ValueError(f"{start}: {faults[0]}")
        raise ValueError(shorten([f"{start}:", *(f"  {fault}" for fault in faults)]))
