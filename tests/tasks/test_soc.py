"""SOC against the official adaptation step, and its guarantees."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import matting_jax as mj
from matting_jax.config import load_config
from matting_jax.data.pipeline import train_batches
from matting_jax.data.training import train_source
from matting_jax.tasks import soc
from matting_jax.tasks.modnet import semantic_target
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.train import train
from tests.clips import write_clip
from tests.goldens import synth
from tests.helpers import GOLDENS, MODNET_SOC, lines_of, saved, use_folders
from tests.tiny import tiny_soc_config

HEADS = ("semantic", "detail", "alpha")


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDENS / "modnet_losses.npz")


@pytest.fixture(scope="module")
def outputs(golden):
    """The golden's predictions and those of its backup network."""
    backup = {"detail": golden["backup_detail"], "alpha": golden["backup_matte"]}
    predictions = ("pred_semantic", "pred_detail", "pred_matte")
    now = {head: golden[key] for head, key in zip(HEADS, predictions, strict=True)}
    return {**now, "frozen": backup}


@pytest.fixture(scope="module")
def config():
    return load_config(MODNET_SOC, "official")


def loss_of(outputs, config):
    """Returns (total, terms) and the gradient by head."""
    frozen = outputs["frozen"]

    def loss(heads):
        return soc.loss({**heads, "frozen": frozen}, {}, {}, config)

    heads = {head: outputs[head] for head in HEADS}
    return jax.value_and_grad(loss, has_aux=True)(heads)


def test_losses_and_gradients_equal_official(golden, outputs, config):
    (total, terms), gradient = loss_of(outputs, config)
    assert float(terms["semantic"]) == pytest.approx(float(golden["soc_semantic_loss"]), rel=1e-6)
    detail = float(terms["detail"] + terms["matte"])
    assert detail == pytest.approx(float(golden["soc_detail_loss"]), rel=1e-6)
    assert float(total) == pytest.approx(float(golden["soc_total"]), rel=1e-6)
    for ours, key in (
        (gradient["semantic"], "soc_grad_semantic"),
        (gradient["detail"][:, ::4, ::4], "soc_grad_detail_s"),
        (gradient["alpha"][:, ::4, ::4], "soc_grad_matte_s"),
    ):
        np.testing.assert_allclose(ours, golden[key], atol=5e-7 * np.abs(golden[key]).max())


def test_boundary_equals_official_to_the_pixel(golden, outputs):
    boundary = soc.boundary_mask(outputs["semantic"], outputs["alpha"])
    np.testing.assert_array_equal(boundary, golden["soc_boundary"])


def test_photo_without_a_subject_has_zero_loss(outputs, config):
    empty = jax.tree.map(lambda x: x.at[1].set(0), jax.tree.map(jnp.asarray, outputs))
    (total, terms), gradient = loss_of(empty, config)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((total, terms, gradient)))
    for head in ("detail", "alpha"):
        assert not np.any(gradient[head][1]) and np.any(gradient[head][0])
    # The empty photo counts as 0 in the mean over the photos.
    first = jax.tree.map(lambda x: x[:1], outputs)
    (_, first_terms), _ = loss_of(first, config)
    assert float(terms["detail"]) == pytest.approx(float(first_terms["detail"]) / 2, rel=1e-6)


@pytest.mark.parametrize("side", [16, 32])
def test_photo_too_small_for_a_boundary_has_a_finite_loss(config, side):
    x = jnp.full((1, side, side, 1), 0.7)
    small = {"semantic": x[:, ::16, ::16], "detail": x, "alpha": x}
    (total, _), _ = loss_of({**small, "frozen": small}, config)
    assert float(total) == pytest.approx(0, abs=1e-9) and np.isfinite(total)


