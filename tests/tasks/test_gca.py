"""GCA's losses against the official trainer, and its synthesis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image import trimap
from matting_jax.image.colour import IMAGENET_STD
from matting_jax.tasks import gca as task
from matting_jax.training.optimizer import learning_rate
from tests.helpers import CONFIGS, GOLDENS, as_float, photographs

CONFIG = CONFIGS / "gca.py"
LOSSES = np.load(GOLDENS / "gca_losses.npz")
OFFICIAL = {
    "rec": "rec_l1",
    "comp": "comp_l1",
    "smooth_l1": "smooth_l1",
    "grad": "grad_l1",
    "gabor": "gabor_l2",
}


def golden_case():
    """Undoes the normalisation of the golden's colours; a common offset cancels in the losses."""
    colours = {name: LOSSES[name] * np.float32(IMAGENET_STD) for name in ("fg", "bg", "merged")}
    inputs = {"image": colours["merged"], "trimap": as_float(LOSSES["trimap"])}
    truth = {"alpha": LOSSES["alpha_gt"], "foreground": colours["fg"], "background": colours["bg"]}
    return {"alpha": LOSSES["pred"]}, inputs, truth


def weighted(**weights):
    config = load_config(CONFIG, "official")
    for name in task.TERMS:
        config.task[f"{name}_weight"] = weights.get(name, 0.0)
    return config


def test_losses_equal_official():
    weights = dict(rec=1.0, comp=2.0, smooth_l1=0.5, grad=3.0, gabor=4.0)
    total, terms = task.loss(*golden_case(), weighted(**weights))
    expected = {name: weights[name] * float(LOSSES[key]) for name, key in OFFICIAL.items()}
    assert {name: float(x) for name, x in terms.items()} == pytest.approx(expected, rel=2e-6)
    assert float(total) == pytest.approx(sum(expected.values()), rel=2e-6)


@pytest.mark.parametrize("name", OFFICIAL)
def test_each_weight_has_its_own_term(name):
    total, terms = task.loss(*golden_case(), weighted(**{name: 1.0}))
    assert set(terms) == {name}
    assert float(total) == pytest.approx(float(LOSSES[OFFICIAL[name]]), rel=2e-6)


def test_paper_and_released_code_use_only_the_alpha_difference():
    outputs, inputs, truth = golden_case()
    total, terms = task.loss(outputs, inputs, {"alpha": truth["alpha"]}, weighted(rec=1.0))
    assert set(terms) == {"rec"}
    again, _ = task.loss(outputs, inputs, truth, load_config(CONFIG, "official"))
    assert float(total) == float(again)


def test_loss_and_gradient_are_zero_without_unknown_pixels():
    outputs, inputs, truth = golden_case()
    inputs = inputs | {"trimap": np.zeros_like(inputs["trimap"])}
    config = weighted(rec=1.0, comp=1.0, grad=1.0, gabor=1.0)
    total, gradient = jax.value_and_grad(
        lambda outputs: task.loss(outputs, inputs, truth, config)[0]
    )(outputs)
    assert float(total) == 0 == float(LOSSES["rec_l1_empty"])
    assert not np.any(gradient["alpha"])


def test_losses_on_two_devices_equal_one_device():
    """The unknown pixels are distributed unevenly over the devices."""
    config = weighted(**dict.fromkeys(task.TERMS, 1.0))
    case = golden_case()
    case[1]["trimap"][0, :48] = 1
    expected, _ = task.loss(*case, config)
    on_devices = jax.vmap(lambda *x: task.loss(*x, config, "devices")[0], axis_name="devices")
    totals = on_devices(*jax.tree.map(lambda x: x[:, None], case))
    np.testing.assert_allclose(totals, expected, rtol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 1), (6, 13), (29, 24)])
def test_trimaps_equal_official_to_the_pixel(sizes):
    foreground, background = sizes
    ours = trimap.gca(jnp.asarray(LOSSES["gentrimap_alpha"])[..., None], *sizes)
    key = f"gentrimap_fg{foreground}_bg{background}"
    np.testing.assert_array_equal(ours, as_float(LOSSES[key]))


