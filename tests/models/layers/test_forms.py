"""What a form changes in the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from matting_jax.models.layers.convolutions import convolve
from matting_jax.models.layers.forms import compute_once
from tests.models.layers.helpers import random


def residual_chain(blocks, form):
    """Counts the operations of each block in a compiled chain of residual blocks."""

    def chain(x, kernels):
        for kernel in kernels:
            x = compute_once(nn.relu(x + 0.1 * convolve(x, kernel)), form)
        return x

    arguments = jnp.zeros((1, 16, 16, 4)), jnp.zeros((blocks, 3, 3, 4, 4))
    return jax.jit(chain).lower(*arguments).compile().cost_analysis()["flops"] / blocks


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only XLA for CPU recomputes blocks")
def test_cost_of_a_residual_block_does_not_grow_with_the_chain():
    assert residual_chain(16, "cpu") == pytest.approx(residual_chain(4, "cpu"), rel=0.02)
    assert residual_chain(16, "lax") > 1.1 * residual_chain(4, "lax")


def test_compute_once_keeps_the_value_and_its_gradient():
    x, cotangent = random((2, 3, 4, 5), 0), random((2, 3, 4, 5), 1)
    for form in ("cpu", "lax"):
        y, gradient = jax.vjp(lambda x, form=form: compute_once(x, form), x)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(gradient(cotangent)[0], cotangent)
    x[0, 0, 0, 0] = np.nan
    assert np.all(np.isnan(compute_once(x, "cpu")))
