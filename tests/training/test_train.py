import hashlib
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from matting_jax import parallel
from matting_jax.config import load_config, override, read_config
from matting_jax.data import Unlabelled, shown_images
from matting_jax.data.evaluation import names_test_data
from matting_jax.evaluation.previews import HEADER, tile_size
from matting_jax.tasks import find_task
from matting_jax.tasks.task import mad
from matting_jax.training import train as training
from matting_jax.training.optimizer import create_optimizer
from matting_jax.training.state import initial_state, initial_variables, training_model
from matting_jax.training.train import train
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim
from tests.helpers import MODNET, assert_same, differs, one_step, saved, scores_of


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_resumed_run_equals_uninterrupted_one(finished, config, tmp_path):
    whole, _, expected = finished
    config.steps = 2
    train(config, tmp_path / "run")
    config.steps = 4
    state = jax.device_get(train(config, tmp_path / "run"))
    assert_same(state, expected)
    assert scores_of(tmp_path / "run") == scores_of(whole)
    assert [line["step"] for line in scores_of(whole)] == [0, 2, 4]


def test_step_is_compiled_before_the_optimizer_has_a_state(config, tmp_path, monkeypatch):
    """The peak of memory is that of one of them, not of both."""
    events = []
    make, compile_for = training.initial_state, parallel.compile_for

    def initial_state(config, variables, **keywords):
        if not isinstance(jax.tree.leaves(variables)[0], jax.core.Tracer):
            events.append("state")
        return make(config, variables, **keywords)

    def compiled(*arguments):
        events.append("compiled")
        return compile_for(*arguments)

    monkeypatch.setattr(training, "initial_state", initial_state)
    monkeypatch.setattr(parallel, "compile_for", compiled)
    config.steps = 2
    train(config, tmp_path / "run")
    config.steps = 3
    train(config, tmp_path / "run")
    assert events == ["compiled", "state", "compiled"]


def test_run_stopped_between_saves_resumes_from_the_last_one(finished, config, tmp_path):
    whole, _, expected = finished
    config.save_every = config.evaluate_every = 2
    config.steps = 3
    train(config, tmp_path / "run")
    manager = checkpoint.open_checkpoints(tmp_path / "run", mad)
    manager.delete(3)  # as if the run had been stopped in step 3
    manager.close()
    config.steps = 4
    assert_same(jax.device_get(train(config, tmp_path / "run")), expected)
    assert scores_of(tmp_path / "run") == scores_of(whole)


def test_run_whose_newest_checkpoint_is_damaged_equals_an_uninterrupted_one(
    finished, config, tmp_path, capsys
):
    whole, _, expected = finished
    run = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "4" / "default")
    assert_same(jax.device_get(train(config, run)), expected)
    assert "from step 3" in capsys.readouterr().out
    assert scores_of(run) == scores_of(whole)
    assert_same(saved(run, 4, expected), expected)


@pytest.mark.parametrize("field", ["images", "dataset", "list"])
def test_a_folder_a_data_set_or_a_list_is_scored(config, folders, tmp_path, field):
    """Without test data the first training photos, which have no alpha, are only shown."""
    shutil.copytree(folders / "test" / "image", tmp_path / "fg")
    shutil.copytree(folders / "test" / "alpha", tmp_path / "alpha")
    (tmp_path / "list.txt").write_text("fg/a.png\nfg/b.png\n")
    value = {"images": folders / "test", "list": tmp_path / "list.txt", "dataset": "no_such_set"}
    config.data.test.update(images="", dataset="", list="")
    photos = Unlabelled(["first", "second"], "photos without alpha")
    assert not names_test_data(config)
    assert [image.alpha for image in shown_images(config, photos)] == [None, None]

    config.data.test[field] = str(value[field])
    assert names_test_data(config)
    if field == "dataset":
        with pytest.raises(Exception, match="no_such_set"):
            shown_images(config, photos)
    else:
        alphas = [image.alpha for image in shown_images(config, photos)]
        assert len(alphas) >= 2 and all(np.ptp(alpha) == 255 for alpha in alphas)


