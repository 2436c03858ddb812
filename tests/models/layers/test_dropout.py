"""Dropout with one key for each sample."""

import jax
import numpy as np
import pytest

from matting_jax.models.layers.dropout import dropout


def test_dropout_depends_on_the_key_of_the_sample_and_keeps_the_mean():
    keys = jax.random.split(jax.random.key(0), 3)
    x = np.ones((3, 16, 16, 64), np.float32)
    dropped = np.asarray(dropout(x, keys, 0.25))
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(dropout(x, keys[::-1], 0.25), dropped[::-1])
