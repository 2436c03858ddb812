import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matting_jax.models.layers import initialisers

KEY = jax.random.key(3)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_shapes_of_similar_size_get_the_same_first_draws(distribution):
    sizes = [(1,), (5, 13), (3, 3, 7, 2), (256,)]  # parts of vectors of 1 and of 256
    one, *others = (initialisers.draw(KEY, x, jnp.float32, distribution, 2.0) for x in sizes)
    assert one.shape == (1,)
    *shorter, whole = map(np.ravel, others)
    assert len(set(whole)) == 256
    for values in shorter:
        np.testing.assert_array_equal(values, whole[: values.size])


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_variance_is_the_scale_over_the_fan(mode, distribution):
    shape = (3, 3, 64, 96)
    fan = 9 * {"fan_in": 64, "fan_out": 96, "fan_avg": 80}[mode]
    kernel = initialisers.variance_scaling(2.0, mode, distribution)(KEY, shape)
    assert kernel.shape == shape and kernel.dtype == jnp.float32
    assert abs(kernel.mean()) < 1e-3
    assert np.isclose(kernel.var(), 2 / fan, rtol=0.02)
    bound = (6 / fan) ** 0.5
    if distribution == "uniform":
        assert 0.99 * bound < abs(kernel).max() <= bound
    else:  # not truncated at two standard deviations
        assert abs(kernel).max() > 3.5 * kernel.std()


def test_deviation_is_that_of_the_normal_draws():
    kernel = initialisers.normal(0.001)(KEY, (3, 3, 64, 64))
    assert np.isclose(kernel.std(), 0.001, rtol=0.02) and abs(kernel).max() > 0.0035
