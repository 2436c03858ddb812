"""The test-time rule of every network can be compiled whole for clips."""

from functools import partial

import jax
import numpy as np
import pytest
from flax import traverse_util

from matting_jax.convert.shapes import flat_shapes
from matting_jax.models import NETWORKS, create_model, input_names, network_of
from matting_jax.prediction.matter import select_heads
from matting_jax.prediction.video.frames import predict_layers
from tests.tiny import TINY

SLOW = ("pp_matting",)  # to trace
ALPHA = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, network in NETWORKS.items()
    if network.output == "alpha" and name not in TINY
]


class Rule:
    """What `predict_layers` reads of a Matter, without variables."""

    def __init__(self, name):
        model = create_model(name)
        self.name, self.network = name, network_of(model)
        self.rule = partial(self.network.predict, model=model)
        self.programs = type("Programs", (), {"function": partial(select_heads, model, name)})
        self.inputs = input_names(model)
        self.variables = traverse_util.unflatten_dict(flat_shapes(model))


@pytest.mark.parametrize("name", ALPHA)
def test_rule_is_traced_whole_with_the_networks_colours(name):
    """Nothing is compiled: what cannot be traced raises an error."""
    rule, shape = Rule(name), (2, 130, 170)
    kinds = {"trimap": (1, np.float32)}
    inputs = {}
    for x in rule.inputs:
        channels, dtype = kinds.get(x, (3, np.uint8))
        inputs[x] = jax.ShapeDtypeStruct((*shape, channels), dtype)
    more = (rule.network.foreground,) if rule.network.foreground else ()
    found = jax.eval_shape(partial(predict_layers, rule, more), rule.variables, inputs)
    assert found["alpha"].shape == (*shape, 1) and found["alpha"].dtype == np.float32
    assert ("foreground" in found) == bool(more)
    if more:
        assert found["foreground"].shape == (*shape, 3)
    assert "background" not in found and "trimap" not in found
