"""Networks hand `form` on to all of their layers."""

import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from jax.extend import core

from matting_jax.models import create_model, example_inputs
from matting_jax.models.layers import forms
from matting_jax.models.layers.forms import relu_once, use_lax_form

NETWORKS = [
    ("modnet", {}),
    ("modnet", {"context": "easpp"}),
    ("dim", {}),
    ("gca", {}),
    ("pp_matting", {"backbone": "hrnet_w18"}),
    ("gfm", {}),
    ("gfm", {"backbone": "resnet34_2b"}),
    ("gfm", {"backbone": "densenet121"}),
    ("bgmv2", {}),
    ("bgmv2", {"backbone": "mobilenet_v2", "sample_pixels": 16}),
    ("bisenet_v2", {}),
]


@pytest.fixture
def form_required(monkeypatch):
    """Fails where a layer has the form "auto"."""
    original = forms.is_cpu_form

    def is_cpu_form(form):
        assert form != "auto", "a layer did not get the form"
        return original(form)

    readers = [x for x in sys.modules.values() if hasattr(x, "is_cpu_form")]
    assert len(readers) > 2
    for module in readers:
        monkeypatch.setattr(module, "is_cpu_form", is_cpu_form)


def primitives(jaxpr: core.Jaxpr) -> Iterator[str]:
    """The names of all primitives of a program and of the programs within it."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr),
        ):
            if isinstance(inner, core.Jaxpr | core.ClosedJaxpr):
                yield from primitives(getattr(inner, "jaxpr", inner))


@pytest.mark.parametrize(("name", "keywords"), NETWORKS)
def test_lax_form_reaches_all_layers(form_required, name, keywords):
    model = use_lax_form(create_model(name, **keywords))
    inputs = example_inputs(model, 64, 64)

    def forward(key):
        return model.init_with_output(key, **inputs)

    program = jax.make_jaxpr(forward)(jax.random.key(0)).jaxpr
    assert "conv_general_dilated" in set(primitives(program))


def test_missing_form_is_found(form_required):
    with pytest.raises(AssertionError, match="did not get the form"):
        relu_once(jnp.zeros((1, 2, 2, 1)))
