"""Checks the options of test-time rules: their names, types and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from matting_jax.choices import one_of
from matting_jax.config import TYPES
from matting_jax.models import find_network, rule_options
from matting_jax.ranges import check_range

# By the type of an option's default, the types that its value may have.
KINDS = {bool: bool, int: int, float: int | float, str: str, tuple: tuple | list}


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of the test-time rule of network `name` as a dict.

    Raises ValueError for a name that it does not have, and for a value of another type than the
    default, out of its range or none of its choices.
    """
    defaults, network = rule_options(name), find_network(name)
    for option, value in options.items():
        one_of(option, defaults or ("none",), f"option of {name}'s test-time rule")
        value = value.item() if isinstance(value, np.generic) else value
        kind = type(defaults[option])
        if not isinstance(value, KINDS[kind]) or (kind is not bool and isinstance(value, bool)):
            raise ValueError(f"test_time.{option} must be {TYPES[kind]}, got {value!r:.80}")
        field = f"test_time.{option}"
        check_range(field, value, field, network.ranges)
        if field in network.choices:
            one_of(value, network.choices[field], field)
    return dict(options)