def test_paper_form_equals_its_equations(outputs):
    config = load_config(MODNET_SOC, "paper")
    (_, terms), gradient = loss_of(outputs, config)
    mask = np.asarray(soc.boundary_mask(outputs["semantic"], outputs["alpha"]))
    coarse = np.asarray(semantic_target(jnp.asarray(outputs["alpha"])))

    def inside(a, b):
        return np.mean((mask * np.abs(a - b)).sum((1, 2, 3)) / mask.sum((1, 2, 3)))

    expected = {
        "semantic": 0.5 * np.mean((coarse - outputs["semantic"]) ** 2),
        "matte": inside(outputs["alpha"], outputs["detail"]),
        "detail": inside(outputs["frozen"]["detail"], outputs["detail"]),
    }
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-5)
    # Semantics and alpha move towards each other: both halves of the square have a gradient.
    assert np.any(gradient["semantic"]) and np.any(gradient["alpha"])


def test_consistent_outputs_have_almost_no_loss(outputs):
    alpha = jnp.asarray(outputs["alpha"])
    coarse = semantic_target(alpha)
    agreed = {"alpha": alpha, "detail": alpha, "semantic": coarse}
    for variant in ("official", "paper"):
        config = load_config(MODNET_SOC, variant)
        (total, _), gradient = loss_of({**agreed, "frozen": agreed}, config)
        # The official form sets coarse alpha up to 0.01 to 0, so the loss is not exactly 0.
        assert float(total) < 1e-3
        assert not np.any(gradient["detail"])


@pytest.mark.parametrize("name", ["semantic", "detail", "matte"])
def test_each_weight_scales_only_its_term(outputs, config, name):
    (_, before), _ = loss_of(outputs, config)
    changed = config.copy_and_resolve_references()
    changed.task[f"{name}_weight"] = 0.0
    (total, terms), _ = loss_of(outputs, changed)
    assert float(terms[name]) == 0 and float(before[name]) > 0
    rest = sum(float(x) for other, x in before.items() if other != name)
    assert float(total) == pytest.approx(rest, rel=1e-6)


def test_three_classes_at_full_size_equal_one_channel_at_a_sixteenth(outputs, config):
    """Networks like PP-Matting and GFM return class probabilities at full size by other names."""
    alpha, detail = outputs["alpha"], outputs["detail"]
    rng = np.random.default_rng(0)
    classes = rng.dirichlet([1, 1, 1], alpha.shape[:3]).astype(np.float32)
    subject = classes[..., 2:] + 0.5 * classes[..., 1:2]
    frozen = outputs["frozen"]
    other = config.copy_and_resolve_references()
    other.task.update(dict(semantic="glance", detail="focus", classes=(0.0, 0.5, 1.0)))
    three = {
        "glance": classes,
        "focus": detail,
        "alpha": alpha,
        "frozen": {"focus": frozen["detail"], "alpha": frozen["alpha"]},
    }
    one = {
        **outputs,
        "semantic": (subject[:, 7::16] + subject[:, 8::16])[:, :, 7::16] / 4
        + (subject[:, 7::16] + subject[:, 8::16])[:, :, 8::16] / 4,
    }
    total, _ = soc.loss(three, {}, {}, other)
    expected, _ = soc.loss(one, {}, {}, config)
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_classes_that_do_not_match_the_semantics_raise(outputs, config):
    config = config.copy_and_resolve_references()
    config.task.classes = (0.0, 0.5, 1.0)
    with pytest.raises(ValueError, match="3 numbers, but the network's semantics have 1 channels"):
        loss_of(outputs, config)


