"""MODNet's losses against the official trainer, and its synthesis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.tasks import modnet as task
from tests.helpers import CONFIGS, GOLDENS, photographs

CONFIG = CONFIGS / "modnet.py"


@pytest.fixture(scope="module")
def supervised():
    golden = np.load(GOLDENS / "modnet_losses.npz")
    inputs = {"image": (golden["image"] + 1) / 2}
    truth = {"alpha": golden["gt_matte"], "trimap": golden["trimap"]}
    outputs = {
        "semantic": golden["pred_semantic"],
        "detail": golden["pred_detail"],
        "alpha": golden["pred_matte"],
    }
    config = load_config(CONFIG, "official")

    def loss(outputs):
        return task.loss(outputs, inputs, truth, config)

    (total, terms), gradient = jax.value_and_grad(loss, has_aux=True)(outputs)
    return golden, total, terms, gradient


def test_losses_equal_official(supervised):
    golden, total, terms, _ = supervised
    assert float(total) == pytest.approx(float(golden["sup_total"]), rel=1e-6)
    for name in ("semantic", "detail", "matte"):
        expected = float(golden[f"sup_{name}_loss"])
        assert float(terms[name]) == pytest.approx(expected, rel=1e-6)


def test_loss_gradients_equal_official(supervised):
    golden, _, _, gradient = supervised
    for ours, key in (
        (gradient["semantic"], "sup_grad_semantic"),
        (gradient["detail"][:, ::4, ::4], "sup_grad_detail_s"),
        (gradient["alpha"][:, ::4, ::4], "sup_grad_matte_s"),
    ):
        np.testing.assert_allclose(ours, golden[key], atol=5e-7 * np.abs(golden[key]).max())


def test_semantic_target_equals_official():
    golden = np.load(GOLDENS / "modnet_losses.npz")
    target = task.semantic_target(jnp.asarray(golden["gt_matte"]))
    np.testing.assert_allclose(target, golden["sup_gt_semantic"], atol=5e-7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (name, value)
        for name in ("semantic", "detail", "matte", "boundary", "compositional")
        for value in (0.0, 2.0)
    ],
)
def test_each_weight_changes_only_its_part(supervised, field, value):
    golden, _, terms, _ = supervised
    config = load_config(CONFIG, "official")
    config.task[f"{field}_weight"] = value
    inputs = {"image": (golden["image"] + 1) / 2}
    truth = {"alpha": golden["gt_matte"], "trimap": golden["trimap"]}
    outputs = {name: golden[f"pred_{name}"] for name in ("semantic", "detail")}
    outputs["alpha"] = golden["pred_matte"]
    total, changed = task.loss(outputs, inputs, truth, config)

    parts = {"semantic": 10.0, "detail": 10.0, "matte": 1.0, "boundary": 4.0, "compositional": 1.0}
    parts[field] = value
    expected = {
        name: parts[name] / 10 * float(golden[f"sup_{name}_loss"])
        for name in ("semantic", "detail")
    }
    l1, comp = (
        float(golden[f"sup_matte_{part}"])
        + parts["boundary"] * float(golden[f"sup_matte_{part}_boundary"])
        for part in ("l1", "comp")
    )
    expected["matte"] = parts["matte"] * (l1 + parts["compositional"] * comp)
    for name in expected:
        assert float(changed[name]) == pytest.approx(expected[name], rel=1e-6)
    assert float(total) == pytest.approx(sum(expected.values()), rel=1e-6)
    part = field if field in expected else "matte"
    assert [name for name in terms if float(terms[name]) != float(changed[name])] == [part]


def test_semantic_weight_is_1_in_the_paper_and_10_in_the_code():
    paper, official = load_config(CONFIG, "paper").task, load_config(CONFIG, "official").task
    weights = ("semantic_weight", "detail_weight", "matte_weight")
    assert [paper[name] for name in weights] == [1, 10, 1]
    assert [official[name] for name in weights] == [10, 10, 1]


@pytest.fixture(scope="module")
def config():
    config = load_config(CONFIG, "")
    for name in config.synthesis.jitter:
        config.synthesis.jitter[name] = 0.0
    return config


@pytest.fixture(scope="module")
def synthesize(config):
    return jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))


def test_composites_are_flipped_with_their_alpha(synthesize):
    batch = photographs()
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, truth = synthesize(keys, batch)
    alpha = batch["alpha"] / np.float32(255)
    image = (alpha * batch["foreground"] + (1 - alpha) * batch["background"]) / 255
    flipped = [not np.allclose(truth["alpha"][i], alpha[i], atol=1e-6) for i in range(4)]
    assert 0 < sum(flipped) < 4
    for i, flip in enumerate(flipped):
        step = -1 if flip else 1
        np.testing.assert_allclose(truth["alpha"][i], alpha[i][:, ::step], atol=1e-6)
        np.testing.assert_allclose(inputs["image"][i], image[i][:, ::step], atol=1e-6)


def test_each_sample_depends_only_on_its_own_key(synthesize):
    batch = photographs()
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, truth = synthesize(keys, batch)
    order = np.array([2, 0, 3, 1])
    again = synthesize(keys[order], {name: x[order] for name, x in batch.items()})
    for before, after in zip(jax.tree.leaves((inputs, truth)), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(before[order], after)


def test_trimaps_have_exact_values_and_differ_between_samples(synthesize):
    keys = jax.random.split(jax.random.key(3), 4)
    _, truth = synthesize(keys, photographs())
    assert set(np.unique(truth["trimap"])) == {0, 0.5, 1}
    assert len({float((trimap == 0.5).mean()) for trimap in truth["trimap"]}) > 1


def test_photos_with_alpha_are_not_composited(config):
    batch = photographs()
    pairs = {"image": batch["foreground"], "alpha": batch["alpha"]}
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, truth = task.synthesize(keys, pairs, config)
    for i in range(4):
        flips = [np.allclose(inputs["image"][i], pairs["image"][i][:, ::s] / 255) for s in (1, -1)]
        assert sum(flips) == 1
        step = 1 if flips[0] else -1
        expected = pairs["alpha"][i][:, ::step] / 255
        np.testing.assert_allclose(truth["alpha"][i], expected, atol=1e-6)
