from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from matting_jax.commandline import main
from matting_jax.data import train_batches, train_source
from matting_jax.tasks.task import mad
from matting_jax.training import not_finite
from matting_jax.training import train as training
from matting_jax.training.train import train
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim
from tests.helpers import differs, lines_of, one_step

TERMS = ("loss", "semantic", "detail", "matte", "gradient_norm")


def break_step(monkeypatch, number, term, value):
    """Makes a term of one step `value`; returns the list of steps that have started."""
    original, begun = training.train_step, []

    def broken(*arguments):
        step = original(*arguments)

        def changed(state, batch):
            done = state["step"] + 1
            state, terms = step(state, batch)
            terms[term] = jnp.where(done == number, value, terms[term])
            return state, terms

        return changed

    def counted(*arguments):
        for batch in train_batches(*arguments):
            begun.append(len(begun) + 1)
            yield batch

    monkeypatch.setattr(training, "train_step", broken)
    monkeypatch.setattr(training, "train_batches", counted)
    return begun


@pytest.mark.parametrize("term, value", [("matte", np.nan), ("gradient_norm", np.inf)])
def test_step_that_is_not_finite_ends_the_run_with_a_full_report(
    config, tmp_path, monkeypatch, term, value
):
    workdir = tmp_path / "run"
    break_step(monkeypatch, 3, term, value)
    config.log_every = 1
    with pytest.raises(FloatingPointError) as error:
        train(config, workdir)
    path = workdir / "not_finite" / "step_000003.npz"
    for words in (
        "step 3 is not finite",
        f"{term} {value:g}",
        str(path),
        "of step 2",
        "learning_rate",
        "clip_norm",
        "freeze_statistics",
        *TERMS,
    ):
        assert words in str(error.value)
    assert [x.name for x in path.parent.iterdir()] == [path.name]
    assert sorted(checkpoint.open_checkpoints(workdir, mad).all_steps()) == [1, 2]
    assert max(line["step"] for line in lines_of(workdir)) == 2

    (expected,) = train_batches(train_source(config), config, 2, 3)
    with np.load(path) as kept:
        assert set(kept) == {f"batch/{x}" for x in expected} | {f"terms/{x}" for x in TERMS}
        for name, array in expected.items():
            np.testing.assert_array_equal(kept[f"batch/{name}"], array)
            assert kept[f"batch/{name}"].dtype == array.dtype
        np.testing.assert_array_equal(kept[f"terms/{term}"], np.float32(value))
        assert np.isfinite([kept[f"terms/{x}"] for x in TERMS if x != term]).all()


@pytest.mark.parametrize("number, begun", [(2, [1, 2, 3]), (4, [1, 2, 3, 4])])
def test_it_is_found_during_the_next_step_and_before_anything_is_saved(
    config, tmp_path, monkeypatch, number, begun
):
    steps = break_step(monkeypatch, number, "loss", np.nan)
    config.log_every = config.evaluate_every = config.save_every = 0
    with pytest.raises(FloatingPointError, match=f"step {number} .* checkpoint kept is none"):
        train(config, tmp_path / "run")
    assert steps == begun
    assert checkpoint.open_checkpoints(tmp_path / "run", mad).all_steps() == []


def test_steps_are_checked_one_step_late(tmp_path):
    none = SimpleNamespace(wait_until_finished=lambda: None, latest_step=lambda: None)
    finite = not_finite.FiniteCheck(tmp_path, none)
    finite.add(1, {}, {"loss": jnp.ones(())})
    finite.add(2, {}, {"loss": jnp.full((), jnp.nan)})
    with pytest.raises(FloatingPointError, match="step 2 is not finite"):
        finite.add(3, {}, {"loss": jnp.ones(())})


def test_excessive_learning_rate_exits_with_one_line(config, tmp_path, capsys):
    config.optimizer.learning_rate = 1e30
    claim(tmp_path / "run", config)
    assert main(["launch.py", f"--workdir={tmp_path / 'run'}"], "") == 1
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("launch.py: ")]
    assert len(said) == 1 and "is not finite" in said[0] and "learning_rate" in said[0]


def test_each_process_writes_its_own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    paths = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        batch = {"index": np.full(3, index, np.int32)}
        paths.append(not_finite.write_step(tmp_path, 12, batch, {"loss": np.nan}))
    assert sorted(paths) == sorted((tmp_path / "not_finite").iterdir()) and len(set(paths)) == 2
    for index, path in enumerate(paths):
        assert (np.load(path)["batch/index"] == index).all()


def test_gradient_norm_is_measured_over_all_gradients_before_clipping(config):
    config.optimizer.module_rates.lr_branch = 1.0
    first, last, (terms,) = one_step(config)
    update = jax.tree.map(lambda a, b: (a - b) / config.optimizer.learning_rate, first, last)
    np.testing.assert_allclose(terms["gradient_norm"], optax.tree.norm(update["params"]), rtol=1e-4)
    config.optimizer.clip_norm = 0.01
    first, last, (clipped,) = one_step(config)
    np.testing.assert_allclose(clipped["gradient_norm"], terms["gradient_norm"], rtol=1e-5)
    update = jax.tree.map(lambda a, b: (a - b) / config.optimizer.learning_rate, first, last)
    np.testing.assert_allclose(optax.tree.norm(update["params"]), 0.01, rtol=1e-3)
    assert differs(first["params"], last["params"])