@settings(deadline=None, max_examples=50)
@given(
    batch=st.integers(1, 6), photos=st.integers(1, 9), refresh=st.sampled_from(["epoch", "never"])
)
def test_copy_is_renewed_at_the_first_step_of_each_epoch(batch, photos, refresh):
    config = load_config(MODNET_SOC, "")
    config.batch_size, config.task.refresh = batch, refresh
    frozen, epochs = {"x": jnp.asarray(-1)}, []
    for step in range(12):
        frozen = soc.refresh(frozen, {"x": jnp.asarray(step)}, jnp.asarray(step), photos, config)
        epochs.append(int(frozen["x"]))
    starts, last = [], None
    for step in range(12):
        epoch = step * batch // photos
        starts.append(step if epoch != last else starts[-1])
        last = epoch
    assert epochs == (starts if refresh == "epoch" else [-1] * 12)


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("form", "papr", "did you mean 'paper'"),
        ("refresh", "epochs", "did you mean 'epoch'"),
    ],
)
def test_invalid_options_suggest_the_closest_valid_one(field, value, words):
    config = load_config(MODNET_SOC, "")
    config.init.checkpoint = "x"
    config.task[field] = value
    with pytest.raises(ValueError, match=words):
        soc.check(config)


def test_missing_network_to_adapt_raises():
    with pytest.raises(ValueError, match="--config.init.checkpoint=FILE"):
        soc.check(load_config(MODNET_SOC, ""))


@pytest.fixture(scope="module")
def adapted(config):
    """An adaptation step of MODNet in float64 from the golden's weights."""
    golden = np.load(GOLDENS / "modnet_train.npz")
    with jax.enable_x64(True):

        def variables(seed):
            tensors = synth.state_dict(str(GOLDENS / "modnet.json"), int(seed))
            with pytest.warns(UserWarning, match="differ from their copies"):
                flax = mj.from_state_dict("modnet", tensors)
            return jax.tree.map(lambda x: np.asarray(x, np.float64), flax)

        state, frozen = variables(golden["seed"]), variables(golden["soc_backup_seed"])
        inputs = {"image": (golden["image"].astype(np.float64) + 1) / 2}
        model = mj.create_model("modnet", frozen_statistics=True)

        def loss(params):
            now = {"params": params, "batch_stats": state["batch_stats"]}
            heads, updated = soc.forward(model, now, inputs, frozen)
            total, terms = soc.loss(heads, inputs, {}, config)
            return total, (terms, updated["batch_stats"])

        optimizer = create_optimizer(config, state["params"])

        @jax.jit
        def step(params):
            grads, aux = jax.grad(loss, has_aux=True)(params)
            updates, _ = optimizer.update(grads, optimizer.init(params), params)
            return grads, optax.apply_updates(params, updates), aux

        grads, after, (terms, batch_stats) = step(state["params"])
        grads, after = (
            {
                k.removeprefix("module."): x
                for k, x in mj.to_state_dict(
                    "modnet", {"params": tree, "batch_stats": state["batch_stats"]}
                ).items()
            }
            for tree in jax.tree.map(np.asarray, (grads, after))
        )
    return golden, state, terms, jax.device_get(batch_stats), grads, after


@pytest.mark.slow
def test_adaptation_step_equals_official(adapted):
    golden, state, terms, batch_stats, grads, after = adapted
    assert float(terms["semantic"]) == pytest.approx(float(golden["soc_semantic_loss"]), rel=1e-7)
    detail = float(terms["detail"] + terms["matte"])
    assert detail == pytest.approx(float(golden["soc_detail_loss"]), rel=1e-7)
    keys = [key for key in golden if key.startswith("soc_grad/")]
    assert len(keys) == 4
    for key in keys:
        bound = 2e-6 * np.abs(golden[key]).max()
        np.testing.assert_allclose(grads[key.split("/")[1]], golden[key], atol=bound, err_msg=key)
    key = "f_branch.conv_f.0.layers.0.weight"
    np.testing.assert_allclose(after[key], golden[f"soc_after/{key}"], atol=1e-7)
    jax.tree.map(np.testing.assert_array_equal, batch_stats, state["batch_stats"])


@pytest.fixture
def adaptation(finished, folders, compiled_once):
    """A config that adapts the finished run of the tiny network to photos without alpha."""
    config = use_folders(tiny_soc_config(), folders, compiled_once)
    config.init.checkpoint = str(finished[0])
    yield config


