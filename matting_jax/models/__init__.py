"""The networks, one file each, which ends with its record; see `network.Network`."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from matting_jax.choices import one_of
from matting_jax.models import bgmv2, bisenet_v2, dim, gca, gfm, modnet, pp_matting
from matting_jax.models.network import Network

NETWORKS: dict[str, Network] = {
    "modnet": modnet.NETWORK,
    "dim": dim.NETWORK,
    "gca": gca.NETWORK,
    "pp_matting": pp_matting.NETWORK,
    "gfm": gfm.NETWORK,
    "bgmv2": bgmv2.NETWORK,
    "bisenet_v2": bisenet_v2.NETWORK,
}
CHANNELS = {"image": 3, "trimap": 1, "background": 3}  # of the inputs of networks


def find_network(name: str) -> Network:
    """Returns the record of network `name`; raises ValueError with the closest valid name."""
    return NETWORKS[one_of(name, NETWORKS, "network")]


def create_model(name: str, **keywords: Any) -> nn.Module:
    """Returns the linen module of network `name`, by default with the paper's values.

    Raises ValueError for an unknown name or keyword, with the closest valid one.
    """
    module = find_network(name).module
    fields = [field.name for field in dataclasses.fields(module) if field.name != "parent"]
    for keyword in keywords:
        one_of(keyword, fields, f"keyword of {name}")
    return module(**keywords)


def name_of(model: nn.Module) -> str:
    """Returns the name under which the network of `model` is registered."""
    for name, network in NETWORKS.items():
        if type(model) is network.module:
            return name
    raise ValueError(f"{type(model).__name__} is not a network of matting_jax.models.NETWORKS")


def network_of(model: nn.Module) -> Network:
    """Returns the record of the network of `model`."""
    return NETWORKS[name_of(model)]


def rule_options(name: str) -> dict[str, Any]:
    """Returns the options of the test-time rule of network `name`, with their defaults."""
    parameters = inspect.signature(find_network(name).predict).parameters.values()
    options = [x for x in parameters if x.kind is x.KEYWORD_ONLY and x.name != "model"]
    return {x.name: x.default for x in options}


def input_names(model: nn.Module) -> list[str]:
    """Returns the inputs of `model`: "image" and, if it takes them, "trimap" or "background"."""
    return [name for name in inspect.signature(type(model).__call__).parameters if name in CHANNELS]


def example_inputs(model: nn.Module, height: int = 64, width: int = 64) -> dict[str, jnp.ndarray]:
    """Returns zeros [1, height, width, C] for each input of `model`, for `model.init`."""
    return {name: jnp.zeros((1, height, width, CHANNELS[name])) for name in input_names(model)}
