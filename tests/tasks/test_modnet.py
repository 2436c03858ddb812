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


def composited(foreground, alpha, background):
    return alpha * foreground + (1 - alpha) * background


@pytest.fixture(scope="module")
def by_hand():
    """Random inputs, truth and outputs in float64, with a trimap around a square."""
    rng = np.random.default_rng(0)
    alpha = rng.random((2, 32, 32, 1))
    trimap = np.full_like(alpha, 0.5)
    trimap[:, :8], trimap[:, -8:] = 0, 1
    foreground, background = rng.random((2, 2, 32, 32, 3))
    image = composited(foreground, alpha, background)
    truth = {"alpha": alpha, "trimap": trimap, "foreground": foreground, "background": background}
    outputs = {"semantic": rng.random((2, 2, 2, 1))}
    outputs |= {name: rng.random((2, 32, 32, 1)) for name in ("detail", "alpha")}
    return outputs, {"image": image}, truth


def paper_terms(outputs, inputs, truth, boundary_weight=0.0):
    """The equations of the paper: L = L_s + 10 L_d + L_a, L_a with the compositional loss."""
    alpha, boundary = truth["alpha"], truth["trimap"] == 0.5
    target = np.asarray(task.semantic_target(jnp.asarray(alpha)))

    def matte(estimate):
        rebuilt = composited(truth["foreground"], estimate, truth["background"])
        return np.mean(np.abs(estimate - alpha)) + np.mean(np.abs(inputs["image"] - rebuilt))

    inside = np.where(boundary, outputs["alpha"], truth["trimap"])
    return {
        "semantic": np.mean((outputs["semantic"] - target) ** 2) / 2,
        "detail": 10 * np.mean(boundary * np.abs(outputs["detail"] - alpha)),
        "matte": matte(outputs["alpha"]) + boundary_weight * matte(inside),
    }


def test_paper_form_equals_the_equations_in_values_and_gradients(by_hand):
    outputs, inputs, truth = by_hand
    config = load_config(CONFIG, "paper")
    with jax.enable_x64(True):
        (total, terms), gradient = jax.value_and_grad(
            lambda heads: task.loss(heads, inputs, truth, config), has_aux=True
        )(jax.tree.map(jnp.asarray, outputs))
        expected = paper_terms(outputs, inputs, truth)
        for name, value in expected.items():
            assert float(terms[name]) == pytest.approx(value, rel=1e-12)
        assert float(total) == pytest.approx(sum(expected.values()), rel=1e-12)
        # Of the absolute values, finite differences; each head at pixels of its own.
        for head, step in (("semantic", 1), ("detail", 7), ("alpha", 7)):
            for row in range(0, outputs[head].shape[1], step):
                place = (1, row, row, 0)
                ends = []
                for sign in (1, -1):
                    moved = {name: x.copy() for name, x in outputs.items()}
                    moved[head][place] += sign * 1e-6
                    ends.append(sum(paper_terms(moved, inputs, truth).values()))
                slope = (ends[0] - ends[1]) / 2e-6
                assert float(gradient[head][place]) == pytest.approx(slope, rel=1e-5, abs=1e-10)


def test_paper_form_can_weight_the_boundary_too(by_hand):
    config = load_config(CONFIG, "paper")
    config.task.boundary_weight = 4.0
    with jax.enable_x64(True):
        _, terms = task.loss(*by_hand, config)
        expected = paper_terms(*by_hand, boundary_weight=4.0)["matte"]
        assert float(terms["matte"]) == pytest.approx(expected, rel=1e-12)


def test_true_alpha_has_no_matte_loss_in_the_paper_form(by_hand):
    outputs, inputs, truth = by_hand
    config = load_config(CONFIG, "paper")
    _, terms = task.loss({**outputs, "alpha": truth["alpha"]}, inputs, truth, config)
    assert float(terms["matte"]) < 1e-6


def test_forms_of_the_variants():
    official = load_config(CONFIG, "official").task
    assert official.form == "official" and official.boundary_weight == 4
    for variant in ("sample", "paper"):
        form = load_config(CONFIG, variant).task
        assert form.form == "paper" and form.boundary_weight == 0
    assert "form" not in load_config(CONFIG, "paddle").task


def test_run_from_before_there_were_forms_is_official(supervised):
    golden, total, _, _ = supervised
    config = load_config(CONFIG, "official")
    del config.task.form
    inputs = {"image": (golden["image"] + 1) / 2}
    truth = {"alpha": golden["gt_matte"], "trimap": golden["trimap"]}
    outputs = {name: golden[f"pred_{name}"] for name in ("semantic", "detail")}
    task.check(config)
    again, _ = task.loss({**outputs, "alpha": golden["pred_matte"]}, inputs, truth, config)
    assert float(again) == float(total)
    assert task.TASK.added == {"task.form": "official"}


def test_invalid_form_raises():
    config = load_config(CONFIG, "paper")
    config.task.form = "papr"
    with pytest.raises(ValueError, match="task.form.*did you mean 'paper'"):
        task.check(config)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_layers_of_the_paper_form_compose_to_the_image(noise):
    """With jitter and flip; and to rounding and clipping with noise. Draws are the official's."""
    config = load_config(CONFIG, "paper")
    config.synthesis.rssn.noise = noise
    batch, keys = photographs(), jax.random.split(jax.random.key(0), 4)
    inputs, truth = jax.jit(lambda *given: task.synthesize(*given, config))(keys, batch)
    config.task.form = "official"
    official = jax.jit(lambda *given: task.synthesize(*given, config))(keys, batch)
    np.testing.assert_allclose(inputs["image"], official[0]["image"], atol=1e-6)
    assert official[1].keys() == {"alpha", "trimap"}
    for name, x in official[1].items():
        np.testing.assert_array_equal(truth[name], x, err_msg=name)
    layers = {name: np.asarray(truth[name]) for name in ("foreground", "background")}
    rebuilt = composited(layers["foreground"], np.asarray(truth["alpha"]), layers["background"])
    clipped = np.max([(x == 0) | (x == 1) for x in (*layers.values(), inputs["image"])], axis=0)
    np.testing.assert_allclose(rebuilt[~clipped], inputs["image"][~clipped], atol=1e-6)
    assert clipped.mean() < 0.2
    assert np.abs(layers["foreground"] * 255 - batch["foreground"]).mean() > 1  # as jittered


def test_layers_of_photos_are_estimated_in_the_paper_form():
    config = load_config(CONFIG, "paper")
    batch, keys = photographs(), jax.random.split(jax.random.key(0), 4)
    pairs = {"image": batch["foreground"], "alpha": batch["alpha"]}
    inputs, truth = jax.jit(lambda *given: task.synthesize(*given, config))(keys, pairs)
    rebuilt = composited(truth["foreground"], truth["alpha"], truth["background"])
    np.testing.assert_allclose(rebuilt, inputs["image"], atol=1e-5)
