"""GFM's losses and labels against the official code, and its synthesis."""

import jax
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image.pyramid import KERNEL
from matting_jax.models.gfm import CLASSES, fuse
from matting_jax.tasks import gfm as task
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS

CONFIG = CONFIGS / "gfm.py"
HEIGHT, WIDTH = 160, 128


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDENS / "gfm_losses.npz")


@pytest.fixture(scope="module")
def truth(golden):
    seed = int(golden["seed"])
    names = {"alpha": "mask", "eroded": "erosion", "dilated": "dilation"}
    truth = {
        ours: golden[theirs][None, ..., None] / np.float32(255) for ours, theirs in names.items()
    }
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
def test_losses_and_gradient_equal_official(golden, truth, rosta):
    config = config_of(rosta, targets="released")
    given = predictions(golden, rosta)

    def loss(focus):
        alpha = fuse(rosta, given["glance"], focus)
        outputs = {**given, "focus": focus, "alpha": alpha}
        total, terms = task.loss(outputs, {"image": image_of(truth)}, truth, config)
        return total, (terms, alpha)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (total, (terms, alpha)), gradient = step(given["focus"])
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


def test_pyramid_kernel_equals_official(golden):
    np.testing.assert_allclose(KERNEL, golden["gauss_kernel"], atol=1e-8)


def test_labels_equal_official(golden, truth):
    for rosta, names in {"tt": {"trimap"}, "bt": {"trimap", "eroded", "dilated"}}.items():
        ours = task.labels(truth["alpha"][0], 25, 25, rosta)
        assert ours.keys() == names
        for name, label in ours.items():
            np.testing.assert_array_equal(label, truth[name][0], err_msg=name)


@pytest.mark.parametrize("rosta", CLASSES)
@pytest.mark.parametrize("released", [False, True])
def test_only_consistent_targets_give_the_true_alpha(truth, rosta, released):
    scores = jax.nn.one_hot(task.classes(truth, rosta, released), CLASSES[rosta])
    alpha = truth["alpha"]
    focus = {"tt": alpha, "ft": alpha - truth["eroded"], "bt": truth["dilated"] - alpha}[rosta]
    difference = np.abs(fuse(rosta, scores, focus) - alpha).max()
    assert difference < 1e-6 or (released and rosta != "tt")
    assert difference > 0.5 or not (released and rosta != "tt")


@pytest.mark.parametrize("rosta", CLASSES)
def test_focus_loss_of_the_true_alpha_is_almost_zero(truth, rosta):
    """Only epsilon is left; pixels outside the transition do not count."""
    alpha = truth["alpha"]
    focus = {"tt": alpha, "ft": alpha - truth["eroded"], "bt": truth["dilated"] - alpha}[rosta]
    outside = truth["trimap"] != 0.5
    costs = [
        float(task.focus_loss(x, truth, rosta, ~outside, None)) for x in (focus, focus + outside)
    ]
    assert costs[0] == costs[1] < 1e-5


def test_composition_loss_of_the_true_alpha_is_almost_zero(truth):
    costs = [
        float(task.composition_loss(alpha, image_of(truth), truth, None))
        for alpha in (truth["alpha"], 1 - truth["alpha"])
    ]
    assert costs[0] < 1e-5 and costs[1] > 0.1


def rim_outputs(golden):
    given = predictions(golden, "tt")
    outputs = {"alpha": 1.2 * given["focus"] - 0.1}
    for rosta, n in CLASSES.items():
        outputs[f"glance_{rosta}"] = given["glance"][..., :n]
        outputs[f"focus_{rosta}"] = given["focus"]
        outputs[f"alpha_{rosta}"] = fuse(rosta, given["glance"][..., :n], given["focus"])
    return outputs


def test_rim_sums_the_losses_of_all_representations(golden, truth):
    """FT's classes are those of the eroded foreground."""
    outputs = rim_outputs(golden)
    config = config_of(
        "rim", **{f"{name}_weight": 1.0 for name in ("glance", "focus", "fusion", "composition")}
    )
    inputs = {"image": image_of(truth)}
    total, terms = task.loss(outputs, inputs, truth, config)
    single = {}
    for rosta in CLASSES:
        parts = {name: outputs[f"{name}_{rosta}"] for name in ("glance", "focus", "alpha")}
        single[rosta] = task.loss(parts, inputs, truth, config_of(rosta))[1]
    assert 4 * float(single["ft"]["glance"]) == pytest.approx(
        float(golden["ce/rim_ft_erosion"]), rel=1e-6
    )
    sums = {name: 4 * sum(float(single[rosta][name]) for rosta in CLASSES) for name in terms}
    only = config_of("tt", glance_weight=0.0, focus_weight=0.0)
    own = {**parts, "alpha": outputs["alpha"]}
    own = task.loss({**own, "glance": outputs["glance_tt"]}, inputs, truth, only)[1]
    for name in ("fusion", "composition"):
        sums[name] += 4 * float(own[name])
    for name, value in terms.items():
        assert float(value) == pytest.approx(sums[name], rel=1e-5), name
    assert float(total) == pytest.approx(sum(sums.values()), rel=1e-5)


