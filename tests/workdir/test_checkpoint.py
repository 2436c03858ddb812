import logging
import shutil

import absl.logging
import jax
import numpy as np
import pytest

from matting_jax.tasks.task import mad
from matting_jax.workdir import checkpoint


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


def write(workdir, scores, ema=False, state_of=state_of):
    """Writes checkpoints {step: MAD or None} to a workdir; returns the steps that are kept."""
    workdir.mkdir(exist_ok=True)
    (workdir / "config.json").write_text('{"task": {"name": "modnet"}}')
    manager = checkpoint.open_checkpoints(workdir, mad)
    for step, score in scores.items():
        metrics = None if score is None else {"mad": score}
        checkpoint.save(manager, step, state_of(step, ema), metrics)
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
    if kept is None:  # two scores are equal
        assert steps[-2:] == [5, 6] and len(steps) == 3 and steps[0] in (1, 4)
    else:
        assert steps == kept


def test_best_is_kept_when_the_run_resumes(tmp_path):
    write(tmp_path, {1: 0.5, 2: 0.1, 3: 0.3})
    assert write(tmp_path, {4: 0.2, 5: None, 6: 0.4, 7: None}) == [2, 6, 7]


def test_variables_are_those_of_the_lowest_mad(tmp_path):
    write(tmp_path, {1: 0.5, 2: 0.1, 3: 0.3, 4: None})
    variables = checkpoint.load_variables(tmp_path)
    assert variables.keys() == {"params", "batch_stats"}
    assert value_of(variables["params"]) == 2
    assert value_of(variables["batch_stats"]) == 102
    assert isinstance(variables["params"]["a"]["x"], np.ndarray)


def test_variables_are_the_newest_if_none_was_evaluated(tmp_path):
    write(tmp_path, {1: None, 2: None})
    assert value_of(checkpoint.load_variables(tmp_path)["params"]) == 2


@pytest.mark.parametrize(
    "scores, said",
    [
        ({1: 0.5, 2: 0.125, 3: 0.3}, "step 2, the best one, by its MAD of 0.1250"),
        ({1: None, 2: None}, "step 2, the last one: no checkpoint was evaluated"),
    ],
)
def test_step_is_logged_with_the_reason(tmp_path, caplog, scores, said):
    caplog.set_level(logging.INFO)
    write(tmp_path, scores)
    step, variables, _ = checkpoint.load_step(tmp_path)
    assert step == value_of(variables["params"]) == 2
    assert caplog.messages[-1] == f"{tmp_path}: {said}"


def test_orbax_warns_of_nothing_and_others_do(tmp_path, caplog):
    write(tmp_path, {1: 0.5})
    before = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.WARNING)
    caplog.clear()
    checkpoint.load_variables(tmp_path)
    absl.logging.warning("mine")
    absl.logging.set_verbosity(before)
    assert [x.getMessage() for x in caplog.records if x.name == "absl"] == ["mine"]


def test_variables_are_the_moving_average_if_it_was_kept(tmp_path):
    write(tmp_path, {1: 0.1, 2: 0.2}, ema=True)
    variables = checkpoint.load_variables(tmp_path)
    assert value_of(variables["params"]) == 201
    assert value_of(variables["batch_stats"]) == 101


def test_newest_state_is_restored_completely(tmp_path):
    write(tmp_path, {1: 0.1, 2: 0.5, 3: None}, ema=True)
    state = checkpoint.restore(checkpoint.open_checkpoints(tmp_path, mad), state_of(0, ema=True))
    expected = state_of(3, ema=True)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_nothing_is_restored_if_nothing_was_saved(tmp_path):
    assert checkpoint.restore(checkpoint.open_checkpoints(tmp_path, mad), state_of(0)) is None


def test_folder_that_is_no_workdir_raises(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=f"{folder} is not a workdir"):
            checkpoint.load_variables(folder)


def test_workdir_without_a_checkpoint_raises(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        checkpoint.load_variables(tmp_path)


@pytest.fixture
def half_written(tmp_path):
    """A workdir whose third checkpoint was being written when the run was killed."""
    write(tmp_path, {1: 0.1, 2: None})
    folder = tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp"
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "manifest.ocdbt").write_bytes(b"half")
    return tmp_path


def test_half_written_checkpoint_is_skipped(half_written):
    assert value_of(checkpoint.load_variables(half_written)["params"]) == 1
    manager = checkpoint.open_checkpoints(half_written, mad)
    assert int(checkpoint.restore(manager, state_of(0))["step"]) == 2
    checkpoint.save(manager, 3, state_of(3), None)
    manager.wait_until_finished()
    assert manager.latest_step() == 3