@pytest.mark.parametrize(
    ("when", "rows", "scored"), [("none", 0, False), ("previews", 1, False), ("all", 2, True)]
)
def test_untrained_network_is_shown_or_scored_as_the_config_says(
    config, tmp_path, when, rows, scored
):
    """The first two test photos have other sizes; those of one size are one program."""
    config.steps, config.evaluate_every, config.evaluate_first = 1, 0, when
    train(config, tmp_path / "run")
    assert [line["step"] for line in scores_of(tmp_path / "run")] == [0] * scored
    pictures = list((tmp_path / "run").glob("previews/*"))
    assert [path.name for path in pictures] == ["step_000000.png"] * bool(rows)
    for path in pictures:
        heights = [tile_size(40, 48)[1], tile_size(48, 40)[1]][:rows]
        assert Image.open(path).height == HEADER + sum(heights)


def test_test_photos_follow_the_size_of_the_crops_unless_it_is_set(tmp_path):
    config = load_config(MODNET, "paper")
    assert config.test_time.reference_size == config.data.crop.size == 512
    config = override(config, ["--config.data.crop.size=96"])
    assert config.test_time.reference_size == 96
    claim(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["test_time"] == {"reference_size": 96}
    later = override(read_config(tmp_path), ["--config.data.crop.size=64"])
    assert later.test_time.reference_size == 96
    both = ["--config.test_time.reference_size=128", "--config.data.crop.size=64"]
    for arguments in (both, both[::-1]):
        config = override(load_config(MODNET, "paper"), arguments)
        assert config.test_time.reference_size == 128 and config.data.crop.size == 64


def test_finished_run_reports_it_and_changes_nothing(finished, capsys):
    workdir, config, expected = finished
    before = contents(workdir)
    assert_same(jax.device_get(train(config, workdir)), expected)
    assert contents(workdir) == before
    text = capsys.readouterr().out
    assert "is finished" in text and "--config.steps=" in text and str(workdir) in text


def test_workdir_of_another_config_raises_with_each_difference(finished, config):
    workdir = finished[0]
    before = contents(workdir)
    config.seed = 8
    config.optimizer.momentum = 0.5
    config.log_every = 1
    with pytest.raises(ValueError) as error:
        train(config, workdir)
    text = str(error.value)
    assert "seed is 3 there, 8 here" in text
    assert "optimizer.momentum is 0.9 there, 0.5 here" in text
    assert "log_every" not in text
    assert contents(workdir) == before


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("data.crop.size", 50, "multiples of 32.*50"),
        ("data.crop.around", "nowhere", "nowhere"),
        ("data.crop.rescale", (9, 3), r"rescale.*9, 3"),
        ("task.name", "modnt", "did you mean 'modnet'"),
        ("compute_dtype", "float8", "float8.*compute_dtype|compute_dtype.*float8"),
    ],
)
def test_config_that_cannot_train_does_not_claim_the_workdir(config, tmp_path, field, value, words):
    valid = config.copy_and_resolve_references()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=words):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    claim(tmp_path / "run", valid)
    assert read_config(tmp_path / "run") == valid


@pytest.mark.parametrize(
    "field, value, words",
    [
        (
            "optimizer.schedule.warmup_steps",
            5000,
            r"warmup_steps \(5000\) must be fewer than config.steps",
        ),
        ("optimizer.module_rates", {"head": 1.0}, "module in optimizer.module_rates"),
        ("batch_size", 0, r"batch_size must be in \[1, inf\), got 0"),
    ],
)
def test_config_is_refused_before_data_are_prepared(
    config, tmp_path, monkeypatch, field, value, words
):
    monkeypatch.setattr("matting_jax.training.data.train_source", None)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=words):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_moving_average_follows_its_formula(finished):
    workdir, config, last = finished
    third, fourth = (saved(workdir, step, last) for step in (3, 4))
    assert_same(fourth, last)
    decay = config.ema_decay
    jax.tree.map(
        lambda old, new, params: np.testing.assert_allclose(
            new, decay * old + (1 - decay) * params, rtol=1e-6, atol=1e-7
        ),
        third["ema"],
        fourth["ema"],
        fourth["params"],
    )
    assert differs(third["ema"], fourth["ema"]) and differs(fourth["ema"], fourth["params"])


def test_moving_average_starts_at_the_initial_parameters_and_is_omitted_without_decay(config):
    first, _, _ = one_step(config)
    assert_same(first["ema"], first["params"])
    config.ema_decay = 0.0
    assert (
        initial_state(
            config,
            initial_variables(config, training_model(config)),
            create_optimizer(config, ["backbone", "lr_branch", "hr_branch", "f_branch"]),
            find_task("modnet"),
        )["ema"]
        == {}
    )