def test_adaptation_starts_from_the_run_and_keeps_its_statistics(adaptation, finished, tmp_path):
    start = mj.load_checkpoint("tiny", finished[0])
    state = jax.device_get(train(adaptation, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, state["batch_stats"], start["batch_stats"])
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state["params"], start["params"])
    # Adam moves each parameter by about its rate at each of the four steps.
    assert 1e-3 < moved["hr_branch"]["norm"]["scale"] < 0.05
    # Three photos, two a step: the last step begins an epoch, so its copy is the network then.
    third = saved(tmp_path / "run", 3, state)
    jax.tree.map(np.testing.assert_array_equal, state["memory"]["params"], third["params"])
    scores = [line for line in lines_of(tmp_path / "run") if "test_mad" in line]
    before = [line for line in lines_of(finished[0]) if "test_mad" in line]
    assert scores[0]["test_mad"] == pytest.approx(min(x["test_mad"] for x in before[1:]), rel=1e-5)


def test_resumed_adaptation_equals_the_uninterrupted_one(adaptation, finished, tmp_path):
    start = shutil.copytree(finished[0], tmp_path / "start")
    adaptation.init.checkpoint = str(start)
    whole = jax.device_get(train(adaptation, tmp_path / "whole"))
    adaptation.steps = 3
    train(adaptation, tmp_path / "run")
    shutil.rmtree(start)  # what the run started from is not asked for again
    adaptation.steps = 4
    again = jax.device_get(train(adaptation, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, again, whole)


@pytest.mark.slow
def test_frames_of_clips_are_trained_on_and_the_run_resumes_equally(adaptation, tmp_path):
    """Each frame of two clips has its own grey, so that a crop tells which frame it is of."""
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    greys = np.arange(10, 190, 30, dtype=np.uint8)
    frames = np.broadcast_to(greys[:, None, None, None], (6, 48, 64, 3))
    write_clip(folder / "a.mkv", frames[:4], "ffv1", "bgra")
    write_clip(folder / "more" / "b.mkv", frames[4:], "ffv1", "bgra")
    adaptation.data.train.photos, adaptation.data.test.images = str(folder), ""
    adaptation.steps = 6
    batches = train_batches(train_source(adaptation, unlabelled=True), adaptation, 0, 6)
    crops = np.concatenate([batch["image"] for batch in batches])
    seen = crops[:, 0, 0, 0]
    np.testing.assert_array_equal(crops, np.broadcast_to(seen[:, None, None, None], crops.shape))
    for epoch in (seen[:6], seen[6:]):  # two samples a step
        assert sorted(epoch) == list(greys)

    whole = jax.device_get(train(adaptation, tmp_path / "whole"))
    adaptation.steps = 4
    train(adaptation, tmp_path / "run")
    adaptation.steps = 6
    again = jax.device_get(train(adaptation, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_photos_without_truth_are_shown_but_not_scored(adaptation, tmp_path, capsys):
    adaptation.data.test.images = ""
    adaptation.steps = 2
    train(adaptation, tmp_path / "run")
    assert not [line for line in lines_of(tmp_path / "run") if "test_mad" in line]
    assert "nothing is scored" in capsys.readouterr().out
    with Image.open(tmp_path / "run" / "previews" / "step_000002.png") as picture:
        assert picture.width == 5 * 192  # photo, semantic, detail, alpha, cut-out: no truth
    mj.load_checkpoint("tiny", tmp_path / "run")


def test_missing_folder_of_photos_raises(adaptation, tmp_path):
    adaptation.data.train.photos = ""
    with pytest.raises(ValueError, match="--config.data.train.photos=DIR"):
        train(adaptation, tmp_path / "run")


def test_missing_network_raises_before_photos_are_read(adaptation, tmp_path):
    adaptation.init.checkpoint, adaptation.data.train.photos = "", str(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="--config.init.checkpoint=FILE"):
        train(adaptation, tmp_path / "run")
