"""GFM against the official code."""
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import matting_jax as mj
from matting_jax.models import gfm
from tests.conftest import compiled_quickly
from tests.goldens import gfm as checkpoints
from tests.goldens import synth

GOLDENS = Path(__file__).parents[1] / "goldens"

pytestmark = pytest.mark.filterwarnings("ignore:.*as the official loader does")


def run(golden, manifest, height, width, seed, **keywords):
    """(outputs, intermediates) of a golden's network and image."""
    variables = mj.from_state_dict(
        "gfm", checkpoints.state_dict(manifest, golden, seed), **keywords
    )
    model = mj.create_model("gfm", **keywords)

    @jax.jit
    def forward(variables, image):
        return model.apply(variables, image=image, capture_intermediates=True)

    with compiled_quickly():
        outputs, captured = forward(variables, synth.image(height, width, 3, 1, seed))
    return outputs, captured["intermediates"]


def assert_same_alpha(ours, theirs, glance):
    """Equal where the two best scores differ: a flipped label may change alpha by up to 1."""
    scores = np.sort(glance, -1)
    clear = scores[..., -1] - scores[..., -2] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_allclose(np.asarray(ours)[clear], theirs[clear], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "manifest", "size", "seed"),
    [
        ("r34_tt_64x96_s0", "r34", (64, 96), 0),
        ("r34_tt_128x96_s1", "r34", (128, 96), 1),
        ("r34_ft_64x64_s2", "r34_ft", (64, 64), 2),
        ("r34_bt_64x64_s3", "r34_bt", (64, 64), 3),
    ],
)
def test_resnet34_equals_official_in_outputs_and_features(name, manifest, size, seed):
    golden = np.load(GOLDENS / f"gfm_{name}.npz")
    outputs, captured = run(golden, manifest, *size, seed, rosta=name.split("_")[1])
    np.testing.assert_allclose(outputs["glance"], golden["glance"], atol=1e-4)
    np.testing.assert_allclose(outputs["focus"], golden["focus"], atol=1e-4)
    assert_same_alpha(outputs["alpha"], golden["fusion"], golden["glance"])

    glance, focus = captured["glance"], captured["focus"]
    taps = captured["backbone"]["__call__"][0]
    features = {
        "glance_logits": glance["__call__"][0]["g"],
        "focus_logits": focus["__call__"][0]["f"],
        "encoder0": taps[0][:, ::4, ::4, ::4],
        "encoder2": taps[2][:, ::2, ::2, ::4],
        "encoder4": taps[4][..., ::4],
        "psp": glance["psp_module"]["__call__"][0][..., ::4],
        "psp4": glance["psp4"]["__call__"][0][..., ::8],
        "bridge": focus["bridge_block"]["__call__"][0][..., ::4],
        "decoder1_g": glance["decoder1_g"]["__call__"][0][:, ::4, ::4, ::4],
        "decoder1_f": focus["decoder1_f"]["__call__"][0][:, ::4, ::4, ::4],
    }
    for key, feature in features.items():
        np.testing.assert_allclose(feature, golden[key], atol=2e-3, err_msg=key)


@pytest.mark.parametrize(
    ("backbone", "name", "manifest", "seed"),
    [
        ("densenet121", "d121_tt_64x64_s6", "d121", 6),
        ("resnet34_2b", "r34_2b_tt_64x64_s8", "r34_2b", 8),
    ],
)
def test_other_backbones_equal_official(backbone, name, manifest, seed):
    golden = np.load(GOLDENS / f"gfm_{name}.npz")
    outputs, captured = run(golden, manifest, 64, 64, seed, backbone=backbone)
    for head, letter in (("glance", "g"), ("focus", "f")):
        np.testing.assert_allclose(outputs[head], golden[head], atol=1e-4)
        logits = captured[head]["__call__"][0][letter]
        np.testing.assert_allclose(logits, golden[f"{head}_logits"], atol=1e-3)
    assert_same_alpha(outputs["alpha"], golden["fusion"], golden["glance"])


def test_integration_of_three_representations_equals_official():
    golden = np.load(GOLDENS / "gfm_d121_rim_64x64_s7.npz")
    outputs, _ = run(golden, "d121_rim", 64, 64, 7, backbone="densenet121", rosta="rim")
    for rosta in ("tt", "ft", "bt"):
        for head in ("glance", "focus"):
            key = f"{head}_{rosta}"
            np.testing.assert_allclose(outputs[key], golden[key], atol=1e-4, err_msg=key)
        key = f"fusion_{rosta}"
        assert_same_alpha(outputs[f"alpha_{rosta}"], golden[key], golden[f"glance_{rosta}"])
    # A pixel whose label flips moves the mean that all others are weighed by.
    assert np.quantile(np.abs(outputs["alpha"] - golden["fusion"]), 0.99) < 1e-3
    assert golden["fusion"].min() < 0 or golden["fusion"].max() > 1
