"""Damaged numbers of a checkpoint are noticed, and never used."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.tasks.task import mad
from matting_jax.workdir import checkpoint
from matting_jax.workdir.checksums import KEY, check, checksums
from tests.flips import STEP, is_same, make_state, run


def test_no_flipped_bit_gives_other_numbers(tmp_path):
    counts = run(flips=30, seed=1, folder=tmp_path)
    assert counts["silent"] == 0 and counts["noticed"] > 15


def test_checksum_is_that_of_the_bytes_of_an_array_by_its_path():
    tree = {"a": (np.array([1, 2, 3], np.uint8), {"b": jnp.zeros((), jnp.bfloat16)})}
    assert checksums(tree) == {"a/0": "55bc801d", "a/1/b": "41d912ff"}
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert checksums(transposed) == checksums(np.ascontiguousarray(transposed))


def test_array_that_differs_is_named():
    metadata = {KEY: checksums({"a": {"x": np.zeros(3)}, "b": np.ones(2)})}
    check({"a": {"x": np.zeros(3)}, "new": np.ones(3)}, metadata)
    with pytest.raises(ValueError, match="a/x is not as it was saved"):
        check({"a": {"x": np.array([0, 0, 1e-300])}}, metadata)


def test_checkpoints_without_checksums_are_read(tmp_path):
    """As older versions saved them."""
    checkpoints = checkpoint.open_checkpoints(tmp_path / "run", mad)
    checkpoint.save(checkpoints, STEP, make_state(), {"mad": 0.5})
    checkpoints.wait_until_finished()
    path = tmp_path / "run" / "checkpoints" / str(STEP) / "_CHECKPOINT_METADATA"
    fields = json.loads(path.read_text())
    assert fields["custom_metadata"].pop(KEY)
    path.write_text(json.dumps(fields))
    again = checkpoint.open_checkpoints(tmp_path / "run", mad)
    assert is_same(checkpoint.restore(again, make_state()), make_state())