def test_module_of_rate_zero_keeps_its_parameters(finished):
    _, config, last = finished
    params = initial_variables(config, training_model(config))["params"]
    assert config.optimizer.module_rates.lr_branch == 0
    assert_same(last["params"]["lr_branch"], jax.device_get(params["lr_branch"]))
    for module in ("backbone", "hr_branch", "f_branch"):
        assert differs(last["params"][module], jax.device_get(params[module]))


def test_module_of_rate_zero_is_not_part_of_the_gradient_norm(config):
    config.optimizer.module_rates.update(dict(backbone=1.0, lr_branch=1.0))
    _, _, (all_move,) = one_step(config)
    config.optimizer.module_rates.update(dict(backbone=0.0, lr_branch=0.0))
    _, _, (two_rest,) = one_step(config)
    assert 0 < two_rest["gradient_norm"] < 0.99 * all_move["gradient_norm"]
    np.testing.assert_array_equal(two_rest["loss"], all_move["loss"])


def test_frozen_statistics_do_not_change_while_scale_and_bias_train(config):
    config.freeze_statistics = True
    config.optimizer.module_rates.lr_branch = 1.0
    first, last, _ = one_step(config)
    assert_same(last["batch_stats"], first["batch_stats"])
    for module, norm in (("lr_branch", "norm"), ("hr_branch", "norm")):
        for leaf in ("scale", "bias"):
            assert differs(last["params"][module][norm][leaf], first["params"][module][norm][leaf])


def test_statistics_move_towards_those_of_the_batch(finished):
    _, config, last = finished
    first = jax.device_get(initial_variables(config, training_model(config)))
    jax.tree.map(
        lambda a, b: np.testing.assert_(np.all(a != b)), last["batch_stats"], first["batch_stats"]
    )


def test_bfloat16_step_stays_near_the_float32_one_with_float32_parameters(config):
    _, _, (exact,) = one_step(config)
    config.compute_dtype = "bfloat16"
    first, last, (terms,) = one_step(config)
    assert {x.dtype for x in jax.tree.leaves(last["params"])} == {np.dtype("float32")}
    assert {x.dtype for x in jax.tree.leaves(last["batch_stats"])} == {np.dtype("float32")}
    assert training_model(config).dtype == jnp.bfloat16
    assert terms["loss"] != exact["loss"]
    np.testing.assert_allclose(terms["loss"], exact["loss"], rtol=0.03)
    assert differs(first["params"], last["params"])


def test_loss_is_the_sum_of_its_terms_and_falls_on_a_repeated_batch(config):
    config.optimizer.module_rates.lr_branch = 1.0
    _, last, terms = one_step(config, steps=25)
    losses = [float(t["loss"]) for t in terms]
    for t in terms:
        np.testing.assert_allclose(t["loss"], t["semantic"] + t["detail"] + t["matte"], rtol=1e-5)
    assert losses[-1] < 0.8 * losses[0]
    assert int(last["step"]) == 25


def test_unsynchronised_statistics_are_those_of_one_device(config):
    """On one device they equal synchronised ones; tests/test_parallel.py compares eight."""
    assert training_model(config).axis_name == parallel.AXIS
    _, synchronised, (expected,) = one_step(config)
    config.synchronise_statistics = False
    assert training_model(config).axis_name is None
    first, last, (terms,) = one_step(config)
    assert terms["loss"] == pytest.approx(float(expected["loss"]), rel=1e-5)
    assert differs(first["batch_stats"], last["batch_stats"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        last["batch_stats"],
        synchronised["batch_stats"],
    )


def test_unknown_compute_dtype_raises_with_the_closest_valid_one(config):
    config.compute_dtype = "bfloat61"
    with pytest.raises(ValueError, match="did you mean 'bfloat16'"):
        training_model(config)


@pytest.mark.parametrize("frozen", [False, True])
def test_every_normalisation_of_modnet_follows_freeze_statistics(frozen):
    config = load_config(MODNET, "")
    config.freeze_statistics = frozen
    model = training_model(config).clone(axis_name=None)
    image = jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    traced = jax.jit(
        lambda v, x: model.apply(v, image=x, train=True, mutable=["batch_stats"])[1]["batch_stats"]
    ).trace(shapes, image)
    jaxpr = traced.jaxpr.jaxpr
    passed = set(map(id, jaxpr.invars))
    kept = [id(out) in passed for out in jaxpr.outvars]
    assert len(kept) == len(jax.tree.leaves(shapes["batch_stats"]))
    assert all(kept) if frozen else not any(kept)
