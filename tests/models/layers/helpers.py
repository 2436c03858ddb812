"""Random arrays and their differences."""

import jax.numpy as jnp
import numpy as np


def random(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative_error(a, b):
    return float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
