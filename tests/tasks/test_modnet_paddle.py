"""Losses and synthesis of PaddleSeg's MODNet, the losses against its code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image.trimap import paddleseg
from matting_jax.tasks import modnet_paddle as task
from matting_jax.training.optimizer import learning_rate
from tests.helpers import CONFIGS, GOLDENS, photographs

CONFIG = CONFIGS / "modnet.py"
LOSSES = np.load(GOLDENS / "modnet_paddle_losses.npz")
NAMES = {"semantic": "semantic", "detail": "detail", "consistency": "fusion_con_sem"}


def loss_of(outputs, trimap, config):
    inputs = {"image": (LOSSES["image"] + 1) / 2}
    truth = {"alpha": LOSSES["alpha"], "trimap": jnp.asarray(trimap)}
    return task.loss(outputs, inputs, truth, config)


@pytest.fixture(scope="module")
def outputs():
    return {name: LOSSES[f"pred_{name}"] for name in ("semantic", "detail", "alpha")}


@pytest.fixture(scope="module")
def trimap():
    codes = LOSSES["trimap"].astype(np.float32)
    return np.where(codes == 128, 0.5, codes / 255).astype(np.float32)


def expected_terms(prefix):
    terms = {name: float(LOSSES[f"{prefix}_{key}"]) for name, key in NAMES.items()}
    matte = float(LOSSES[f"{prefix}_fusion_l1"]) + float(LOSSES[f"{prefix}_fusion_comp"])
    return terms | {"matte": matte}


def test_losses_equal_official(outputs, trimap):
    total, terms = loss_of(outputs, trimap, load_config(CONFIG, "paddle"))
    assert float(total) == pytest.approx(float(LOSSES["loss_all"]), rel=1e-6)
    assert set(terms) == {"semantic", "detail", "matte", "consistency"}
    for name, expected in expected_terms("loss").items():
        assert float(terms[name]) == pytest.approx(expected, rel=2e-6)


def test_losses_without_a_boundary_equal_official(outputs, trimap):
    total, terms = loss_of(outputs, 0 * trimap, load_config(CONFIG, "paddle"))
    assert float(total) == pytest.approx(float(LOSSES["known_loss_all"]), rel=1e-6)
    for name, expected in expected_terms("known_loss").items():
        assert float(terms[name]) == pytest.approx(expected, rel=2e-6)


def test_loss_gradients_equal_official(outputs, trimap):
    config = load_config(CONFIG, "paddle")
    gradient = jax.grad(lambda outputs: loss_of(outputs, trimap, config)[0])(outputs)
    for ours, key in (
        (gradient["semantic"], "grad_semantic"),
        (gradient["detail"][:, ::4, ::4], "grad_detail_s"),
        (gradient["alpha"][:, ::4, ::4], "grad_alpha_s"),
        (gradient["alpha"][:, 7::16, 8::16], "grad_alpha_sixteenth"),
    ):
        bound = 1e-6 * np.abs(LOSSES[key]).max()
        np.testing.assert_allclose(ours, LOSSES[key], atol=bound, err_msg=key)


@pytest.mark.parametrize("name", ["semantic", "detail", "matte", "consistency"])
def test_weight_zero_disables_a_loss(outputs, trimap, name):
    config = load_config(CONFIG, "paddle")
    config.task[f"{name}_weight"] = 0.0
    total, terms = loss_of(outputs, trimap, config)
    assert float(terms[name]) == 0
    rest = sum(value for other, value in expected_terms("loss").items() if other != name)
    assert float(total) == pytest.approx(rest, rel=2e-6)


def synthesis(changes):
    """Returns the jitted `synthesize` with some fields of the recipe's synthesis changed."""
    config = load_config(CONFIG, "paddle")
    config.synthesis.update(changes)
    return jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))


@pytest.fixture(scope="module")
def plain():
    return synthesis({"distort": {"chance": 0.0}, "blur": 0.0})


KEYS = jax.random.split(jax.random.key(5), 4)


