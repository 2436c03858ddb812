"""What a form changes in the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from matting_jax.image.geometry import upsample
from matting_jax.models.layers.convolutions import convolve
from matting_jax.models.layers.forms import compute_once, relu_once
from tests.models.layers.helpers import random


def residual_chain(blocks, form, gradient=False):
    """Counts the operations of each block in a compiled chain of residual blocks."""

    def chain(x, kernels):
        for kernel in kernels:
            x = relu_once(x + 0.1 * convolve(x, kernel), form)
        return jnp.sum(x * x)

    arguments = jnp.zeros((1, 16, 16, 4)), jnp.zeros((blocks, 3, 3, 4, 4))
    program = jax.grad(chain, (0, 1)) if gradient else chain
    return jax.jit(program).lower(*arguments).compile().cost_analysis()["flops"] / blocks


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only XLA for CPU recomputes blocks")
def test_cost_of_a_residual_block_does_not_grow_with_the_chain():
    assert residual_chain(16, "cpu") == pytest.approx(residual_chain(4, "cpu"), rel=0.02)
    assert residual_chain(16, "lax") > 1.1 * residual_chain(4, "lax")
    assert residual_chain(16, "cpu", True) == pytest.approx(residual_chain(4, "cpu", True), rel=0.1)


def test_relu_once_equals_relu_and_its_gradient_at_zero_and_nan_too():
    x, cotangent = random((2, 3, 4, 5), 0), random((2, 3, 4, 5), 1)
    x[0, 0, 0] = [0, -0.0, np.nan, np.inf, -np.inf]
    expected, expected_gradient = jax.vjp(nn.relu, x)
    for form in ("cpu", "lax"):
        y, gradient = jax.vjp(lambda x, form=form: relu_once(x, form), x)
        np.testing.assert_array_equal(y, expected)
        defined = ~np.isnan(x)  # the gradient of a maximum at NaN is arbitrary
        np.testing.assert_array_equal(
            np.asarray(gradient(cotangent)[0])[defined],
            np.asarray(expected_gradient(cotangent)[0])[defined],
        )


def read_twice(once):
    """Returns the temporary bytes of a program that reads a concatenation of resized maps twice."""

    def program(x, y, kernel):
        maps = [once(upsample(x)), once(upsample(y, 4))]
        z = once(jnp.concatenate(maps, axis=-1))
        return convolve(z, kernel) + convolve(z, kernel[:1, :1])

    shapes = (1, 32, 32, 32), (1, 16, 16, 16), (3, 3, 48, 32)
    compiled = jax.jit(program).lower(*map(jnp.zeros, shapes)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only XLA for CPU recomputes maps")
def test_resized_maps_that_are_read_twice_are_kept_once_if_computed_once():
    """As plain maps are by JAX 0.12, while JAX 0.10 takes twice the memory for them."""
    concatenated_and_result = 4 * 64 * 64 * (48 + 32)
    assert read_twice(compute_once) < 1.01 * concatenated_and_result


def test_compute_once_returns_all_values_and_passes_gradients():
    x, cotangent = random((2, 3, 4, 5), 0), random((2, 3, 4, 5), 1)
    x[0, 0, 0] = [0, -0.0, np.nan, np.inf, -np.inf]
    y, gradient = jax.vjp(jax.jit(compute_once), x)
    assert np.asarray(y).tobytes() == x.tobytes()
    np.testing.assert_array_equal(gradient(cotangent)[0], cotangent)
    assert compute_once(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
