"""The networks, one file each."""
from __future__ import annotations

import dataclasses
import importlib
import inspect
from types import ModuleType
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from matting_jax.choices import one_of

# name: class, in the file of that name
NETWORKS = {"modnet": "MODNet", "bisenet_v2": "BiSeNetV2"}
# What a network may take, by its channels.
CHANNELS = {"image": 3, "trimap": 1, "background": 3}


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


def input_names(model: nn.Module) -> list[str]:
    """What `model` takes: "image", and where it needs them "trimap" or "background"."""
    return [name for name in inspect.signature(type(model).__call__).parameters if name in CHANNELS]


def example_inputs(model: nn.Module, height: int = 64, width: int = 64) -> dict[str, jnp.ndarray]:
    """Zeros [1, height, width, C] for each input of `model`, to draw or count its variables by."""
    return {name: jnp.zeros((1, height, width, CHANNELS[name])) for name in input_names(model)}
