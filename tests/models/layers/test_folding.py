"""Folded normalisation predicts the same, and leaves other layers alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from matting_jax.models.layers.folding import fold
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.models.layers.spectral import SpectralConv, SpectralConvTranspose
from tests.models.layers.helpers import random, relative_error


class Inner(nn.Module):
    """One layer of each kind in one module, so that two collections meet below one name."""

    @nn.compact
    def __call__(self, x):
        x = SpectralConv(4, name="conv")(x)
        x = BatchNorm(use_running_average=True, name="norm")(x)
        x = SpectralConvTranspose(4, name="up")(x)
        return nn.BatchNorm(use_running_average=True, epsilon=0.5, name="flax")(x)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Inner(name="inner")(nn.Conv(3, (1, 1), name="plain")(x))


@pytest.fixture
def case():
    x = jnp.asarray(random((1, 4, 4, 3), 0))
    variables = Net().init(jax.random.key(0), x)
    norms = {
        name: {"mean": random((4,), 1), "var": 1 + random((4,), 2) ** 2}
        for name in ("norm", "flax")
    }
    return x, {**variables, "batch_stats": {"inner": norms}}


def test_folded_layers_predict_the_same(case):
    x, variables = case
    expected = Net().apply(variables, x)
    assert relative_error(Net().apply(fold(variables), x), expected) < 5e-6


def test_folded_values_are_the_ones_that_are_read(case):
    x, variables = case
    folded = fold(variables)
    inner = folded["folded"]["inner"]
    assert set(inner) == {"conv", "norm", "up", "flax"}
    inner["norm"]["factor"] = np.zeros(4, np.float32)
    inner["norm"]["shift"] = np.ones(4, np.float32)
    inner["up"]["kernel"] = np.ones((4, 4, 4, 4), np.float32)
    stats = variables["batch_stats"]["inner"]["flax"]
    # A transposed convolution of ones with ones sums 2x2 pixels of 4 channels inside.
    inside = (16 - stats["mean"]) / np.sqrt(stats["var"] + 0.5)
    np.testing.assert_allclose(Net().apply(folded, x)[0, 3, 3], inside, rtol=1e-5)


def test_batch_norm_folds_by_its_formula():
    params = {"scale": np.float32([2, 3]), "bias": np.float32([5, 7])}
    stats = {"mean": np.float32([1, 2]), "var": np.float32([4, 0.25])}
    folded = fold({"params": {"a": params}, "batch_stats": {"a": stats}})["folded"]["a"]
    factor = [2 / np.sqrt(4 + 1e-5), 3 / np.sqrt(0.25 + 1e-5)]
    np.testing.assert_allclose(folded["factor"], factor, rtol=1e-7)
    np.testing.assert_allclose(folded["shift"], [5 - factor[0], 7 - 2 * factor[1]], rtol=1e-6)
    assert folded["factor"].dtype == folded["shift"].dtype == np.float32


def test_a_training_step_does_not_read_folded_values(case):
    x, variables = case
    folded = fold(variables)["folded"]["inner"]["conv"]
    layer = {name: variables[name]["inner"]["conv"] for name in ("params", "spectral")}
    conv = SpectralConv(4, update=True)
    plain, _ = conv.apply(layer, x, mutable=["spectral"])
    layer["folded"] = {"kernel": 2 * folded["kernel"]}
    both, _ = conv.apply(layer, x, mutable=["spectral"])
    np.testing.assert_array_equal(plain, both)
