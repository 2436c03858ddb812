"""The networks, one file each."""
from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType
from typing import Any

from flax import linen as nn

from matting_jax.choices import one_of

# name: class, in the file of that name
NETWORKS = {"modnet": "MODNet"}


def network_file(name: str) -> ModuleType:
    """The module that holds network `name`: its class, `prepare` and `restore`."""
    return importlib.import_module(f"{__name__}.{one_of(name, NETWORKS, 'network')}")


def create_model(name: str, **keywords: Any) -> nn.Module:
    """The linen module of network `name`, the paper's values as defaults.

    Raises ValueError for an unknown name or keyword, with the nearest one that exists.
    """
    network = getattr(network_file(name), NETWORKS[name])
    fields = [field.name for field in dataclasses.fields(network) if field.name != "parent"]
    for keyword in keywords:
        one_of(keyword, fields, f"keyword of {name}")
    return network(**keywords)
