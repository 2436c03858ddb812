"""Deep Image Matting's losses against mmagic's, and its synthesis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.config import load_config
from matting_jax.image import trimap
from matting_jax.image.morphology import ellipse
from matting_jax.tasks import dim as task
from tests.helpers import CONFIGS, GOLDENS, as_float, dilated, photographs

CONFIG = CONFIGS / "dim.py"
LOSSES = np.load(GOLDENS / "dim_losses.npz")
OFFICIAL = {"alpha": "loss_alpha", "composition": "loss_comp", "refinement": "loss_refine"}


def golden_case():
    outputs = {"alpha": LOSSES["pred_refine"], "coarse_alpha": LOSSES["pred_alpha"]}
    inputs = {"image": LOSSES["merged"], "trimap": as_float(LOSSES["trimap"])}
    truth = {"alpha": LOSSES["alpha_gt"], "foreground": LOSSES["fg"], "background": LOSSES["bg"]}
    return outputs, inputs, truth


def test_losses_equal_official():
    total, terms = task.loss(*golden_case(), load_config(CONFIG, "finetune"))
    assert set(terms) == set(OFFICIAL)
    for name, key in OFFICIAL.items():
        assert float(terms[name]) == pytest.approx(float(LOSSES[key]), rel=1e-6)
    assert float(total) == pytest.approx(sum(float(LOSSES[x]) for x in OFFICIAL.values()), rel=1e-6)


def test_losses_and_gradients_are_zero_without_unknown_pixels():
    outputs, inputs, truth = golden_case()
    inputs = inputs | {"trimap": np.ones_like(inputs["trimap"])}
    config = load_config(CONFIG, "finetune")
    total, gradient = jax.value_and_grad(
        lambda outputs: task.loss(outputs, inputs, truth, config)[0]
    )(outputs)
    assert float(total) == 0 == float(LOSSES["loss_alpha_empty"])
    assert not any(np.any(x) for x in jax.tree.leaves(gradient))


STAGES = {
    "encoder_decoder": {"alpha", "composition"},
    "refinement": {"refinement"},
    "finetune": {"alpha", "composition", "refinement"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_own_losses(stage):
    config = load_config(CONFIG, stage)
    outputs, inputs, truth = golden_case()
    if not config.model.refine:
        outputs = {"alpha": outputs["coarse_alpha"]}
    _, terms = task.loss(outputs, inputs, truth, config)
    assert {name: float(x) for name, x in terms.items()} == {
        name: pytest.approx(float(LOSSES[OFFICIAL[name]]), rel=1e-6) for name in STAGES[stage]
    }


def test_second_stage_trains_only_the_refiner():
    config = load_config(CONFIG, "refinement")
    assert config.optimizer.module_rates.to_dict() == {"backbone": 0.0}
    assert config.init.model.to_dict() == {"refine": False}


@pytest.mark.parametrize("shards", [2, 8])
def test_losses_on_many_devices_equal_one_device(shards):
    """The unknown pixels are distributed unevenly over the devices."""
    config = load_config(CONFIG, "finetune")
    case = jax.tree.map(lambda x: x.reshape(16, 10, *x.shape[2:]), golden_case())
    expected, gradient = jax.value_and_grad(lambda x: task.loss(x, *case[1:], config)[0])(case[0])

    def split(x):
        return x.reshape(shards, -1, *x.shape[1:])

    def on_devices(outputs):
        parts = jax.tree.map(split, (outputs, *case[1:]))
        losses = jax.vmap(lambda *x: task.loss(*x, config, "devices")[0], axis_name="devices")
        return jnp.mean(losses(*parts))

    total, theirs = jax.value_and_grad(on_devices)(case[0])
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    for name in gradient:
        np.testing.assert_allclose(theirs[name], gradient[name], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("sizes", [(1, 1), (4, 9), (16, 7), (23, 28)])
def test_trimaps_equal_official_to_the_pixel(sizes):
    alpha = LOSSES["gentrimap_alpha_u8"].astype(np.float32)[..., None] / 255
    erosion, dilation = sizes
    ours = trimap.mmagic(jnp.asarray(alpha), erosion, dilation)
    np.testing.assert_array_equal(ours, as_float(LOSSES[f"gentrimap_e{erosion}_d{dilation}"]))


@pytest.fixture(scope="module")
def synthesize():
    config = load_config(CONFIG, "")
    return jax.jit(lambda keys, batch: task.synthesize(keys, batch, config))


@pytest.fixture(scope="module")
def synthesized(synthesize):
    """A batch, its inputs and truth, and which of its samples are flipped."""
    batch = photographs()
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, truth = jax.device_get(synthesize(keys, batch))
    flipped = [not np.allclose(truth["alpha"][i], batch["alpha"][i] / 255) for i in range(4)]
    assert 0 < sum(flipped) < 4
    return batch, inputs, truth, flipped


def test_composites_are_flipped_with_their_truth(synthesized):
    batch, inputs, truth, flipped = synthesized
    for i, flip in enumerate(flipped):
        step = -1 if flip else 1
        for name in ("alpha", "foreground", "background"):
            expected = batch[name][i][:, ::step] / 255
            np.testing.assert_allclose(truth[name][i], expected, atol=1e-6)
    alpha = truth["alpha"]
    image = alpha * truth["foreground"] + (1 - alpha) * truth["background"]
    np.testing.assert_allclose(inputs["image"], image, atol=1e-6)


def test_trimaps_have_random_kernel_sizes_in_range(synthesized):
    _, inputs, truth, _ = synthesized
    sizes_found = []
    rule = jax.jit(jax.vmap(jax.vmap(trimap.mmagic, (None, 0, None)), (None, None, 0)))
    sizes = np.arange(1, 30)
    for alpha, unknown in zip(truth["alpha"], inputs["trimap"], strict=True):
        every = np.asarray(rule(alpha, sizes, sizes))
        fits = np.argwhere((every == unknown).all((2, 3, 4)))
        assert len(fits) > 0
        sizes_found.append({tuple(pair) for pair in fits})
    assert len({min(pairs) for pairs in sizes_found}) > 1
    assert any(all(dilation != erosion for dilation, erosion in pairs) for pairs in sizes_found)


def test_trimaps_of_the_paper_are_dilated_soft_alpha():
    config = load_config(CONFIG, "")
    config.synthesis.trimap, config.synthesis.trimap_kernel = "dim", (5, 5)
    config.synthesis.flip = 0.0
    alpha = np.zeros((24, 28), np.uint8)
    alpha[4:16, 6:20] = 255  # hard on all sides but the right one, which is soft
    alpha[4:16, 20] = 100
    pairs = {"image": np.zeros((1, 24, 28, 3), np.uint8), "alpha": alpha[None, ..., None]}
    inputs, _ = task.synthesize(jax.random.split(jax.random.key(0), 1), pairs, config)
    unknown = dilated((alpha > 0) & (alpha < 255), ellipse(5))
    expected = np.where(unknown, 0.5, alpha == 255)
    np.testing.assert_array_equal(inputs["trimap"][0, ..., 0], expected)
    assert (
        expected[10, 5] == 0 and expected[10, 6] == 1 and expected[10, 18:23].tolist() == [0.5] * 5
    )


def test_runs_without_the_field_have_the_trimaps_of_mmagic():
    config, older = load_config(CONFIG, ""), load_config(CONFIG, "")
    del older.synthesis["trimap"]
    task.check(older)
    keys, batch = jax.random.split(jax.random.key(0), 4), photographs()
    inputs, _ = task.synthesize(keys, batch, config)
    again, _ = task.synthesize(keys, batch, older)
    np.testing.assert_array_equal(inputs["trimap"], again["trimap"])
    assert task.TASK.added == {"synthesis.trimap": config.synthesis.trimap}
    config.synthesis.trimap = "gca"
    with pytest.raises(ValueError, match="unknown config.synthesis.trimap 'gca'"):
        task.check(config)


def test_each_sample_depends_only_on_its_own_key(synthesize):
    batch = photographs()
    keys = jax.random.split(jax.random.key(0), 4)
    made = synthesize(keys, batch)
    order = np.array([2, 0, 3, 1])
    again = synthesize(keys[order], {name: x[order] for name, x in batch.items()})
    for before, after in zip(jax.tree.leaves(made), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(before[order], after)


def test_photos_with_alpha_train_all_losses_but_composition():
    config = load_config(CONFIG, "finetune")
    batch = photographs()
    pairs = {"image": batch["foreground"], "alpha": batch["alpha"]}
    inputs, truth = task.synthesize(jax.random.split(jax.random.key(0), 4), pairs, config)
    assert set(truth) == {"alpha"}
    for i in range(4):
        flips = [np.allclose(inputs["image"][i], pairs["image"][i][:, ::s] / 255) for s in (1, -1)]
        assert sum(flips) == 1
    outputs = {"alpha": truth["alpha"], "coarse_alpha": 1 - truth["alpha"]}
    with pytest.raises(ValueError, match="--config.task.composition_weight=0"):
        task.loss(outputs, inputs, truth, config)
    config.task.composition_weight = 0.0
    _, terms = task.loss(outputs, inputs, truth, config)
    assert set(terms) == {"alpha", "refinement"}


def test_invalid_config_raises():
    config = load_config(CONFIG, "")
    task.check(config)
    config.data.train.images = "photos"
    with pytest.raises(ValueError, match="photos with their alpha do not have"):
        task.check(config)
    config.task.composition_weight = 0.0
    task.check(config)
    config.task.alpha_weight, config.model.refine = 0.0, False
    with pytest.raises(ValueError, match="no loss is left"):
        task.check(config)
