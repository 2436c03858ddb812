"""PP-Matting's losses against the official code, and its synthesis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image.filters import gradient_length
from matting_jax.image.trimap import paddleseg
from matting_jax.models.pp_matting import fuse
from matting_jax.tasks import pp_matting as task
from matting_jax.training.optimizer import learning_rate
from tests.helpers import CONFIGS, GOLDENS, photographs

CONFIG = CONFIGS / "pp_matting.py"
LOSSES = np.load(GOLDENS / "pp_matting_losses_s21.npz")
PARTS = {
    "semantic": ("semantic",),
    "detail": ("detail_alpha", "detail_gradient"),
    "fusion": ("fusion_alpha", "fusion_composition", "fusion_gradient"),
}
KEYS = jax.random.split(jax.random.key(5), 4)


@pytest.fixture(scope="module")
def truth():
    codes = LOSSES["trimap"]
    trimap = np.where(codes == 128, 0.5, codes / 255).astype(np.float32)
    layers = {"foreground": (LOSSES["fg"] + 1) / 2, "background": (LOSSES["bg"] + 1) / 2}
    return {"alpha": LOSSES["alpha"], "trimap": trimap, **layers}


def loss_of(semantic, detail, truth, config):
    alpha = fuse(jnp.split(semantic, 3, axis=-1), detail)
    outputs = {"semantic": semantic, "detail": detail, "alpha": alpha}
    return task.loss(outputs, {}, truth, config)


@pytest.mark.parametrize("prefix", ["", "empty_"])
def test_losses_equal_official_with_and_without_a_transition(truth, prefix):
    trimap = 0 * truth["trimap"] if prefix else truth["trimap"]
    now = {**truth, "trimap": trimap}
    config = load_config(CONFIG, "official")
    total, terms = loss_of(LOSSES["semantic"], LOSSES["detail"], now, config)
    assert float(total) == pytest.approx(float(LOSSES[f"{prefix}loss_all"]), rel=2e-6)
    assert terms.keys() == {name for names in PARTS.values() for name in names}
    for name, value in terms.items():
        expected = 0.25 * float(LOSSES[f"{prefix}loss_{name}"])
        assert float(value) == pytest.approx(expected, rel=2e-6), name


def test_loss_gradients_equal_official(truth):
    config = load_config(CONFIG, "official")
    gradient = jax.jit(jax.grad(lambda *x: loss_of(*x, truth, config)[0], (0, 1)))
    for ours, name in zip(
        gradient(LOSSES["semantic"], LOSSES["detail"]), ("semantic", "detail"), strict=True
    ):
        golden = LOSSES[f"grad_{name}"]
        np.testing.assert_allclose(ours, golden, atol=1e-6 * np.abs(golden).max(), err_msg=name)


def test_gradient_lengths_equal_official():
    lengths = gradient_length(LOSSES["alpha"], task.EPSILON)
    np.testing.assert_allclose(lengths, LOSSES["sobel_alpha"], atol=2e-7)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_each_weight_scales_only_its_loss(truth, part, weight):
    config = load_config(CONFIG, "official")
    config.task[f"{part}_weight"] = weight
    _, terms = loss_of(LOSSES["semantic"], LOSSES["detail"], truth, config)
    for name, value in terms.items():
        factor = weight if name in PARTS[part] else 0.25
        expected = factor * float(LOSSES[f"loss_{name}"])
        assert float(value) == pytest.approx(expected, rel=2e-6), name


def test_losses_on_two_devices_equal_one_device(truth):
    """The transition is distributed unevenly over the devices."""
    config = load_config(CONFIG, "official")
    uneven = {**truth, "trimap": truth["trimap"].copy()}
    uneven["trimap"][1, 8:] = 0
    total, terms = loss_of(LOSSES["semantic"], LOSSES["detail"], uneven, config)

    def on_devices(semantic, detail, truth):
        alpha = fuse(jnp.split(semantic, 3, axis=-1), detail)
        outputs = {"semantic": semantic, "detail": detail, "alpha": alpha}
        return task.loss(outputs, {}, truth, config, "devices")

    split = jax.tree.map(lambda x: x[:, None], (LOSSES["semantic"], LOSSES["detail"], uneven))
    two = jax.vmap(on_devices, axis_name="devices")(*split)
    for ours, one in zip(jax.tree.leaves(two), jax.tree.leaves((total, terms)), strict=True):
        np.testing.assert_allclose(ours, np.repeat(one, 2), rtol=1e-6)


def test_alpha_trains_the_classes_without_a_detail_branch(truth):
    config = load_config(CONFIG, "official")

    def loss(semantic):
        alpha = semantic[..., :1] + semantic[..., 1:2] / 2
        return task.loss({"semantic": semantic, "alpha": alpha}, {}, truth, config)

    (_, terms), gradient = jax.value_and_grad(loss, has_aux=True)(LOSSES["semantic"])
    assert terms.keys() == {*PARTS["semantic"], *PARTS["fusion"]}
    config.task.semantic_weight = 0.0
    fused = jax.grad(lambda semantic: loss(semantic)[0])(LOSSES["semantic"])
    assert np.all(fused[..., :2] != 0) and np.any(gradient != fused)


def synthesis(**changes):
    """Returns the jitted `synthesize` without augmentation, with some fields changed."""
    config = load_config(CONFIG, "official")
    config.synthesis.update({"distort": {"chance": 0.0}, "blur": 0.0, "flip": 0.0, **changes})
    synthesize = jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))

    def compiled(*arguments):
        return synthesize(*arguments)

    return compiled


@pytest.fixture(scope="module")
def plain():
    return synthesis()(KEYS, photographs())


def test_truth_holds_the_layers_of_the_composite_and_a_valid_trimap(plain):
    inputs, truth = plain
    batch = photographs()
    for name in ("alpha", "foreground", "background"):
        np.testing.assert_allclose(truth[name], batch[name] / np.float32(255), atol=1e-6)
    alpha = truth["alpha"]
    image = alpha * truth["foreground"] + (1 - alpha) * truth["background"]
    np.testing.assert_allclose(inputs["image"], image, atol=1e-6)
    made = jax.jit(paddleseg)
    for i in range(4):
        candidates = [made(alpha[i], k, n) for k in (2, 3, 4) for n in range(5, 15)]
        assert any(np.array_equal(truth["trimap"][i], candidate) for candidate in candidates)
    assert len({float((x == 0.5).mean()) for x in truth["trimap"]}) > 1


def test_photo_is_its_own_foreground_and_background(plain):
    batch = photographs()
    pairs = {"image": batch["foreground"], "alpha": batch["alpha"]}
    inputs, truth = synthesis(distort={"chance": 0.5}, noise=1.0)(KEYS, pairs)
    assert np.any(inputs["image"] != pairs["image"] / np.float32(255))
    for name in ("foreground", "background"):
        np.testing.assert_array_equal(truth[name], inputs["image"])
    np.testing.assert_array_equal(truth["trimap"], plain[1]["trimap"])


def test_layers_and_composite_are_distorted_independently():
    inputs, truth = synthesis(distort={"chance": 1.0})(KEYS, photographs())
    alpha = truth["alpha"]
    image = alpha * truth["foreground"] + (1 - alpha) * truth["background"]
    off = np.abs(image - inputs["image"]).mean((1, 2, 3))
    assert np.all(off > 0.02)


def test_image_and_truth_are_flipped_together():
    changes = {"distort": {"chance": 0.5}, "blur": 0.5, "noise": 0.5, "jpeg": 0.5, "sharpen": 0.5}
    straight, mirrored = (synthesis(flip=x, **changes)(KEYS, photographs()) for x in (0.0, 1.0))
    for ours, theirs in zip(*map(jax.tree.leaves, (straight, mirrored)), strict=True):
        assert np.any(ours != theirs)
        np.testing.assert_allclose(ours, theirs[:, :, ::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "reaches"),
    [
        ("blur", {"image", "foreground", "background", "alpha"}),
        ("sharpen", {"image", "foreground", "background"}),
        ("noise", {"image"}),
        ("jpeg", {"image"}),
    ],
)
def test_each_augmentation_changes_the_official_arrays(plain, change, reaches):
    inputs, truth = synthesis(**{change: 1.0})(KEYS, photographs())
    before, after = ({**x, **y} for x, y in (plain, (inputs, truth)))
    changed = {name for name in before if np.any(before[name] != after[name])}
    assert changed == reaches
    assert all(np.all((x >= 0) & (x <= 1)) for x in after.values())


@pytest.mark.parametrize("change", ["sharpen", "noise", "jpeg"])
def test_probabilities_are_those_of_the_config(change):
    keys = jax.random.split(jax.random.key(1), 400)
    x = jnp.zeros((2, 2, 3))
    changed = jax.vmap(lambda key: task.change_randomly(key, 0.2, lambda key, x: x + 1, x))(keys)
    assert 0.14 < np.mean(changed) < 0.26
    config = load_config(CONFIG, "human")
    assert config.synthesis[change] == {"sharpen": 0.0, "noise": 0.5, "jpeg": 0.2}[change]


def test_noise_has_the_official_moments():
    keys = jax.random.split(jax.random.key(2), 200)
    grey = jnp.full((16, 16, 3), 0.5)
    noisy = jax.jit(jax.vmap(task.add_noise, (0, None)))(keys, grey) - 0.5
    means, variances = noisy.mean((1, 2, 3)), noisy.var((1, 2, 3))
    assert -0.01 < means.min() < 0.005 and 0.035 < means.max() < 0.05
    assert variances.min() < 1e-4 and 9e-4 < variances.max() < 1.2e-3


def test_sharpened_edges_overshoot_by_the_random_weight():
    """Pixels far from an edge do not change; the weight of the layers is 0.5."""
    step = jnp.where(jnp.arange(96) < 48, 0.3, 0.6)[None, :, None] * jnp.ones((64, 1, 9))
    keys = jax.random.split(jax.random.key(3), 50)
    sharp = jax.jit(jax.vmap(task.sharpen, (0, None)))(keys, step)
    np.testing.assert_allclose(sharp[:, :, :30], step[None, :, :30].repeat(50, 0), atol=1e-5)
    overshoot = sharp[:, 32, 48] - 0.6
    # The Gaussian's weights beyond the edge sum to half of all but the middle one, 0.0797.
    half = 0.3 / 2 * (1 - 0.0797)
    np.testing.assert_allclose(overshoot[:, 3:], 0.5 * half, rtol=0.02)
    assert overshoot[:, 0].min() < 0.25 * half and overshoot[:, 0].max() < 0.5 * half


@pytest.mark.parametrize(
    ("variant", "steps", "backbone"),
    [
        ("official", 300_000, "hrnet_w48"),
        ("composition_1k", 300_000, "hrnet_w48"),
        ("distinctions_646", 300_000, "hrnet_w48"),
        ("human", 200_000, "hrnet_w18"),
    ],
)
def test_recipes_equal_the_published_ones(variant, steps, backbone):
    config = load_config(CONFIG, variant)
    assert (config.steps, config.batch_size, config.model.backbone) == (steps, 4, backbone)
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.9, 4e-5)
    rate = learning_rate(config)
    for share in (0, 0.5, 0.9):
        assert float(rate(int(share * steps))) == pytest.approx(0.01 * (1 - share) ** 0.9)
    paper = load_config(CONFIG, "paper").task
    assert [paper[f"{part}_weight"] for part in PARTS] == [1, 1, 1]


def test_crops_and_data_equal_the_published_ones():
    """The values are those of PaddleSeg's Matting/configs/ppmatting."""
    crops, names = {}, {}
    for variant in ("official", "composition_1k", "distinctions_646", "human"):
        data = load_config(CONFIG, variant).data
        crop = data.crop
        assert (crop.size, crop.around, crop.small) == (512, "anywhere", "pad")
        assert (data.foreground_colours, data.train.separator) == ("as_is", data.test.separator)
        crops[variant] = tuple(crop.windows), crop.max_short, data.train.separator
        names[variant] = data.train.dataset, data.train.background_dataset, data.test.dataset
    everything = (512, 640, 800), 0, "|"
    assert crops == dict.fromkeys(crops, everything) | {"human": ((512,), 512, " ")}
    nothing = ("", "", "")
    assert names == {"official": nothing, "human": nothing} | {
        name: (f"{name}/foregrounds", "coco/2017", f"{name}/composites")
        for name in ("composition_1k", "distinctions_646")
    }