def test_trimaps_of_composites_have_random_parameters_in_range(plain):
    batch = photographs()
    inputs, truth = plain(KEYS, batch)
    alpha = batch["alpha"] / np.float32(255)
    image = (alpha * batch["foreground"] + (1 - alpha) * batch["background"]) / 255
    flipped = [not np.allclose(truth["alpha"][i], alpha[i], atol=1e-6) for i in range(4)]
    assert 0 < sum(flipped) < 4
    made = jax.jit(paddleseg)
    draws = [(size, times) for size in (2, 3, 4) for times in range(5, 15)]
    for i, flip in enumerate(flipped):
        step = -1 if flip else 1
        np.testing.assert_allclose(truth["alpha"][i], alpha[i][:, ::step], atol=1e-6)
        np.testing.assert_allclose(inputs["image"][i], image[i][:, ::step], atol=1e-6)
        candidates = [made(alpha[i], size, times)[:, ::step] for size, times in draws]
        assert any(np.array_equal(truth["trimap"][i], candidate) for candidate in candidates)
    assert set(np.unique(truth["trimap"])) == {0, 0.5, 1}


def test_image_alpha_and_trimap_are_flipped_together():
    arrays = [synthesis({"blur": 0.5, "flip": flip})(KEYS, photographs()) for flip in (0.0, 1.0)]
    for straight, mirrored in zip(*map(jax.tree.leaves, arrays), strict=True):
        assert np.any(straight != mirrored)
        np.testing.assert_array_equal(straight, mirrored[:, :, ::-1])


def test_photos_with_alpha_are_not_composited(plain):
    batch = photographs()
    pairs = {"image": batch["foreground"], "alpha": batch["alpha"]}
    inputs, truth = plain(KEYS, pairs)
    for i in range(4):
        image = pairs["image"][i] / 255
        assert any(np.allclose(inputs["image"][i], image[:, ::s], atol=1e-6) for s in (1, -1))


def test_each_sample_depends_only_on_its_own_key():
    synthesize = synthesis({"blur": 0.5})
    batch = photographs()
    inputs, truth = synthesize(KEYS, batch)
    rows = np.array([2, 0, 3, 1])
    again = synthesize(KEYS[rows], {name: x[rows] for name, x in batch.items()})
    for before, after in zip(jax.tree.leaves((inputs, truth)), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(before[rows], after)
    widths = {float((x == 0.5).mean()) for x in truth["trimap"]}
    assert len(widths) > 1


def test_blur_changes_image_and_alpha_but_not_the_trimap(plain):
    batch = photographs()
    sharp_inputs, sharp = plain(KEYS, batch)
    inputs, truth = synthesis({"distort": {"chance": 0.0}, "blur": 1.0})(KEYS, batch)
    np.testing.assert_array_equal(truth["trimap"], sharp["trimap"])

    def roughness(x):
        return np.abs(np.diff(x, axis=2)).mean()

    assert roughness(inputs["image"]) < 0.6 * roughness(sharp_inputs["image"])
    soft, hard = (np.mean((x > 0.02) & (x < 0.98)) for x in (truth["alpha"], sharp["alpha"]))
    assert soft > 1.3 * hard


def test_blur_sizes_have_the_official_frequencies():
    """5, 7 and 9 taps are twice as likely as 3; the middle of a blurred point shows the number."""
    point = jnp.zeros((15, 15, 1)).at[7, 7].set(1)
    keys = jax.random.split(jax.random.key(0), 1400)
    peaks = jax.vmap(lambda key: task.random_blur(key, point, 1.0)[7, 7, 0])(keys)
    shares = [np.mean(np.isclose(peaks, tap**2)) for tap in (1 / 2, 3 / 8, 9 / 32, 60 / 256)]
    np.testing.assert_allclose(shares, [1 / 7, 2 / 7, 2 / 7, 2 / 7], atol=0.04)
    some = jax.vmap(lambda key: task.random_blur(key, point, 0.1)[7, 7, 0])(keys)
    assert 0.07 < np.mean(some < 1) < 0.13


def test_recipe_equals_the_published_one():
    config = load_config(CONFIG, "paddle")
    assert (config.steps, config.batch_size, config.data.crop.size) == (100_000, 16, 512)
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.9, 4e-5)
    rate = learning_rate(config)
    for step, expected in ((0, 0.02), (39_999, 0.02), (40_000, 2e-3), (80_000, 2e-4)):
        assert float(rate(step)) == pytest.approx(expected)
