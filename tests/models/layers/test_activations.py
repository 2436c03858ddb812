"""Activations at their kinks."""

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.models.layers.activations import relu6


def test_relu6_has_no_slope_at_its_kinks():
    x = jnp.array([-1.0, 0.0, 3.0, 6.0, 7.0])
    np.testing.assert_array_equal(relu6(x), [0, 0, 3, 6, 6])
    np.testing.assert_array_equal(jax.vmap(jax.grad(relu6))(x), [0, 0, 1, 0, 0])
