"""Spectral normalisation and the transposed convolution against their formulas in NumPy."""

import jax
import numpy as np
import pytest
from jax import lax

from matting_jax.models.layers.spectral import SpectralConv, SpectralConvTranspose, conv_transpose

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
LAYERS = {"conv": SpectralConv(5), "transposed": SpectralConvTranspose(5)}
both = pytest.mark.parametrize("kind", LAYERS)


def random(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = random((1, 4, 4, 3), 0)


def plain(kind, kernel):
    """Convolves X with `kernel` without normalisation."""
    if kind == "conv":
        return lax.conv_general_dilated(X, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS)
    return lax.conv_transpose(
        X, kernel, (2, 2), "SAME", dimension_numbers=DIMENSIONS, transpose_kernel=True
    )


def draw(kind):
    """Draws a kernel, its matrix in the official layout, and vectors before any iteration."""
    variables = jax.tree.map(np.asarray, LAYERS[kind].init(jax.random.key(0), X))
    kernel = variables["params"]["kernel"]
    return kernel, official_matrix(kernel), variables["spectral"]


def official_matrix(kernel):
    """Returns W: its rows are the first official axis, which is our last one."""
    return np.asarray(kernel).transpose(3, 2, 0, 1).reshape(kernel.shape[3], -1)


def apply(kind, kernel, vectors, update):
    """Returns the output of the layer and its updated vectors."""
    variables = {"params": {"kernel": kernel}, "spectral": vectors}
    y, updated = LAYERS[kind].clone(update=update).apply(variables, X, mutable=["spectral"])
    return y, updated["spectral"]


def iterate(matrix, u):
    """Returns u, v and sigma after one power iteration."""
    v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
    u = matrix @ v / np.linalg.norm(matrix @ v)
    return u, v, u @ matrix @ v


@both
def test_training_step_applies_one_power_iteration_of_the_official_matrix(kind):
    kernel, matrix, vectors = draw(kind)
    y, after = apply(kind, kernel, vectors, update=True)
    u, v, sigma = iterate(matrix, vectors["u"])
    np.testing.assert_allclose(after["u"], u, atol=1e-6)
    np.testing.assert_allclose(after["v"], v, atol=1e-6)
    np.testing.assert_allclose(y, plain(kind, kernel / sigma), atol=1e-5)


@both
@pytest.mark.parametrize("sign", [1, -1])
def test_evaluation_uses_the_stored_vectors_with_their_sign_and_keeps_them(kind, sign):
    kernel, matrix, vectors = draw(kind)
    vectors = {"u": sign * vectors["u"], "v": vectors["v"]}
    y, after = apply(kind, kernel, vectors, update=False)
    sigma = vectors["u"] @ matrix @ vectors["v"]
    expected = plain(kind, kernel / sigma)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
    jax.tree.map(np.testing.assert_array_equal, after, vectors)


@both
def test_iterations_converge_to_the_largest_singular_value(kind):
    kernel, matrix, vectors = draw(kind)
    for _ in range(60):
        y, vectors = apply(kind, kernel, vectors, update=True)
    expected = plain(kind, kernel / np.linalg.norm(matrix, 2))
    np.testing.assert_allclose(y, expected, atol=1e-3 * np.abs(expected).max())


@both
def test_vectors_are_constants_to_the_gradient(kind):
    """sigma is u W v, so d(W / sigma) is dW / sigma - W (u dW v) / sigma^2."""
    kernel, matrix, vectors = draw(kind)
    u, v, sigma = iterate(matrix, vectors["u"])
    cotangent = random(plain(kind, kernel).shape, 1)
    _, pull_back = jax.vjp(lambda k: apply(kind, k, vectors, update=True)[0], kernel)
    _, pull_back_plain = jax.vjp(lambda k: plain(kind, k), kernel)
    found, linear = (official_matrix(f(cotangent)[0]) for f in (pull_back, pull_back_plain))
    expected = (linear - np.sum(linear * matrix / sigma) * np.outer(u, v)) / sigma
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@both
def test_initial_vectors_have_length_one_and_no_iteration(kind):
    _, matrix, vectors = draw(kind)
    training = LAYERS[kind].clone(update=True).init(jax.random.key(0), X)
    jax.tree.map(np.testing.assert_array_equal, training["spectral"], vectors)
    for vector in vectors.values():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert np.abs(vectors["v"] - iterate(matrix, vectors["u"])[1]).max() > 0.1


def test_transposed_convolution_adds_each_input_to_sixteen_pixels():
    """As in PyTorch with kernel 4, stride 2 and padding 1: input i, tap k to output 2i + k - 1."""
    x, kernel = random((2, 5, 3, 4), 0), random((4, 4, 6, 4), 1)
    expected = np.zeros((2, 12, 8, 6), np.float32)
    for i in range(4):
        for j in range(4):
            expected[:, i : i + 10 : 2, j : j + 6 : 2] += x @ kernel[i, j].T
    np.testing.assert_allclose(conv_transpose(x, kernel), expected[:, 1:-1, 1:-1], atol=1e-5)
