"""The networks, one file each.

A network's file has its class, listed in `NETWORKS`, whose `__call__` names what it takes (see
`CHANNELS`) and returns a dict with `alpha`, and its published test-time rule, on the host:
    prepare(model, image, **options) -> inputs: image [H, W, 3] float32 in [0, 1], and by name what
        else the network takes, a trimap as [H, W, 1], to inputs [1, h, w, C];
    restore(model, alpha, height, width, **options): its alpha [1, h, w, 1] to [height, width].
`options` are the config's `test_time`. Only where a network needs it, its file has
    RESULT: the output that `restore` takes, in place of `alpha`;
    passes(model, image, **options) -> {output: inputs}: where the rule looks at a photo more than
        once; `restore` then takes a dict of these outputs;
    OPTIONAL_MODULES: parts that some of its variants lack, so that configs may name their rates.
One whose outputs tell a trimap has a line in `trimap_from.RULES` and `trimap_from.HEADS`.
"""

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
NETWORKS = {
    "modnet": "MODNet",
    "dim": "DIM",
    "gca": "GCA",
    "pp_matting": "PPMatting",
    "gfm": "GFM",
    "bgmv2": "BGMv2",
    "bisenet_v2": "BiSeNetV2",
}
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