def two_foregrounds():
    """Returns a batch in which samples 1 and 3 have a second foreground."""
    batch, other = photographs(0), photographs(1)
    batch["foreground2"], batch["alpha2"] = other["foreground"], np.roll(other["alpha"], 20, 2)
    for single in (0, 2):
        batch["foreground2"][single], batch["alpha2"][single] = batch["foreground"][single], 0
    return batch


def without_jitter():
    config = load_config(CONFIG, "")
    for name in config.synthesis.jitter:
        config.synthesis.jitter[name] = type(config.synthesis.jitter[name])(0)
    return config


@pytest.fixture(scope="module")
def synthesized():
    """A batch with one or two foregrounds per sample, its inputs and truth without jitter."""
    config, batch = without_jitter(), two_foregrounds()
    keys = jax.random.split(jax.random.key(0), 4)
    made = jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))(keys, batch)
    return batch, *jax.device_get(made)


def test_second_foreground_shows_where_the_first_is_soft_or_absent(synthesized):
    batch, _, truth = synthesized
    wide = {name: x.astype(np.float64) / 255 for name, x in batch.items()}
    first, second = wide["alpha"], wide["alpha2"]
    np.testing.assert_allclose(truth["alpha"], 1 - (1 - first) * (1 - second), atol=1e-6)
    colours = first * wide["foreground"] + (1 - first) * wide["foreground2"]
    np.testing.assert_allclose(truth["foreground"], colours, atol=2e-6)


def test_single_foreground_is_unchanged(synthesized):
    batch, _, truth = synthesized
    for i in (0, 2):
        for name in ("foreground", "alpha"):
            np.testing.assert_allclose(truth[name][i], batch[name][i] / 255, atol=2e-6)


def test_photo_is_the_composite_of_the_truth(synthesized):
    _, inputs, truth = synthesized
    alpha = truth["alpha"]
    image = alpha * truth["foreground"] + (1 - alpha) * truth["background"]
    np.testing.assert_allclose(inputs["image"], image, atol=1e-6)


def test_trimaps_have_random_kernel_sizes_in_range(synthesized):
    _, inputs, truth = synthesized
    sizes = np.arange(1, 30)
    rule = jax.jit(jax.vmap(jax.vmap(trimap.gca, (None, 0, None)), (None, None, 0)))
    sizes_found = []
    for alpha, unknown in zip(truth["alpha"], inputs["trimap"], strict=True):
        every = np.asarray(rule(alpha, sizes, sizes))
        fits = np.argwhere((every == unknown).all((2, 3, 4)))
        assert len(fits) > 0
        sizes_found.append({tuple(pair) for pair in fits})
    assert len({min(pairs) for pairs in sizes_found}) > 1
    assert any(all(x != y for x, y in pairs) for pairs in sizes_found)


def test_jitter_changes_only_the_foreground_and_its_composite():
    config, batch = load_config(CONFIG, ""), photographs()
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, truth = task.synthesize(keys, batch, config)
    difference = np.abs(truth["foreground"] - batch["foreground"] / 255)
    assert difference.mean((1, 2, 3)).min() > 0.02
    np.testing.assert_allclose(truth["background"], batch["background"] / 255, atol=1e-6)
    np.testing.assert_allclose(truth["alpha"], batch["alpha"] / 255, atol=1e-6)
    alpha = truth["alpha"]
    image = alpha * truth["foreground"] + (1 - alpha) * truth["background"]
    np.testing.assert_allclose(inputs["image"], image, atol=1e-6)


def test_learning_rates_equal_released_ones():
    """Step s of the 5000 warm-up steps has 4e-4 (s + 1) / 5000; the cosine is one step ahead."""
    rate = learning_rate(load_config(CONFIG, "official"))
    assert float(rate(0)) == pytest.approx(4e-4 / 5000, rel=1e-3)
    assert float(rate(2499)) == pytest.approx(2e-4, rel=1e-5)
    assert float(rate(4999)) == pytest.approx(4e-4, rel=1e-5)
    for step in (5000, 50_000, 150_000):
        expected = 2e-4 * (1 + np.cos(np.pi * (step - 4999) / 195_000))
        assert float(rate(step)) == pytest.approx(expected, rel=1e-4)


def test_config_without_a_loss_raises():
    task.check(load_config(CONFIG, ""))
    with pytest.raises(ValueError, match="no loss is left: set one of task.rec_weight"):
        task.check(weighted())
