"""Trimaps made from the outputs of trimap-free networks."""

import jax
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.models import NETWORKS, example_inputs
from matting_jax.prediction.trimap_from import make_trimap, probabilities, rule_of, trimap

MAKERS = ["modnet", "pp_matting", "gfm", "bisenet_v2"]
KEYWORDS = {"bisenet_v2": {"num_classes": 3}, "pp_matting": {"backbone": "hrnet_w18"}}


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.25])
def test_known_pixels_have_only_their_kind_within_the_margin(margin):
    rng = np.random.default_rng(0)
    foreground = np.kron(rng.choice([0.0, 0.5, 0.9, 1.0], (3, 4)), np.ones((6, 5)))
    background = np.where(foreground == 0.0, rng.choice([0.8, 0.95]), 1 - foreground)
    made = trimap(foreground, background, 0.9, margin)
    rows, columns = np.indices(made.shape)
    for row, column in np.ndindex(made.shape):
        near = np.hypot(rows - row, columns - column) <= margin * 20
        sure = (foreground[near] >= 0.9).all(), (background[near] >= 0.9).all()
        assert made[row, column] == {(True, False): 1, (False, True): 0}.get(sure, 0.5)
    assert made.dtype == np.float32 and (margin or (made == 1).any())


def test_foreground_next_to_background_has_an_unknown_band():
    foreground = np.repeat([[0.0, 1.0]], 10, 1).repeat(5, 0)
    made = trimap(foreground, 1 - foreground, 0.9, 0.1)
    np.testing.assert_array_equal(made, np.tile([0.0] * 8 + [0.5] * 4 + [1.0] * 8, (5, 1)))
    whole = np.ones((5, 20))
    assert (trimap(whole, 1 - whole, 0.9, 0.1) == 1).all()
    assert (trimap(1 - whole, whole, 0.9, 0.1) == 0).all()


@pytest.mark.parametrize("name", MAKERS)
def test_heads_are_outputs_of_their_network(name):
    model = mj.create_model(name, **KEYWORDS.get(name, {}))
    inputs = example_inputs(model)
    outputs = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), **inputs)[0])
    rule = NETWORKS[name].trimap
    assert rule.head in rule.heads
    for head, channels in rule.heads.items():
        assert outputs[head].shape[-1] == (3 if len(channels) > 1 else 1)


def test_trimap_reads_the_channels_of_each_network():
    """PP-Matting has foreground first, the others background."""
    classes = np.eye(3)[None]  # three pixels, certainly of the first, second and third class
    for name, head, expected in (
        ("bisenet_v2", "logits", [0, 0.5, 1]),
        ("gfm", "glance", [0, 0.5, 1]),
        ("pp_matting", "semantic", [1, 0.5, 0]),
    ):
        rule = rule_of(name, {"head": head, "margin": 0})
        made = make_trimap(rule, classes, 1, 3)
        np.testing.assert_array_equal(made, [expected])
    alpha = np.array([[0.01, 0.5, 0.99]])[..., None]
    np.testing.assert_array_equal(
        make_trimap(rule_of("modnet", {"margin": 0}), alpha, 1, 3), [[0, 0.5, 1]]
    )


@pytest.mark.parametrize("name", ["gca", "dim", "bgmv2"])
def test_networks_with_further_inputs_make_no_trimap(name):
    with pytest.raises(
        ValueError, match=f"{name} makes no trimap: .* the photo, modnet, pp_matting"
    ):
        rule_of(name)


@pytest.mark.parametrize(
    "name, given, words",
    [
        ("gfm", {"head": "glence"}, "did you mean 'glance'"),
        ("modnet", {"head": "glance"}, "head of modnet that makes a trimap"),
        ("modnet", {"margins": 0.1}, "did you mean 'margin'"),
        ("modnet", {"sure": 0.4}, "sure must be from 0.5 to 1, got 0.4"),
        ("modnet", {"sure": 95}, "from 0.5 to 1, got 95"),
        ("modnet", {"margin": -0.1}, "margin must be at least 0"),
        ("modnet", {"margin": 20}, "below 0.5, got 20"),
    ],
)
def test_wrong_rule_raises_an_error_that_says_what_to_do(name, given, words):
    with pytest.raises(ValueError, match=words):
        rule_of(name, given)


def test_network_with_other_classes_makes_no_trimap():
    with pytest.raises(ValueError, match="logits has 19 classes, but a trimap"):
        probabilities(rule_of("bisenet_v2"), np.zeros((4, 4, 19)))
    with pytest.raises(ValueError, match="glance has 2 classes"):  # those of FT and BT
        probabilities(rule_of("gfm"), np.zeros((4, 4, 2)))
