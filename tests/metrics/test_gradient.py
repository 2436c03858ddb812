"""Grad against dense filters over the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from matting_jax import metrics
from matting_jax.metrics import gradient


def benchmark_amplitude(image):
    """Computes the amplitude of the stretched image by 9 x 9 filters of unit norm."""
    x = np.arange(-4, 5)
    gaussian = np.exp(-(x**2) / (2 * 1.4**2))
    kernel = np.outer(gaussian, -x * gaussian)
    kernel /= np.linalg.norm(kernel)
    spread = np.ptp(image)
    image = (image - image.min()) / spread if spread else np.zeros_like(image)
    across, down = (ndimage.convolve(image, k, mode="nearest") for k in (kernel, kernel.T))
    return np.hypot(across, down)


def scipy_amplitude(image):
    across, down = (ndimage.gaussian_filter(image, 1.4, order=o) for o in ((0, 1), (1, 0)))
    return np.hypot(across, down)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 24) | st.integers(60, 140), st.integers(1, 24), st.integers(0, 2**16))
def test_boxes_equal_dense_filters_of_the_image(height, width, seed):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, height, width))
    unknown = rng.random((height, width)) < rng.choice([0.01, 0.1, 1])
    change = benchmark_amplitude(prediction) - benchmark_amplitude(truth)
    ours = metrics.grad(prediction, truth, np.where(unknown, 0.5, 0))
    assert ours == pytest.approx(np.sum(change[unknown] ** 2) / 1000, rel=1e-5, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**16))
def test_gfm_equals_scipys_filters(height, width, seed):
    prediction, truth = np.random.default_rng(seed).random((2, height, width))
    change = scipy_amplitude(prediction) - scipy_amplitude(truth)
    ours = metrics.grad(prediction, truth, convention="gfm")
    assert ours == pytest.approx(np.sum(change**2) / 10, rel=1e-5, abs=1e-9)


def test_contrast_and_brightness_do_not_matter():
    prediction, truth = np.random.default_rng(0).random((2, 20, 30))
    ours = metrics.grad(0.5 * prediction + 0.25, truth)
    assert ours == pytest.approx(metrics.grad(prediction, truth), rel=1e-5)
    gfm = metrics.grad(0.5 * prediction + 0.25, truth, convention="gfm")
    assert gfm != pytest.approx(metrics.grad(prediction, truth, convention="gfm"), rel=0.01)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_prediction_has_no_gradient(value):
    truth = np.random.default_rng(0).random((20, 30))
    ours = metrics.grad(np.full_like(truth, value), truth)
    assert ours == pytest.approx(np.sum(benchmark_amplitude(truth) ** 2) / 1000, rel=1e-6)


def test_type_and_layout_of_the_arrays_do_not_matter():
    prediction, truth = np.random.default_rng(0).integers(0, 2, (2, 20, 30)).astype(float)
    expected = metrics.grad(prediction, truth)
    for kind in (bool, np.float16, np.float32):
        assert metrics.grad(prediction.astype(kind), truth) == pytest.approx(expected, rel=1e-6)
    compiled = len(gradient.sum_errors.signatures)
    prediction, truth = prediction.astype(np.float32), truth.astype(np.float64)
    prediction.setflags(write=False)
    trimap = np.full(truth.shape, 0.5)
    for arguments in (
        (prediction, truth),
        (np.asfortranarray(prediction), truth, trimap),
        (prediction[::-1, ::-1], truth[::-1, ::-1]),
    ):
        assert metrics.grad(*arguments) == pytest.approx(expected, rel=1e-6)
    trimap[0] = 0
    metrics.grad(prediction, truth, trimap)  # a box smaller than the image
    assert len(gradient.sum_errors.signatures) == compiled
