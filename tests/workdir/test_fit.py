"""Workdirs whose checkpoints are not those of their network are reported as official files are."""

import json
import shutil

import jax
import numpy as np
import pytest
from flax import traverse_util

import matting_jax as mj
from matting_jax import convert
from matting_jax.tasks.task import mad
from matting_jax.workdir import checkpoint
from matting_jax.workdir.claim import claim

KERNEL = ("params", "backbone", "depthwise", "kernel")


def changed(change):
    """Returns a change of one array of a state."""

    def apply(flat):
        flat[KERNEL] = change(flat[KERNEL])

    return apply


def drop(start):
    def apply(flat):
        for path in [path for path in flat if path[: len(start)] == start]:
            del flat[path]

    return apply


def add(flat):
    flat["params", "extra", "kernel"] = np.ones((2, 2), np.float32)


# Change, lines of the error of loading, words of that of resuming.
ODD = {
    "module missing": (drop(KERNEL[:3]), [f"missing {'/'.join(KERNEL)}"], "is missing"),
    "module more": (add, ["unexpected params/extra/kernel"], "params/extra/kernel is unexpected"),
    "another shape": (
        changed(lambda x: np.concatenate([x, x])),
        ["params/backbone/depthwise/kernel is float32 (6, 3, 1, 8), expected float32 (3, 3, 1, 8)"],
        r"is float32 \(6, 3, 1, 8\), expected",
    ),
    "another type": (
        changed(lambda x: x.astype(np.int32)),
        ["params/backbone/depthwise/kernel is int32 (3, 3, 1, 8), expected float32 (3, 3, 1, 8)"],
        "is int32",
    ),
    "no statistics": (
        drop(("batch_stats",)),
        ["missing batch_stats/hr_branch/norm/mean", "missing batch_stats/hr_branch/norm/var"],
        "batch_stats/.* is missing, and 5 more",
    ),
}


@pytest.fixture
def write(finished, tmp_path):
    """Returns a function that writes a workdir with a changed state of the finished run."""
    _, config, state = finished

    def write(change):
        flat = traverse_util.flatten_dict({**state, "ema": {}}, keep_empty_nodes=True)
        change(flat)
        claim(tmp_path / "run", config)
        checkpoints = checkpoint.open_checkpoints(tmp_path / "run", mad)
        checkpoint.save(checkpoints, 4, traverse_util.unflatten_dict(flat), {"mad": 0.5})
        checkpoints.close()
        return tmp_path / "run"

    return write


@pytest.mark.parametrize("kind", ODD)
def test_what_does_not_fit_is_listed_with_the_step_and_the_network(write, finished, kind):
    change, lines, words = ODD[kind]
    workdir = write(change)
    with pytest.raises(ValueError) as error:
        mj.load_checkpoint("tiny", workdir)
    first, *others = str(error.value).splitlines()
    assert first == f"step 4 of {workdir} is not a checkpoint of tiny (flavour='official'):"
    assert {f"  {line}" for line in lines} <= set(others) and len(others) < 20
    # Training names the first fault.
    checkpoints = checkpoint.open_checkpoints(workdir, mad, reading=True)
    with pytest.raises(ValueError, match=words):
        checkpoint.restore(checkpoints, {**finished[2], "ema": {}})


def test_state_that_fits_is_restored(write, finished):
    workdir = write(lambda flat: None)
    state = {**finished[2], "ema": {}}
    checkpoints = checkpoint.open_checkpoints(workdir, mad, reading=True)
    jax.tree.map(np.testing.assert_array_equal, checkpoint.restore(checkpoints, state), state)


def test_values_that_are_not_finite_and_a_missing_list_are_one_line(write):
    workdir = write(changed(lambda x: x * np.nan))
    with pytest.raises(ValueError, match="params/backbone/depthwise/kernel .72 of 72") as error:
        mj.load_checkpoint("tiny", workdir)
    assert "\n" not in str(error.value)
    (workdir / "checkpoints" / "4" / "default" / "manifest.ocdbt").unlink()
    with pytest.raises(ValueError, match="list of arrays is missing") as error:
        mj.load_checkpoint("tiny", workdir)
    assert "\n" not in str(error.value)


def test_checkpoint_of_training_is_known_to_fit_without_tracing_the_network(
    finished, monkeypatch, tmp_path
):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    monkeypatch.setattr(convert, "flat_shapes", None)
    assert (
        mj.load_checkpoint("tiny", workdir)["batch_stats"].keys()
        == finished[2]["batch_stats"].keys()
    )


def test_config_changed_to_another_network_is_refused_with_both_names(finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["name"], config["model"], config["test_time"] = "tiny_trimap", {}, {}
    (workdir / "config.json").write_text(json.dumps(config))
    words = f"step 4 of {workdir} holds tiny .*, but config.json there says tiny_trimap"
    with pytest.raises(ValueError, match=words):
        mj.load(workdir)
