"""GFM's losses and labels against the official code, and its synthesis."""
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.commandline import load_config
from matting_jax.image.pyramid import KERNEL
from matting_jax.tasks import gfm as task
from tests.goldens import synth

GOLDENS = Path(__file__).parents[1] / "goldens"
CONFIG = Path(__file__).parents[2] / "configs" / "gfm.py"
HEIGHT, WIDTH = 160, 128


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDENS / "gfm_losses.npz")


@pytest.fixture(scope="module")
def truth(golden):
    seed = int(golden["seed"])
    names = {"alpha": "mask", "eroded": "erosion", "dilated": "dilation"}
    truth = {ours: golden[theirs][None, ..., None] / np.float32(255)
             for ours, theirs in names.items()}  # fmt: skip
    truth["trimap"] = np.select(
        [golden["trimap"] == 128, golden["trimap"] == 255], [0.5, 1]
    ).astype(np.float32)[None, ..., None]
    truth["foreground"] = synth.image(HEIGHT, WIDTH, 3, 1, seed + 1)
    truth["background"] = synth.image(HEIGHT, WIDTH, 3, 1, seed + 2)
    return truth


def config_of(rosta, **task_fields):
    config = load_config(CONFIG, "am2k_ori")
    config.model.rosta = rosta
    config.task.update(task_fields)
    return config


def predictions(golden, rosta):
    seed = int(golden["seed"])
    glance = synth.image(HEIGHT, WIDTH, 3, 1, seed + 4)
    return {
        "glance": glance if rosta == "tt" else glance[..., :2],
        "focus": synth.image(HEIGHT, WIDTH, 1, 1, seed + 5),
    }


def image_of(truth):
    alpha = truth["alpha"]
    return alpha * truth["foreground"] + (1 - alpha) * truth["background"]


@pytest.mark.parametrize("rosta", ["tt", "ft", "bt"])
def test_losses_and_their_gradient_equal_official(golden, truth, rosta):
    from matting_jax.models.gfm import fuse

    config = config_of(rosta, targets="released")
    given = predictions(golden, rosta)

    def loss(focus):
        alpha = fuse(rosta, given["glance"], focus)
        outputs = {**given, "focus": focus, "alpha": alpha}
        total, terms = task.loss(outputs, {"image": image_of(truth)}, truth, config)
        return total, (terms, alpha)

    (total, (terms, alpha)), gradient = jax.value_and_grad(loss, has_aux=True)(given["focus"])
    np.testing.assert_allclose(alpha[0, ..., 0], golden[f"fusion/{rosta}"], atol=1e-7)
    released = {"tt": "tt", "ft": "ft_dilation", "bt": "bt_mask"}[rosta]
    expected = {
        "glance": golden[f"ce/{released}"],
        "focus": golden[f"alpha/{rosta}"] + golden[f"lap/{rosta}"],
        "fusion": golden[f"alpha_whole/{rosta}"] + golden[f"lap_whole/{rosta}"],
        "composition": golden[f"comp_whole/{rosta}"],
    }
    for name, value in expected.items():
        assert 4 * float(terms[name]) == pytest.approx(float(value), rel=1e-5), name
    assert float(total) == pytest.approx(float(golden[f"total/{rosta}"]), rel=1e-5)
    theirs = golden[f"grad_focus/{rosta}"]
    np.testing.assert_allclose(gradient[0, ..., 0], theirs, atol=1e-4 * np.abs(theirs).max())
