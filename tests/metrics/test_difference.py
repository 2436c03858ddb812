"""SAD, MSE and MAD against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matting_jax import metrics

alphas = arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32))
trimaps = arrays(np.float32, (5, 7), elements=st.sampled_from([0, 0.5, 1]))


@settings(deadline=None, max_examples=50)
@given(alphas, alphas, trimaps)
def test_sad_mse_and_mad_follow_their_definitions(prediction, truth, trimap):
    difference = (prediction.astype(float) - truth)[trimap == 0.5]
    assert metrics.sad(prediction, truth, trimap) == pytest.approx(np.abs(difference).sum() / 1000)
    if difference.size:
        assert metrics.mse(prediction, truth, trimap) == pytest.approx(np.mean(difference**2))
        assert metrics.mad(prediction, truth, trimap) == pytest.approx(np.mean(np.abs(difference)))


@settings(deadline=None, max_examples=50)
@given(alphas, alphas, trimaps)
def test_split_adds_up_and_its_transition_is_the_sad(prediction, truth, trimap):
    split = metrics.sad_split(prediction, truth, trimap)
    assert sum(split.values()) == pytest.approx(metrics.sad(prediction, truth))
    assert split["transition"] == pytest.approx(metrics.sad(prediction, truth, trimap))


@pytest.mark.parametrize("name", ["sad", "mse", "mad", "grad", "conn"])
def test_metrics_are_symmetric_and_0_for_equal_images_only(name):
    metric = getattr(metrics, name)
    a, b = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32)
    assert metric(a, a) == 0
    assert metric(a, b) == pytest.approx(metric(b, a), rel=1e-12) and metric(a, b) > 0