@pytest.mark.parametrize("term", ["glance", "focus", "fusion", "composition"])
def test_each_weight_changes_only_its_term(golden, truth, term):
    outputs = predictions(golden, "tt")
    outputs["alpha"] = outputs["focus"]
    inputs = {"image": image_of(truth)}
    usual = task.loss(outputs, inputs, truth, config_of("tt"))[1]
    total, changed = task.loss(outputs, inputs, truth, config_of("tt", **{f"{term}_weight": 0.5}))
    for name in usual:
        factor = 2 if name == term else 1
        assert float(changed[name]) == pytest.approx(factor * float(usual[name]), rel=1e-6)
    assert float(total) == pytest.approx(sum(map(float, changed.values())), rel=1e-6)


def test_losses_on_two_devices_equal_the_whole_batch(golden, truth):
    """The devices share one mean, although one has more of the transition."""
    outputs = predictions(golden, "ft")
    outputs["alpha"] = outputs["focus"]
    inputs, config = {"image": image_of(truth)}, config_of("ft")
    halves = [  # the upper half holds more of the transition
        jax.tree.map(lambda x: np.stack([x[:, :64], x[:, 96:]]), tree)
        for tree in (outputs, inputs, truth)
    ]
    assert len({float((half == 0.5).mean()) for half in halves[2]["trimap"]}) == 2

    def loss(outputs, inputs, truth):
        return task.loss(outputs, inputs, truth, config, "devices")[1]

    joined = [jax.tree.map(np.concatenate, half) for half in halves]
    ours = jax.jit(jax.vmap(loss, axis_name="devices"))(*halves)
    theirs = jax.jit(lambda *joined: task.loss(*joined, config)[1])(*joined)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], [value, value], rtol=1e-5, err_msg=name)


def test_invalid_targets_raise():
    with pytest.raises(ValueError, match="--config.task.targets=consistent with rosta rim"):
        task.check(config_of("rim", targets="released"))
    with pytest.raises(ValueError, match="did you mean 'released'"):
        task.check(config_of("tt", targets="relased"))


def photographs(size=64):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    alpha = np.clip((22 - np.hypot(y - 32, x - 26)) / 4, 0, 1)
    colours = np.rint(255 * synth.image(size, size, 3, 8, 3)).astype(np.uint8)
    foreground, background = np.split(colours, 2)
    return {
        "foreground": foreground,
        "alpha": np.broadcast_to(np.rint(255 * alpha), (4, size, size)).astype(np.uint8)[..., None],
        "background": background,
        "index": rng.integers(0, 9, 4, dtype=np.int32),
    }


@pytest.fixture(scope="module")
def synthesized():
    """A batch, keys, the jitted `synthesize` with kernels of 3 to 9 pixels, and its result."""
    config = config_of("ft")
    config.synthesis.trimap_kernel = (3, 9)
    batch, keys = photographs(), jax.random.split(jax.random.key(2), 4)
    synthesize = jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))
    return batch, keys, synthesize, synthesize(keys, batch)


def test_labels_and_colours_are_flipped_with_the_composite(synthesized):
    batch, _, _, (inputs, truth) = synthesized
    alpha, colours = batch["alpha"] / np.float32(255), batch["foreground"] / np.float32(255)
    flipped = [not np.allclose(truth["alpha"][i], alpha[i], atol=1e-6) for i in range(4)]
    assert 0 < sum(flipped) < 4
    for i, flip in enumerate(flipped):
        step = -1 if flip else 1
        np.testing.assert_allclose(truth["alpha"][i], alpha[i][:, ::step], atol=1e-6)
        np.testing.assert_allclose(truth["foreground"][i], colours[i][:, ::step], atol=1e-6)
    np.testing.assert_allclose(inputs["image"], image_of(truth), atol=1e-6)


def test_each_sample_has_a_random_kernel_and_regions_twice_its_size(synthesized):
    _, _, _, (_, truth) = synthesized
    sizes = set()
    label = jax.jit(lambda alpha, size: task.labels(alpha, size, 9, "ft"))
    for i, alpha in enumerate(truth["alpha"]):
        labels = {size: label(alpha, size) for size in range(3, 10)}
        same = [
            size
            for size, ours in labels.items()
            if all(np.array_equal(ours[name], truth[name][i]) for name in ours)
        ]
        assert len(same) == 1
        sizes |= set(same)
    assert len(sizes) > 1


def test_each_sample_depends_only_on_its_own_key(synthesized):
    batch, keys, synthesize, before = synthesized
    order = np.array([2, 0, 3, 1])
    again = synthesize(keys[order], {name: x[order] for name, x in batch.items()})
    for ours, theirs in zip(jax.tree.leaves(before), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(ours[order], theirs)


def test_estimated_colours_compose_to_the_photo(synthesized):
    """Where alpha is 1 or 0, the colours are those of the photo."""
    _, keys, _, (inputs, truth) = synthesized
    image = np.rint(255 * np.asarray(inputs["image"])).astype(np.uint8)
    pairs = {"image": image, "alpha": np.rint(255 * truth["alpha"]).astype(np.uint8)}
    config = config_of("tt")
    config.synthesis.trimap_kernel = (3, 9)
    inputs, truth = jax.jit(lambda *given: task.synthesize(*given, config))(keys, pairs)
    np.testing.assert_allclose(image_of(truth), inputs["image"], atol=1e-5)
    for part, value in (("foreground", 1), ("background", 0)):
        known = truth["alpha"][..., 0] == value
        np.testing.assert_allclose(truth[part][known], inputs["image"][known], atol=1e-5)
    between = (truth["alpha"] > 0.3) & (truth["alpha"] < 0.7)
    assert np.abs(truth["foreground"] - truth["background"])[between[..., 0]].mean() > 0.05
