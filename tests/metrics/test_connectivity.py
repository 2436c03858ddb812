"""Conn against connected components for each threshold."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from matting_jax import metrics
from matting_jax.metrics import connectivity
from matting_jax.metrics.components import count_chains

levels = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)
)


def chains_by_labels(level, top, by_column):
    """Returns the result of `count_chains` by labelling the pixels of each threshold."""
    if by_column:
        return chains_by_labels(level.T, top, False).T
    chain, unbroken = np.zeros(level.shape, np.uint8), np.ones(level.shape, bool)
    for threshold in range(1, top + 1):
        labels, count = ndimage.label(level >= threshold)  # in reading order, 4-connected
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        unbroken &= (labels == 1 + np.argmax(sizes)) if count else False
        chain += unbroken
    return chain


@settings(deadline=None, max_examples=300)
@given(levels, st.booleans())
@example(np.array([[2, 2, 0, 1, 2, 1]], np.uint8), True)  # the main body moves: no chain beyond 1
@example(np.array([[0, 1], [1, 0]], np.uint8), True)  # corners do not connect; a tie
@example(np.array([[0, 1], [1, 0]], np.uint8), False)
@example(np.array([[1, 0, 1, 1, 1], [1, 1, 0, 0, 0]], np.uint8), False)  # the smaller one is first
def test_chains_equal_labels_for_each_threshold(level, by_column):
    ours = count_chains(np.ascontiguousarray(level), 4, by_column)
    np.testing.assert_array_equal(ours, chains_by_labels(level, 4, by_column))


@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize("smoothness", [0, 1, 4])
def test_chains_equal_labels_for_each_threshold_on_larger_noise(smoothness, by_column):
    noise = np.random.default_rng(smoothness).standard_normal((150, 170))
    noise = ndimage.gaussian_filter(noise, smoothness)
    level = np.clip(np.rint(5 + 5 * noise / noise.std()), 0, 10).astype(np.uint8)
    ours = count_chains(level, 10, by_column)
    np.testing.assert_array_equal(ours, chains_by_labels(level, 10, by_column))
    assert len(np.unique(ours)) > 3


def test_spiral_and_comb_are_one_component():
    comb = np.zeros((41, 60), np.uint8)
    comb[::2], comb[-1] = 1, 1
    comb[1::4, -1], comb[3::4, 0] = 1, 1  # one long snake
    np.testing.assert_array_equal(count_chains(comb, 1, True), comb)
    rows = comb.copy()
    rows[1::4, -1] = rows[3::4, 0] = 0
    first = np.zeros_like(rows)
    first[0] = 1
    np.testing.assert_array_equal(count_chains(rows, 1, False), first)


def test_thresholds_of_8_bit_values_are_those_of_integers():
    codes = np.arange(256)
    alphas = (codes / 255).astype(np.float32)[None]
    single, double = connectivity.thresholds(False), connectivity.thresholds(True)
    exact = (10 * codes[:, None] >= 255 * np.arange(1, 11)).sum(1)
    np.testing.assert_array_equal(
        connectivity.count_passed(alphas, alphas, single, single)[0], exact
    )
    in_double = (codes[:, None] / 255 >= 0.1 * np.arange(1, 11)).sum(1)
    np.testing.assert_array_equal(
        connectivity.count_passed(alphas, alphas, double, double)[0], in_double
    )
    assert np.flatnonzero(exact != in_double).tolist() == [153]


def conn_by_labels(prediction, truth):
    """Computes Conn by its definition, for the whole image and by rows."""
    tenths = np.arange(1, 11)[:, None, None] * np.float32(0.1)
    level = (np.minimum(prediction, truth) >= tenths).sum(0)
    up_to = (chains_by_labels(level, 10, False) * 0.1).astype(np.float32)
    phi = [1 - (x - up_to) * (x - up_to >= np.float32(0.15)) for x in (prediction, truth)]
    return np.abs(phi[0] - phi[1]).sum(dtype=float) / 1000


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**16))
def test_conn_equals_its_definition_for_any_floats(seed):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((2, 20, 20)), (0.5, 2, 2))
    prediction, truth = np.clip(0.5 + 3 * noise, 0, 1).astype(np.float32)
    ours = metrics.conn(prediction, truth, convention="rvm")
    assert ours == pytest.approx(conn_by_labels(prediction, truth), rel=1e-6)


def test_trimap_limits_the_sum_but_not_the_components():
    rng = np.random.default_rng(0)
    prediction, truth = np.rint(rng.random((2, 30, 40)) * 255).astype(np.float32) / 255
    parts = [np.zeros_like(truth), np.zeros_like(truth)]
    parts[0][:, :13], parts[1][:, 13:] = 0.5, 0.5
    total = sum(metrics.conn(prediction, truth, part) for part in parts)
    assert total == pytest.approx(metrics.conn(prediction, truth), rel=1e-9)


def test_first_of_equal_components_is_found_by_columns_or_by_rows():
    truth = np.zeros((3, 3), np.float32)
    truth[2, 0], truth[0, 2] = 1, 1
    prediction = truth.copy()
    prediction[2, 0] = 0.11
    # By columns the lower left is first, and its truth exceeds by 0.9; by rows it is not connected.
    assert metrics.conn(prediction, truth) == pytest.approx(0.9 / 1000)
    for convention in ("paddle", "mmagic", "gfm", "rvm"):
        ours = metrics.conn(prediction, truth, convention=convention)
        assert ours == pytest.approx(1 / 1000)


def test_conn_without_common_pixels_depends_on_the_convention():
    truth, prediction = np.zeros((2, 4, 6), np.float32)
    truth[:, :2], prediction[:, 4:] = 1, 0.8
    assert metrics.conn(prediction, truth) == pytest.approx((8 * 1 + 8 * 0.8) / 1000)
    assert metrics.conn(prediction, truth, convention="gfm") == 0
    assert np.isnan(metrics.conn(prediction, truth, convention="bgm"))


def test_type_and_layout_of_the_arrays_do_not_matter():
    prediction, truth = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32)
    expected = metrics.conn(prediction, truth)
    compiled = len(connectivity.count_passed.signatures)
    prediction.setflags(write=False)
    assert metrics.conn(prediction, truth) == expected
    assert metrics.conn(np.asfortranarray(prediction), truth[::-1][::-1]) == expected
    assert metrics.conn(prediction.astype(np.float64), truth) == expected
    assert len(connectivity.count_passed.signatures) == compiled


def test_compiles_at_first_use_and_caches_for_all_processes():
    half = np.full((4, 5), 0.5, np.float32)
    metrics.conn(half, half)
    metrics.grad(half, half)
    program = """
import sys
import matting_jax
assert "numba" not in sys.modules
import numpy as np
from matting_jax.metrics import components, conn, connectivity, grad, gradient
compiled = [components.count_chains, connectivity.count_passed]
compiled += [connectivity.sum_errors, gradient.sum_errors]
assert not any(function.signatures for function in compiled)
half = np.full((4, 5), 0.5, np.float32)
conn(half, half), grad(half, half)
for function in compiled:
    assert function.stats.cache_hits and not function.stats.cache_misses, function
"""
    subprocess.run([sys.executable, "-c", program], check=True)
