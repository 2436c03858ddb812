"""Batch and instance normalisation against Flax and NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from matting_jax.models.layers.norms import BatchNorm, instance_norm
from tests.models.layers.helpers import random, relative_error


@pytest.mark.parametrize("shape", [(2, 5, 7, 4), (2, 3, 3, 4, 4)])
def test_batch_norm_equals_flax_except_for_the_unbiased_variance(shape):
    x = 3 + 2 * random(shape, 0)
    cotangent = random(x.shape, 1)
    variables = {
        "params": {"scale": random((4,), 2), "bias": random((4,), 3)},
        "batch_stats": {"mean": random((4,), 4), "var": 1 + random((4,), 5) ** 2},
    }
    results = {}
    for name, norm in (
        ("ours", BatchNorm(use_running_average=False)),
        ("flax", nn.BatchNorm(False, momentum=0.9, epsilon=1e-5, use_fast_variance=False)),
    ):

        def apply(params, x, norm=norm):
            variables_ = {"params": params, "batch_stats": variables["batch_stats"]}
            return norm.apply(variables_, x, mutable=["batch_stats"])

        y, gradient, updated = jax.vjp(apply, variables["params"], x, has_aux=True)
        results[name] = (y, *jax.tree.leaves(gradient(cotangent))), updated["batch_stats"]
    for ours, flax in zip(results["ours"][0], results["flax"][0], strict=True):
        assert relative_error(ours, flax) < 5e-6
    ours, flax = results["ours"][1], results["flax"][1]
    np.testing.assert_allclose(ours["mean"], flax["mean"], rtol=1e-5)
    old, n = variables["batch_stats"]["var"], x.size // 4
    batch = (flax["var"] - 0.9 * old) / 0.1
    np.testing.assert_allclose(ours["var"], 0.9 * old + 0.1 * batch * n / (n - 1), rtol=1e-5)
    biased = BatchNorm(use_running_average=False, unbiased=False)
    _, updated = biased.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(updated["batch_stats"]["var"], flax["var"], rtol=1e-5)


def test_batch_variance_is_accurate_for_a_mean_far_above_the_deviation():
    """In float32 sums of squares about 300 cannot represent a deviation of 0.1."""
    x = (300 + 0.1 * random((4, 16, 16, 2), 0)).astype(np.float32)
    norm = BatchNorm(use_running_average=False)
    params = {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}
    stats = {"mean": np.full(2, 299.9, np.float32), "var": np.ones(2, np.float32)}
    y, _ = norm.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-3)


def test_frozen_batch_norm_uses_running_statistics_and_trains_its_scale():
    x = random((2, 4, 4, 3), 0)
    norm = BatchNorm(use_running_average=True)
    stats = {"mean": random((3,), 1), "var": 1 + random((3,), 2) ** 2}
    params = {"scale": random((3,), 3), "bias": random((3,), 4)}
    y, updated = norm.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
    expected = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    for name in stats:
        np.testing.assert_array_equal(updated["batch_stats"][name], stats[name])

    def total(params):
        return norm.apply({"params": params, "batch_stats": stats}, x).sum()

    assert all(np.all(np.abs(g) > 0) for g in jax.tree.leaves(jax.grad(total)(params)))


def test_instance_norm_depends_only_on_its_own_image():
    x = random((2, 6, 5, 3), 0)
    y = instance_norm(jnp.asarray(x))
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var((1, 2)), 1, rtol=1e-4)
    np.testing.assert_array_equal(instance_norm(jnp.asarray(x[:1])), y[:1])


@pytest.mark.parametrize("axis_name", [None, "batch"])
def test_only_valid_samples_count_in_statistics(axis_name):
    """Also in gradients and over devices; invalid samples are still normalised."""
    x, cotangent = random((4, 3, 2, 5), 0) + 7, random((4, 3, 2, 5), 1)
    valid = np.array([1, 0, 1, 1], np.float32)
    params = {"scale": random((5,), 2), "bias": random((5,), 3)}
    stats = {"mean": random((5,), 4), "var": np.square(random((5,), 5))}

    def pull_back(x, cotangent, *valid, axis_name=None):
        def apply(params, x):
            norm = BatchNorm(False, axis_name)
            variables = {"params": params, "batch_stats": stats}
            return norm.apply(variables, x, *valid, mutable=["batch_stats"])

        y, gradient, updated = jax.vjp(apply, params, x, has_aux=True)
        return y, *gradient(cotangent), updated

    counted = valid == 1
    expected = pull_back(x[counted], cotangent[counted])
    cotangent[~counted] = 0
    if axis_name is None:
        y, dparams, dx, updated = pull_back(x, cotangent, valid)
    else:
        halves = [a.reshape(2, 2, *a.shape[1:]) for a in (x, cotangent, valid)]
        results = jax.vmap(partial(pull_back, axis_name=axis_name), axis_name=axis_name)(*halves)
        y, dx = (a.reshape(x.shape) for a in (results[0], results[2]))
        # The gradient of a replicated parameter is the sum over devices.
        dparams = jax.tree.map(lambda a: a.sum(0), results[1])
        updated = jax.tree.map(lambda a: a[0], results[3])
    np.testing.assert_array_equal(dx[~counted], 0)
    for ours, theirs in zip(
        jax.tree.leaves((y[counted], dparams, dx[counted], updated)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def test_statistics_stay_without_valid_samples():
    variables = BatchNorm(True).init(jax.random.key(0), jnp.zeros((1, 1, 1, 5)))
    norm, x = BatchNorm(False), random((2, 3, 3, 5), 0)

    def total(x):
        y, updated = norm.apply(variables, x, np.zeros(2, np.float32), mutable=["batch_stats"])
        return jnp.sum(0 * y), updated

    gradient, updated = jax.grad(total, has_aux=True)(x)
    np.testing.assert_array_equal(gradient, 0)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])