def test_reading_does_not_disturb_a_run_that_is_writing(half_written):
    checkpoint.load_variables(half_written)
    assert (half_written / "checkpoints" / "3.orbax-checkpoint-tmp" / "default").is_dir()


def data_file(folder):
    """Returns the file that holds the arrays."""
    return max((folder / "default").glob("ocdbt.process_*/d/*"), key=lambda x: x.stat().st_size)


def index_file(folder):
    (path,) = (folder / "default" / "d").iterdir()
    return path


def flip(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(255 - byte for byte in content[middle : middle + 4])
    path.write_bytes(content)


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGE = {
    "empty folder": empty,
    "half deleted": lambda folder: shutil.rmtree(folder / "default"),
    "without data": lambda folder: shutil.rmtree(folder / "default" / "ocdbt.process_0"),
    "without metadata": lambda folder: (folder / "default" / "_METADATA").unlink(),
    "truncated metadata": lambda folder: halve(folder / "default" / "_METADATA"),
    "flipped metadata": lambda folder: flip(folder / "default" / "_METADATA"),
    "without manifest": lambda folder: (folder / "default" / "manifest.ocdbt").unlink(),
    "flipped manifest": lambda folder: flip(folder / "default" / "manifest.ocdbt"),
    "truncated index": lambda folder: halve(index_file(folder)),
    "flipped index": lambda folder: flip(index_file(folder)),
    "missing arrays": lambda folder: data_file(folder).unlink(),
    "truncated arrays": lambda folder: halve(data_file(folder)),
    "flipped arrays": lambda folder: flip(data_file(folder)),
}


def large_state(step, ema=False):
    """Returns a state as `state_of`, with arrays that are too large for Orbax's index."""
    rng = np.random.default_rng(step)
    params = {"a": {"x": rng.normal(size=(64, 64)).astype(np.float32)}}
    return state_of(step) | {"params": params}


def step_of(variables):
    return value_of(variables["batch_stats"]) - 100


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A workdir with the checkpoints 2, the best, 3 and 4."""
    workdir = tmp_path_factory.mktemp("three")
    assert write(workdir, {2: 0.1, 3: 0.3, 4: 0.2}, state_of=large_state) == [2, 3, 4]
    return workdir


@pytest.fixture
def workdir(three, tmp_path):
    return shutil.copytree(three, tmp_path / "run")


def folders_of(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def said(caplog):
    """Returns the warnings."""
    records = [x for x in caplog.records if x.name == "matting_jax"]
    return [x.getMessage() for x in records if x.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", [*DAMAGE, "truncated score", "flipped score"])
def test_previous_checkpoint_is_used_if_the_newest_is_damaged(workdir, kind, caplog):
    folder = workdir / "checkpoints" / "4"
    if kind in DAMAGE:
        DAMAGE[kind](folder)
    else:
        {"t": halve, "f": flip}[kind[0]](folder / "metrics" / "metrics")
    manager = checkpoint.open_checkpoints(workdir, mad)
    assert int(checkpoint.restore(manager, large_state(0))["step"]) == 3
    (line,) = said(caplog)
    assert line.startswith("checkpoint 4 is damaged (") and "now damaged_4" in line
    if kind in DAMAGE:
        assert line.endswith("training resumes from step 3")
    assert folders_of(workdir) == ["2", "3", "damaged_4"]

    checkpoint.save(manager, 4, large_state(4), {"mad": 0.05})
    checkpoint.save(manager, 5, large_state(5), None)
    checkpoint.save(manager, 6, large_state(6), None)
    manager.close()
    assert folders_of(workdir) == ["4", "5", "6", "damaged_4"]
    assert step_of(checkpoint.load_variables(workdir)) == 4


def test_step_that_is_damaged_again_is_renamed_again(workdir):
    for _ in range(2):
        DAMAGE["half deleted"](workdir / "checkpoints" / "4")
        manager = checkpoint.open_checkpoints(workdir, mad)
        assert int(checkpoint.restore(manager, large_state(0))["step"]) == 3
        checkpoint.save(manager, 4, large_state(4), None)
        manager.close()
    assert folders_of(workdir) == ["2", "3", "4", "damaged_4", "damaged_4_2"]


def test_all_checkpoints_newer_than_the_first_readable_are_renamed(workdir):
    for step in (3, 4):
        DAMAGE["truncated arrays"](workdir / "checkpoints" / str(step))
    manager = checkpoint.open_checkpoints(workdir, mad)
    assert int(checkpoint.restore(manager, large_state(0))["step"]) == 2
    assert folders_of(workdir) == ["2", "damaged_3", "damaged_4"]


def test_training_does_not_restart_if_no_checkpoint_can_be_read(workdir):
    for step in (2, 3, 4):
        DAMAGE["missing arrays"](workdir / "checkpoints" / str(step))
    for _ in range(2):
        with pytest.raises(ValueError, match="no checkpoint in .* can be read .4: .*; 3: .*; 2: "):
            checkpoint.restore(checkpoint.open_checkpoints(workdir, mad), large_state(0))
        assert folders_of(workdir) == ["2", "3", "4"]
    with pytest.raises(ValueError, match="no checkpoint in .* can be read"):
        checkpoint.load_variables(workdir)


def test_training_does_not_restart_if_all_checkpoints_were_renamed(workdir):
    for step in (2, 3, 4):
        halve(workdir / "checkpoints" / str(step) / "metrics" / "metrics")
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged_2; damaged_3; damaged_4"):
            checkpoint.restore(checkpoint.open_checkpoints(workdir, mad), large_state(0))
        with pytest.raises(ValueError, match="damaged_2; damaged_3; damaged_4"):
            checkpoint.load_variables(workdir)


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind != "empty folder"])
def test_variables_are_the_newest_readable_if_the_best_are_damaged(workdir, kind, caplog):
    DAMAGE[kind](workdir / "checkpoints" / "2")
    before = folders_of(workdir)
    assert step_of(checkpoint.load_variables(workdir)) == 4
    (line,) = said(caplog)
    assert line.startswith("checkpoint 2 is damaged (") and line.endswith("; step 4 is used")
    DAMAGE[kind](workdir / "checkpoints" / "4")
    assert step_of(checkpoint.load_variables(workdir)) == 3
    assert folders_of(workdir) == before


def test_checkpoint_whose_score_is_gone_is_no_longer_the_best(workdir):
    empty(workdir / "checkpoints" / "2")
    assert step_of(checkpoint.load_variables(workdir)) == 4


def test_checkpoint_whose_score_cannot_be_read_is_no_longer_the_best(workdir, caplog):
    halve(workdir / "checkpoints" / "2" / "metrics" / "metrics")
    assert step_of(checkpoint.load_variables(workdir)) == 4
    (line,) = said(caplog)
    assert line.startswith("checkpoint 2 is damaged (") and line.endswith("; step 4 is used")


@pytest.mark.parametrize("error", checkpoint.NOT_DAMAGE)
def test_error_that_is_no_damage_renames_nothing(workdir, error, monkeypatch):
    def fail(*arguments, **keywords):
        raise error("not now")

    before = folders_of(workdir)
    monkeypatch.setattr(checkpoint.ocp.Checkpointer, "restore", fail)
    with pytest.raises(error, match="not now"):
        checkpoint.restore(checkpoint.open_checkpoints(workdir, mad), large_state(0))
    with pytest.raises(error, match="not now"):
        checkpoint.load_variables(workdir)
    assert folders_of(workdir) == before


def test_of_equal_scores_the_newer_checkpoint_is_kept_and_used(tmp_path):
    assert write(tmp_path, {1: 0.1, 2: 0.1}) == [1, 2]
    assert value_of(checkpoint.load_variables(tmp_path)["params"]) == 2
    assert write(tmp_path, {3: None, 4: None}) == [2, 3, 4]


@pytest.mark.parametrize("ema", [False, True])
def test_weights_that_are_not_finite_are_not_used(tmp_path, caplog, ema):
    def broken_at_2(step, ema=False):
        state = state_of(step, ema)
        if step == 2:
            state["ema" if ema else "params"]["a"]["x"][0, :2] = np.nan
        return state

    write(tmp_path / "run", {1: 0.5, 2: 0.1}, ema, state_of=broken_at_2)
    variables = checkpoint.load_variables(tmp_path / "run")
    assert value_of(variables["params"]) == (201 if ema else 1)
    assert "params/a/x (2 of 6 values)" in caplog.text and "step 1 is used" in caplog.text
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "1")
    with pytest.raises(ValueError, match=r"NaN or infinite: params/a/x \(2 of 6 values\)"):
        checkpoint.load_variables(tmp_path / "run")
