"""The test-time rules of all networks, in NumPy and compiled as a whole."""

from functools import partial

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.models import NETWORKS, input_names, network_of
from tests.goldens import synth

RULES = {
    "modnet": ("modnet", {}, {"reference_size": 64}),
    "modnet paddle": ("modnet", {"flavour": "paddle"}, {"reference_size": 64}),
    "dim": ("dim", {}, {}),
    "gca": ("gca", {}, {}),
    "pp_matting": ("pp_matting", {}, {"max_short": 48}),
    "gfm": ("gfm", {}, {}),
    "gfm resize": ("gfm", {}, {"strategy": "resize"}),
    "gfm ft": ("gfm", {"rosta": "ft"}, {}),
    "gfm bt": ("gfm", {"rosta": "bt"}, {}),
    "gfm rim": ("gfm", {"rosta": "rim"}, {}),
    "bgmv2": ("bgmv2", {}, {}),
    "bgmv2 base": ("bgmv2", {"refine": False}, {}),
    "bisenet_v2": ("bisenet_v2", {}, {"short_side": 64}),
}


def stand_in(head, image, *, classes, **inputs):
    """A network without weights: smooth outputs, but classes that depend only on the position."""
    if head == "glance":
        height, width = image.shape[1:3]
        rows, columns = np.mgrid[:height, :width] // 16
        return np.eye(classes, dtype=np.float32)[(rows + columns) % classes][None].repeat(
            len(image), 0
        )
    total = image + sum(inputs.values())
    return total if head == "logits" else total[..., :1] / 2


@pytest.mark.parametrize("rule", RULES)
def test_compiled_rule_equals_that_of_the_host(rule):
    name, keywords, options = RULES[rule]
    model = mj.create_model(name, **keywords)
    channels = {"image": 3, "trimap": 1, "background": 3}
    inputs = {
        kind: synth.image(70, 110, channels[kind], 2, seed)
        for seed, kind in enumerate(input_names(model))
    }

    apply = partial(stand_in, classes=2 if keywords.get("rosta") in ("ft", "bt") else 3)

    def predict(**inputs):
        return network_of(model).predict(apply, **inputs, model=model, **options)

    host = predict(**inputs)
    assert isinstance(host, np.ndarray) and host.dtype == np.float32
    assert host.shape == (2, 70, 110, 3 if name == "bisenet_v2" else 1) and host.std() > 0.01
    compiled = jax.jit(predict)(**inputs)
    np.testing.assert_allclose(compiled, host, atol=2e-5)
    for i in range(2):
        single = predict(**{kind: x[i : i + 1] for kind, x in inputs.items()})
        np.testing.assert_array_equal(single[0], host[i])


def test_rules_of_all_networks_are_compiled():
    tiny = {name for name in NETWORKS if name.startswith("tiny")}
    assert {name for name, _, _ in RULES.values()} == NETWORKS.keys() - tiny


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("height, width", [(70, 110), (33, 200), (5, 5), (301, 97)])
def test_passes_are_those_of_the_rule(rule, height, width):
    name, keywords, options = RULES[rule]
    model = mj.create_model(name, **keywords)
    sizes = {}

    def apply(head, **inputs):
        sizes[head] = inputs["image"].shape[1:3]
        return np.zeros((*inputs["image"].shape[:3], 3), np.float32)

    channels = {"image": 3, "trimap": 1, "background": 3}
    images = {x: np.zeros((1, height, width, channels[x]), np.float32) for x in input_names(model)}
    network_of(model).predict(apply, **images, model=model, **options)
    assert network_of(model).passes(height, width, model=model, **options) == sizes
