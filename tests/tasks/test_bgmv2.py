"""BackgroundMattingV2's losses against the official programs, and its synthesis."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import matting_jax as mj
from matting_jax.config import load_config
from matting_jax.tasks import bgmv2 as task
from matting_jax.tasks.task import mad
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_variables, training_model
from matting_jax.training.train import train
from matting_jax.workdir.checkpoint import open_checkpoints, read_variables
from tests.goldens import synth
from tests.helpers import CONFIGS, GOLDENS, use_folders

CONFIG = CONFIGS / "bgmv2.py"
LOSSES = np.load(GOLDENS / "bgmv2_losses.npz")
BASE = {"alpha": "pha", "foreground": "fgr", "error": "err"}
REFINE = {
    "alpha": "pha",
    "foreground": "fgr",
    "coarse_alpha": "pha_sm",
    "coarse_foreground": "fgr_sm",
    "coarse_error": "err_sm",
}
BASE_TERMS = {"alpha": "pha", "sobel": "sobel", "foreground": "fgr", "error": "err"}
REFINE_TERMS = {
    "alpha": "pha_lg",
    "coarse_alpha": "pha_sm",
    "sobel": "sobel_lg",
    "coarse_sobel": "sobel_sm",
    "foreground": "fgr_lg",
    "coarse_foreground": "fgr_sm",
    "error": "err",
}


@pytest.mark.parametrize(
    ("stage", "outputs", "terms"), [("base", BASE, BASE_TERMS), ("refine", REFINE, REFINE_TERMS)]
)
def test_losses_and_gradients_equal_official(stage, outputs, terms):
    predicted = {name: LOSSES[f"{stage}/pred_{key}"] for name, key in outputs.items()}
    truth = {"alpha": LOSSES[f"{stage}/true_pha"], "foreground": LOSSES[f"{stage}/true_fgr"]}

    def loss(predicted):
        return task.loss(predicted, {}, truth, None)

    (total, ours), gradient = jax.value_and_grad(loss, has_aux=True)(predicted)
    assert float(total) == pytest.approx(float(LOSSES[f"{stage}/loss_total"]), rel=1e-6)
    assert ours.keys() == terms.keys()
    for name, key in terms.items():
        expected = float(LOSSES[f"{stage}/loss_{key}"])
        assert float(ours[name]) == pytest.approx(expected, rel=2e-6), name
    compared = 0
    for name, key in outputs.items():
        if f"{stage}/grad_pred_{key}" in LOSSES:
            expected = LOSSES[f"{stage}/grad_pred_{key}"]
            bound = 2e-6 * np.abs(expected).max()
            np.testing.assert_allclose(gradient[name], expected, atol=bound, err_msg=name)
            compared += 1
    assert compared == {"base": 3, "refine": 2}[stage]


def test_views_equal_official_crops():
    expected = np.load(GOLDENS / "bgmv2_aug.npz")["base_crop_h20_w29"][0]
    x = synth.image(40, 40, 3, 1, 6)[0]
    np.testing.assert_allclose(task.crop_view(x, (20, 29)), expected, atol=1e-5)


def photographs(size=64):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    alpha = np.rint(255 * np.clip((27 - np.hypot(y - 32, x - 29)) / 2, 0, 1)).astype(np.uint8)
    layers = 255 * synth.image(size, size, 3, 8, 0)
    return {
        "foreground": layers[:4].astype(np.uint8),
        "alpha": np.broadcast_to(alpha, (4, size, size))[..., None],
        "background": layers[4:].astype(np.uint8),
        "index": rng.integers(0, 100, 4),
    }


KEYS = jax.random.split(jax.random.key(1), 4)
STILL = {"rotation": 0.0, "shear": 0.0, "translation": 0.0, "scale": (1.0, 1.0)}


def plain():
    """Returns a config whose synthesis only composes."""
    config = load_config(CONFIG, "base")
    config.synthesis.views = ()
    for layer in (config.synthesis.foreground, config.synthesis.background):
        layer.update(dict(flip=0.0, blur=0.0, sharpen=0.0, affine=STILL))
        layer.jitter = dict.fromkeys(layer.jitter, 0.0)
    config.synthesis.shadow.chance = config.synthesis.noise.chance = 0.0
    config.synthesis.capture.jitter.chance = config.synthesis.capture.affine.chance = 0.0
    return config


def synthesized(config, view=(64, 64), keys=KEYS, batch=None):
    synthesize = jax.jit(lambda keys, batch: task.synthesize(keys, batch, config, view))
    inputs, truth = synthesize(keys, photographs() if batch is None else batch)
    assert set(inputs) == {"image", "background", "keys"}
    return {name: np.asarray(inputs[name]) for name in ("image", "background")}, truth


@pytest.fixture(scope="module")
def undisturbed():
    return synthesized(plain())


def test_without_augmentation_the_captured_background_is_the_true_one(undisturbed):
    inputs, truth = undisturbed
    batch = {name: x / np.float32(255) for name, x in photographs().items()}
    composed = batch["alpha"] * batch["foreground"] + (1 - batch["alpha"]) * batch["background"]
    np.testing.assert_allclose(inputs["background"], batch["background"], atol=1e-5)
    np.testing.assert_allclose(inputs["image"], composed, atol=1e-5)
    np.testing.assert_allclose(truth["alpha"], batch["alpha"], atol=1e-5)
    np.testing.assert_allclose(truth["foreground"], batch["foreground"], atol=1e-5)


def test_shadow_darkens_only_the_photo_behind_the_subject(undisturbed):
    config = plain()
    config.synthesis.shadow.chance = 1.0
    inputs, truth = synthesized(config)
    before, alpha = undisturbed[0], truth["alpha"]
    np.testing.assert_array_equal(inputs["background"], before["background"])
    darker = before["image"] - inputs["image"]
    assert np.all(darker > -1e-6) and np.all(darker.max((1, 2, 3)) > 0.01)
    assert darker.max() <= 0.3
    np.testing.assert_allclose(darker[np.broadcast_to(alpha == 1, darker.shape)], 0, atol=1e-6)
    # The same in all channels where it does not reach black.
    behind = (alpha == 0)[..., 0] & (inputs["image"].min(-1) > 0)
    assert np.ptp(darker, axis=-1)[behind].max() < 1e-6


@pytest.mark.parametrize("change", ["jitter", "affine"])
def test_captured_background_differs_from_the_composited_one(undisturbed, change):
    config = plain()
    config.synthesis.capture[change].chance = 1.0
    config.synthesis.capture.affine.update(dict(rotation=5.0, translation=0.1))  # 1% is no pixel
    inputs, truth = synthesized(config)
    before = undisturbed[0]
    np.testing.assert_array_equal(inputs["image"], before["image"])
    changed = np.abs(inputs["background"] - before["background"]).mean((1, 2, 3))
    assert np.all(changed > 0.005)


def test_photo_and_background_have_independent_noise(undisturbed):
    config = plain()
    config.synthesis.noise.chance = 1.0
    inputs, truth = synthesized(config)
    before = undisturbed[0]
    noise = [inputs[name] - before[name] for name in ("image", "background")]
    # Clipping to [0, 1] lowers the deviation.
    deviations = np.array([x.std((1, 2, 3)) for x in noise])
    assert np.all(deviations > 0) and np.all(deviations <= 0.031)
    assert len(np.unique(deviations.round(5))) == 8
    for photo, background in zip(*noise, strict=True):
        assert abs(np.corrcoef(photo.ravel(), background.ravel())[0, 1]) < 0.05
    np.testing.assert_allclose(truth["foreground"], undisturbed[1]["foreground"])


def test_foreground_moves_with_its_alpha():
    config = plain()
    batch = photographs()
    batch["foreground"] = np.repeat(batch["alpha"], 3, -1)
    layer = config.synthesis.foreground
    layer.update(dict(flip=0.5, blur=0.5, sharpen=0.5))
    layer.affine = {"rotation": 5.0, "shear": 5.0, "translation": 0.1, "scale": (0.4, 1.0)}
    inputs, truth = synthesized(config, batch=batch)
    colours = np.broadcast_to(truth["alpha"], truth["foreground"].shape)
    np.testing.assert_allclose(truth["foreground"], colours, atol=1e-5)
    area = np.asarray(truth["alpha"]).mean((1, 2, 3)) / (batch["alpha"][0] / 255).mean()
    assert np.all(area < 1.01) and np.all(area > 0.15) and np.ptp(area) > 0.1


def test_each_sample_depends_only_on_its_own_key():
    config = load_config(CONFIG, "base")
    batch = photographs()
    inputs, truth = synthesized(config, (48, 40), batch=batch)
    assert truth["alpha"].shape == (4, 48, 40, 1)
    order = np.array([2, 0, 3, 1])
    shuffled = {name: x[order] for name, x in batch.items()}
    again = synthesized(config, (48, 40), KEYS[order], shuffled)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a)[order], b), (inputs, truth), again
    )
    for x in jax.tree.leaves((inputs, truth)):
        assert np.min(x) >= 0 and np.max(x) <= 1.00001


def test_photos_without_foregrounds_raise():
    batch = {"image": photographs()["foreground"], "alpha": photographs()["alpha"]}
    with pytest.raises(ValueError, match="data.train.foregrounds"):
        task.synthesize(KEYS, batch, plain(), (64, 64))


def test_invalid_views_raise():
    config = load_config(CONFIG, "refine")
    task.check(config)
    for views, wrong in ((((1024, 1030),), r"\(1024, 1030\)"), ((1024, 1024), "holds 1024")):
        config.synthesis.views = views
        with pytest.raises(ValueError, match=f"{wrong}.*multiples of 4"):
            task.check(config)
    base = load_config(CONFIG, "base")
    base.synthesis.views = ((301, 257),)
    task.check(base)


def test_first_steps_train_the_base_network_at_its_later_size():
    config = load_config(CONFIG, "sample")
    model = mj.create_model("bgmv2", **config.model)
    last = config.task.base_steps
    assert 0 < last < config.steps
    for step in (1, last):
        assert task.stage(model, config, step) == (model.clone(refine=False), (96, 96))
    assert task.stage(model, config, last + 1) == (model, (384, 384))
    recipe = load_config(CONFIG, "refine")
    stages = [task.stage(model, recipe, step) for step in range(1, 17)]
    assert stages[:8] == stages[8:] and {view for _, view in stages} == set(task.views(recipe))
    config.model.refine = False
    with pytest.raises(ValueError, match="task.base_steps is .* set it to 0"):
        task.check(config)


@pytest.mark.slow
def test_base_steps_leave_the_refiner_at_its_initial_value(folders, compiled_once, tmp_path):
    config = use_folders(load_config(CONFIG, "sample"), folders, compiled_once)
    config.steps, config.batch_size, config.task.base_steps = 2, 2, 1
    config.data.train.dataset = config.data.test.dataset = ""
    for part in ("image", "alpha", "background"):
        (tmp_path / "test" / part).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "test" / part / "a.png")
    config.data.test.images, config.preview_images = str(tmp_path / "test"), 0
    config.data.crop.update(dict(size=64, rescale=(48, 64)))
    config.optimizer.schedule.warmup_steps = 0
    config.log_every = config.save_every = 1
    config.evaluate_every, config.allocator = 0, False
    initial = initial_variables(config, training_model(config))
    state = train(config, tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    first, second = (line for line in lines if "loss" in line)
    assert "coarse_alpha" not in first and "coarse_alpha" in second
    saved = read_variables(open_checkpoints(tmp_path / "run", mad), 1)
    for collection in ("params", "batch_stats"):
        for part, leaves in saved[collection].items():
            same = jax.tree.map(np.array_equal, leaves, initial[collection][part])
            assert all(jax.tree.leaves(same)) == (part == "refiner"), (collection, part)
            same = jax.tree.map(np.array_equal, leaves, jax.device_get(state)[collection][part])
            assert not all(jax.tree.leaves(same)), (collection, part)


@pytest.mark.parametrize(
    ("variant", "rates"),
    [
        ("base", {"backbone": 1e-4, "aspp": 5e-4, "decoder": 5e-4}),
        ("refine", {"backbone": 5e-5, "aspp": 5e-5, "decoder": 1e-4, "refiner": 3e-4}),
    ],
)
def test_modules_have_their_published_learning_rates(variant, rates):
    """The size of Adam's first update is the learning rate, independent of the gradient."""
    config = load_config(CONFIG, variant)
    model = mj.create_model("bgmv2", **config.model)
    image = jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image, image)["params"]
    assert shapes.keys() == rates.keys()
    params = {name: jnp.ones(2) for name in shapes}
    optimizer = create_optimizer(config, shapes)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    for name, rate in rates.items():
        np.testing.assert_allclose(updates[name], -rate, rtol=1e-5)


def test_recipes_have_eight_sizes_within_the_official_range():
    for variant, low, high in (("base", 256, 511), ("refine", 1024, 2047)):
        sizes = np.array(task.views(load_config(CONFIG, variant)))
        assert sizes.shape == (8, 2) and len({tuple(size) for size in sizes}) == 8
        assert sizes.min() >= low and sizes.max() <= high
        assert np.mean(sizes) == pytest.approx((low + high) / 2, rel=0.03)
