"""Reads pickles that may only hold arrays: none of them can run code."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any


class NotAnArray(Exception):
    """A pickle needs a global that a dict of arrays does not; the message is its name."""


class UnusableTensor(Exception):
    """A tensor that has no array; the message says why, and how to save it."""


class PlainDict(OrderedDict):
    """An OrderedDict that ignores the attributes which a pickle sets."""

    def __setstate__(self, state: Any) -> None:
        """Ignores `state`, which could replace methods."""


# The class in C allocates as much memory as a damaged or hostile pickle claims to need.
class RestrictedUnpickler(pickle._Unpickler):
    """Unpickles with the globals of a table; raises NotAnArray for anything else."""

    def __init__(self, file: Any, parts: Mapping[str, Any], encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.parts = parts

    def find_class(self, module: str, name: str) -> Any:
        """Returns what the table has in place of a global; NumPy 2's names are NumPy 1's."""
        wanted = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if wanted not in self.parts:
            raise NotAnArray("".join(x if x.isprintable() else "?" for x in wanted))
        return self.parts[wanted]
