"""The paper's forms of GFM's losses and labels, computed by hand in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image.morphology import ellipse
from matting_jax.models.gfm import CLASSES
from matting_jax.tasks import gfm as task
from matting_jax.workdir.claim import added_fields
from tests.helpers import CONFIGS, GOLDENS, dilated

SIZE = 32


def config_of(rosta, **fields):
    config = load_config(CONFIGS / "gfm.py", "am2k_ori")
    config.model.rosta = rosta
    config.task.update(fields)
    return config


def disc(radius, size=SIZE):
    """Returns a disc with an edge of 8 px, uint8 [size, size]."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.rint(255 * np.clip((radius + 4 - np.hypot(y, x)) / 8, 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def truth():
    """Labels with regions that differ: the trimap's unknown region is narrower than the others'."""
    alpha = disc(8)
    distance = np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2))
    maps = {
        "alpha": alpha / 255,
        "trimap": np.select([distance < 5, distance < 11], [1, 0.5]),
        "eroded": distance < 2,
        "dilated": distance < 15,
    }
    truth = {name: x.astype(np.float32)[None, ..., None] for name, x in maps.items()}
    rng = np.random.default_rng(0)
    for name in ("foreground", "background"):
        truth[name] = rng.random((1, SIZE, SIZE, 3), np.float32)
    return truth


def heads(rosta, logits, seed=1):
    """Outputs with random focus and alpha, and these logits."""
    focus = np.random.default_rng(seed).random((1, SIZE, SIZE, 1), np.float32)
    scores = jax.nn.sigmoid(logits)
    return {"glance": scores, "glance_logits": logits, "focus": focus, "alpha": focus}


