"""Pooling with and without indices, and unpooling, also with ties."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax.models.layers.pooling import max_pool_3x3, max_pool_with_indices, max_unpool
from tests.models.layers.helpers import random


def draw(seed, levels, height, width):
    """Draws [2, 2 height, 2 width, 3] from few levels, so that most windows have ties."""
    rng = np.random.default_rng(seed)
    shape = (2, 2 * height, 2 * width, 3)
    return rng.integers(0, levels, shape).astype(np.float32)


def windows_of(x):
    """Returns the four values of each window, row by row: [B, H, W, C, 4]."""
    return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)


sizes = st.sampled_from([(1, 1), (2, 3), (4, 1)])  # each is compiled


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 3, 100]), sizes)
def test_first_of_equal_maxima_is_selected(seed, levels, size):
    x = draw(seed, levels, *size)
    pooled, indices = max_pool_with_indices(x)
    windows = windows_of(x)
    np.testing.assert_array_equal(pooled, windows.max(-1))
    np.testing.assert_array_equal(indices, windows.argmax(-1))
    assert indices.dtype == jnp.int8


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 3]), sizes)
def test_unpooled_values_are_at_the_maxima(seed, levels, size):
    x = draw(seed, levels, *size) + 1
    pooled, indices = max_pool_with_indices(x)
    spread = np.asarray(max_unpool(pooled, indices))
    first = np.arange(4) == windows_of(x).argmax(-1)[..., None]
    np.testing.assert_array_equal(windows_of(spread), windows_of(x) * first)


def test_gradients_pass_only_through_the_selected_pixel():
    x = draw(0, 2, 3, 4)
    pooled, indices = max_pool_with_indices(x)
    g = np.random.default_rng(1).standard_normal(pooled.shape).astype(np.float32)
    (dx,) = jax.vjp(lambda x: max_pool_with_indices(x)[0], x)[1](jnp.asarray(g))
    np.testing.assert_array_equal(dx, max_unpool(g, indices))
    spread = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    (dpooled,) = jax.vjp(lambda pooled: max_unpool(pooled, indices), pooled)[1](jnp.asarray(spread))
    chosen = np.take_along_axis(windows_of(spread), np.asarray(indices)[..., None], -1)
    np.testing.assert_array_equal(dpooled, chosen[..., 0])


def test_pooling_and_unpooling_equal_pytorch_with_ties():
    torch = pytest.importorskip("torch")
    x = draw(3, 3, 4, 5)
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    pooled, index = torch.nn.functional.max_pool2d(theirs, 2, return_indices=True)
    torch.nn.functional.max_unpool2d(pooled.square(), index, 2).cos().sum().backward()

    def both(x):
        pooled, indices = max_pool_with_indices(x)
        return max_unpool(pooled**2, indices)

    spread = torch.nn.functional.max_unpool2d(pooled.square(), index, 2).detach().numpy()
    np.testing.assert_array_equal(np.asarray(both(x)).transpose(0, 3, 1, 2), spread)
    gradient = jax.grad(lambda x: jnp.sum(jnp.cos(both(x))))(x)
    np.testing.assert_allclose(gradient, theirs.grad.numpy().transpose(0, 2, 3, 1), atol=1e-6)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (5, 8), (8, 12)])
def test_forms_of_3x3_pooling_agree_with_gradients(size):
    x = random((2, *size, 3), 0)
    cotangent = random((2, -(-size[0] // 2), -(-size[1] // 2), 3), 1)
    results = []
    for form in ("cpu", "lax"):
        y, gradient = jax.vjp(partial(max_pool_3x3, form=form), x)
        results.append((y, *gradient(cotangent)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
