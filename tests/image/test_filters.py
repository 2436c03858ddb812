"""The filters of GCA's losses against the official ones."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from matting_jax.image.filters import SOBEL, correlate, gabor_filters, sobel_magnitude
from tests.helpers import GOLDENS

LOSSES = np.load(GOLDENS / "gca_losses.npz")


def test_filters_equal_official():
    np.testing.assert_array_equal(SOBEL, LOSSES["grad_filter"])
    np.testing.assert_allclose(gabor_filters(), LOSSES["gabor_filter"], atol=1e-8)


def test_correlation_equals_scipy_with_zero_padding():
    x = np.random.default_rng(0).random((2, 7, 9, 1)).astype(np.float32)
    filters = gabor_filters()
    ours = correlate(jnp.asarray(x), filters)
    for i, plane in enumerate(x[..., 0]):
        for j, kernel in enumerate(filters):
            expected = ndimage.correlate(plane, kernel, mode="constant")
            np.testing.assert_allclose(ours[i, ..., j], expected, atol=1e-6)


def test_gradient_of_a_ramp_is_eight_times_its_slope():
    y, x = np.mgrid[:9, :9].astype(np.float32)
    ramp = (0.03 * x + 0.04 * y)[None, ..., None]
    magnitude = sobel_magnitude(jnp.asarray(ramp))
    np.testing.assert_allclose(magnitude[0, 1:-1, 1:-1], 8 * 0.05, rtol=1e-5)


def test_magnitude_of_a_constant_is_differentiable():
    gradient = jax.grad(lambda x: jnp.sum(sobel_magnitude(x)))(jnp.zeros((1, 5, 5, 1)))
    assert np.all(gradient == 0)