def softmax_loss(logits, label):
    """Returns -log softmax of the label's logit, averaged, and its gradient, in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    one_hot = np.eye(logits.shape[-1])[label]
    return -(one_hot * log_probability).sum(-1).mean(), (
        np.exp(log_probability) - one_hot
    ) / label.size


def label_by_hand(truth, rosta):
    trimap = truth["trimap"][..., 0]
    return {
        "tt": np.select([trimap == 0, trimap == 1], [0, 2], 1),
        "ft": (truth["eroded"][..., 0] == 1).astype(int),
        "bt": (truth["dilated"][..., 0] == 1).astype(int),
    }[rosta]


@pytest.mark.parametrize("rosta", CLASSES)
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_glance_loss_of_the_paper_is_the_cross_entropy_of_the_logits(truth, rosta, scale):
    """With a scale of 60 most sigmoids are 0 or 1 in float32; the logits still count."""
    shape = (1, SIZE, SIZE, CLASSES[rosta])
    logits = scale * np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    config = config_of(rosta, glance_loss="paper", glance_weight=1.0)

    def glance(logits):
        return task.loss(heads(rosta, logits), {"image": truth["foreground"]}, truth, config)[1][
            "glance"
        ]

    value, gradient = jax.value_and_grad(glance)(jnp.asarray(logits))
    expected, slope = softmax_loss(logits, label_by_hand(truth, rosta))
    assert float(value) == pytest.approx(expected, rel=3e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-6 / SIZE**2, rtol=1e-4)
    if scale > 1:
        saturated = jax.nn.sigmoid(logits)
        assert float(jnp.mean((saturated == 0) | (saturated == 1))) > 0.3


def test_glance_loss_of_one_pixel_has_the_values_worked_out_by_hand():
    logits = jnp.array([[[[40.0, 30.0, -50.0]]]])
    for label, expected in ((0, np.log1p(np.exp(-10))), (1, 10 + np.log1p(np.exp(-10)))):
        ours = float(task.glance_loss(logits, jnp.array([[[label]]]), None))
        assert ours == pytest.approx(expected, abs=1e-5)
    assert np.all(np.asarray(jax.nn.sigmoid(logits[..., :2])) == 1)


def test_glance_loss_of_the_release_does_not_read_the_logits(truth):
    logits = np.random.default_rng(2).standard_normal((1, SIZE, SIZE, 3)).astype(np.float32)
    config, inputs = config_of("tt", glance_weight=1.0), {"image": truth["foreground"]}
    outputs = heads("tt", logits)
    value = float(task.loss(outputs, inputs, truth, config)[1]["glance"])
    expected, _ = softmax_loss(outputs["glance"], label_by_hand(truth, "tt"))
    assert value == pytest.approx(expected, rel=1e-6)
    del outputs["glance_logits"]
    assert float(task.loss(outputs, inputs, truth, config)[1]["glance"]) == value


def focus_by_hand(focus, target, inside):
    """Returns the loss of the focus [H, W] in a region, in float64."""
    kernel = np.load(GOLDENS / "gfm_losses.npz")["gauss_kernel"].astype(np.float64)
    x = inside * (focus - target)
    total = np.sqrt(x**2 + 1e-12).sum() / (inside.sum() + 1)
    for _ in range(5):
        padded = np.pad(x, 2, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
        blurred = np.einsum("hwij,ij->hw", windows, kernel)
        total += np.abs(x - blurred).mean()
        height, width = blurred.shape
        x = blurred.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return total + np.abs(x).mean()


@pytest.mark.parametrize("regions", ["official", "paper"])
@pytest.mark.parametrize("rosta", CLASSES)
def test_focus_is_learnt_in_the_region_of_the_form(truth, rosta, regions):
    """FT: alpha above 0 minus F. BT: G minus alpha above 0. TT, and the release: the trimap."""
    maps = {name: truth[name][0, ..., 0].astype(np.float64) for name in list(truth)[:4]}
    subject = (maps["alpha"] > 0).astype(float)
    inside = (maps["trimap"] == 0.5).astype(float)
    if regions == "paper" and rosta != "tt":
        inside = {"ft": subject - maps["eroded"], "bt": maps["dilated"] - subject}[rosta]
    assert set(np.unique(inside)) == {0, 1}
    target = {
        "tt": maps["alpha"],
        "ft": maps["alpha"] - maps["eroded"],
        "bt": maps["dilated"] - maps["alpha"],
    }[rosta]
    config = config_of(rosta, regions=regions, focus_weight=1.0)
    logits = np.zeros((1, SIZE, SIZE, CLASSES[rosta]))

    def loss(focus):
        outputs = heads(rosta, logits) | {"focus": focus[None, ..., None]}
        return task.loss(outputs, {"image": truth["foreground"]}, truth, config)[1]["focus"]

    focus = np.random.default_rng(3).random((SIZE, SIZE))
    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(loss))(focus)
        value, gradient = float(value), np.asarray(gradient)
    assert value == pytest.approx(focus_by_hand(focus, target, inside), rel=1e-6)
    assert not gradient[inside == 0].any()
    for row, column in np.argwhere(inside)[:: max(1, int(inside.sum()) // 5)]:
        step = np.zeros_like(focus)
        step[row, column] = 1e-6
        ends = [focus_by_hand(focus + sign * step, target, inside) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-6
        assert gradient[row, column] == pytest.approx(slope, abs=1e-6), (row, column)


def test_regions_of_the_paper_with_its_consistent_targets_give_the_true_alpha(truth):
    """Where BT's focus is learnt, alpha is 0; FT's region holds all soft alpha."""
    soft = (truth["alpha"] > 0) & (truth["alpha"] < 1)
    ft, bt = (np.asarray(task.transition(truth, rosta, "paper")) for rosta in ("ft", "bt"))
    assert ft[soft].all() and ft.sum() > soft.sum()
    assert bt.any() and not truth["alpha"][bt].any()


def test_labels_of_a_photo_equal_official():
    golden = np.load(GOLDENS / "gfm_losses.npz")
    for rosta, names in (("tt", ["trimap"]), ("rim", ["trimap", "erosion", "dilation"])):
        labels = task.photo_labels(golden["mask"], rosta)
        assert labels.dtype == np.uint8 and labels.shape[-1] == len(names)
        assert task.planes(config_of(rosta, labels_from="photo")).count == len(names)
        for i, name in enumerate(names):
            np.testing.assert_array_equal(labels[..., i], golden[name], err_msg=name)


def test_labels_of_a_photo_are_dilated_and_eroded_by_25_and_50_pixels():
    alpha = disc(40, 160)
    labels = task.photo_labels(alpha, "ft").astype(int)
    spread = {k: dilated(alpha > 0, ellipse(k)) for k in (25, 50)}
    kept = {k: ~dilated(alpha < 255, ellipse(k)) for k in (25, 50)}
    np.testing.assert_array_equal(labels[..., 0], 255 * kept[25] + 128 * (spread[25] & ~kept[25]))
    np.testing.assert_array_equal(labels[..., 1], 255 * kept[50])
    np.testing.assert_array_equal(labels[..., 2], 255 * spread[50])
    assert kept[50].any() and not spread[50].all()


def test_only_exact_values_of_resized_labels_count():
    """As in the source: the rest of the trimap is the class 1, but not where the focus learns."""
    values = np.array([0, 64, 127, 128, 129, 254, 255], np.uint8)
    planes = np.stack([values] * 3, -1)[None] / np.float32(255)
    truth = {name: x[None] for name, x in task.read_labels(jnp.asarray(planes)).items()}
    assert truth.keys() == {"trimap", "eroded", "dilated"}
    np.testing.assert_array_equal(task.classes(truth, "tt", False)[0, 0], [0, 1, 1, 1, 1, 1, 2])
    inside = task.transition(truth, "tt", "paper")[0, 0, :, 0]
    np.testing.assert_array_equal(inside, values == 128)
    for name in ("eroded", "dilated"):
        np.testing.assert_array_equal(truth[name][0, 0, :, 0], values == 255)


def test_labels_of_the_photo_are_flipped_with_alpha():
    alpha = np.stack([disc(radius, 64) for radius in (5, 6, 7, 8)])
    alpha[:, :, :30] = 0
    planes = np.stack([task.photo_labels(x, "bt") for x in alpha])
    rng = np.random.default_rng(0)
    batch = {
        "foreground": rng.integers(0, 256, (4, 64, 64, 3), np.uint8),
        "background": rng.integers(0, 256, (4, 64, 64, 3), np.uint8),
        "alpha": alpha[..., None],
        "alpha_planes": planes,
        "index": np.arange(4, dtype=np.int32),
    }
    config = config_of("bt", labels_from="photo")
    keys = jax.random.split(jax.random.key(2), 4)
    _, truth = jax.jit(lambda *given: task.synthesize(*given, config))(keys, batch)
    flips = set()
    for i in range(4):
        flip = not np.allclose(truth["alpha"][i, ..., 0], alpha[i] / 255, atol=1e-6)
        step = -1 if flip else 1
        labels = planes[i][:, ::step]
        trimap = np.select([labels[..., 0] == 255, labels[..., 0] == 128], [1, 0.5])
        np.testing.assert_array_equal(truth["trimap"][i, ..., 0], trimap)
        np.testing.assert_array_equal(truth["eroded"][i, ..., 0], labels[..., 1] == 255)
        np.testing.assert_array_equal(truth["dilated"][i, ..., 0], labels[..., 2] == 255)
        flips.add(flip)
    assert flips == {True, False}


@pytest.mark.parametrize("name", task.FORMS)
def test_invalid_form_raises(name):
    with pytest.raises(ValueError, match=f"unknown task.{name} 'papers': did you mean '"):
        task.check(config_of("tt", **{name: "papers"}))


def test_config_of_an_older_run_has_the_released_forms():
    config = config_of("ft")
    usual = {name: config.task[name] for name in task.FORMS}
    with config.unlocked():
        for name in task.FORMS:
            del config.task[name]
    task.check(config)
    assert {name: task.form(config, name) for name in task.FORMS} == usual
    assert usual == {"glance_loss": "official", "regions": "official", "labels_from": "crop"}
    added = added_fields(config_of("ft"))
    assert {name: added[f"task.{name}"] for name in task.FORMS} == usual
    assert added["model.pyramid"] == "concatenate" and task.planes(config) is None


def test_recipe_of_the_paper_differs_from_the_released_one_in_its_forms():
    paper = load_config(CONFIGS / "gfm.py", "paper")
    assert paper.model.pyramid == "sum"
    assert {name: task.form(paper, name) for name in task.FORMS} == {
        "glance_loss": "paper",
        "regions": "paper",
        "labels_from": "photo",
    }
    task.check(paper)
    released = load_config(CONFIGS / "gfm.py", "am2k_ori")
    paper.model.pyramid = released.model.pyramid
    paper.task.update(released.task)
    assert paper.to_dict() == released.to_dict()
