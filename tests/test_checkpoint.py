import jax
import numpy as np
import pytest

from matting_jax import checkpoint


def state_of(step, ema=False):
    def tree(value):
        return {"a": {"x": np.full((2, 3), value, np.float32)}}

    return {
        "step": np.asarray(step, np.int32),
        "params": tree(step),
        "batch_stats": tree(100 + step),
        "opt_state": (tree(0), {}),
        "ema": tree(200 + step) if ema else {},
    }


def write(workdir, scores, ema=False):
    """A workdir with the checkpoints that remain of {step: MAD or None}."""
    workdir.mkdir(exist_ok=True)
    (workdir / "config.json").write_text("{}")
    manager = checkpoint.open_checkpoints(workdir)
    for step, mad in scores.items():
        checkpoint.save(manager, step, state_of(step, ema), None if mad is None else {"mad": mad})
    manager.wait_until_finished()
    steps = sorted(manager.all_steps())
    manager.close()
    return steps


def value_of(tree):
    (x,) = {float(v) for leaf in jax.tree.leaves(tree) for v in np.ravel(leaf)}
    return x


@pytest.mark.parametrize(
    "scores, kept",
    [
        ({1: 0.5, 2: 0.1, 3: 0.3, 4: None, 5: None}, [2, 4, 5]),
        ({1: 0.5, 2: 0.4, 3: 0.3}, [2, 3]),
        ({1: 0.1, 2: 0.4, 3: None, 4: 0.1, 5: 0.2, 6: 0.3}, None),
        ({1: None, 2: None, 3: None}, [2, 3]),
    ],
)
def test_last_two_and_the_best_are_kept(tmp_path, scores, kept):
    steps = write(tmp_path, scores)
    if kept is None:  # two are equally good
        assert steps[-2:] == [5, 6] and len(steps) == 3 and steps[0] in (1, 4)
    else:
        assert steps == kept


def test_best_is_kept_when_the_run_goes_on(tmp_path):
    write(tmp_path, {1: 0.5, 2: 0.1, 3: 0.3})
    assert write(tmp_path, {4: 0.2, 5: None, 6: 0.4, 7: None}) == [2, 6, 7]


def test_variables_are_those_with_the_least_mad(tmp_path):
    write(tmp_path, {1: 0.5, 2: 0.1, 3: 0.3, 4: None})
    variables = checkpoint.load_variables(tmp_path)
    assert variables.keys() == {"params", "batch_stats"}
    assert value_of(variables["params"]) == 2
    assert value_of(variables["batch_stats"]) == 102
    assert isinstance(variables["params"]["a"]["x"], np.ndarray)


def test_variables_are_the_newest_where_none_was_evaluated(tmp_path):
    write(tmp_path, {1: None, 2: None})
    assert value_of(checkpoint.load_variables(tmp_path)["params"]) == 2


def test_variables_are_the_moving_average_where_it_was_kept(tmp_path):
    write(tmp_path, {1: 0.1, 2: 0.2}, ema=True)
    variables = checkpoint.load_variables(tmp_path)
    assert value_of(variables["params"]) == 201
    assert value_of(variables["batch_stats"]) == 101


def test_newest_state_is_restored_whole(tmp_path):
    write(tmp_path, {1: 0.1, 2: 0.5, 3: None}, ema=True)
    state = checkpoint.restore(checkpoint.open_checkpoints(tmp_path), state_of(0, ema=True))
    expected = state_of(3, ema=True)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_nothing_is_restored_where_nothing_was_saved(tmp_path):
    assert checkpoint.restore(checkpoint.open_checkpoints(tmp_path), state_of(0)) is None


def test_folder_that_is_no_workdir_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=f"{folder} is no workdir"):
            checkpoint.load_variables(folder)


def test_workdir_without_a_checkpoint_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        checkpoint.load_variables(tmp_path)


@pytest.fixture
def half_written(tmp_path):
    """A workdir whose third checkpoint was being written when the program was killed."""
    write(tmp_path, {1: 0.1, 2: None})
    folder = tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp"
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "manifest.ocdbt").write_bytes(b"half")
    return tmp_path


def test_half_written_checkpoint_is_passed_over(half_written):
    assert value_of(checkpoint.load_variables(half_written)["params"]) == 1
    manager = checkpoint.open_checkpoints(half_written)
    assert int(checkpoint.restore(manager, state_of(0))["step"]) == 2
    checkpoint.save(manager, 3, state_of(3), None)
    manager.wait_until_finished()
    assert manager.latest_step() == 3


def test_reading_leaves_what_a_run_is_writing(half_written):
    checkpoint.load_variables(half_written)
    assert (half_written / "checkpoints" / "3.orbax-checkpoint-tmp" / "default").is_dir()
