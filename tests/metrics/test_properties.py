"""Invariants of the metrics of alphas, videos, colours and classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matting_jax import metrics
from matting_jax.metrics import segmentation

SHAPE = (6, 7)
STILL = np.zeros((2, *SHAPE, 2))

alphas = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
clips = arrays(np.float32, (3, *SHAPE), elements=st.floats(0, 1, width=32))
trimaps = arrays(np.float32, SHAPE, elements=st.sampled_from([0, 0.5, 1]))
colours = arrays(np.float32, (*SHAPE, 3), elements=st.floats(0, 1, width=32))
labels = arrays(np.int64, SHAPE, elements=st.integers(0, 4))

few = settings(deadline=None, max_examples=20, derandomize=True)


@few
@given(alphas, alphas, trimaps)
def test_errors_do_not_depend_on_a_mirrored_image_and_are_0_for_equal_ones(
    prediction, truth, trimap
):
    given_images = (prediction, truth, trimap)
    for name in ("sad", "mse", "mad"):
        metric = getattr(metrics, name)
        expected = metric(*given_images)
        for axis in (0, 1):
            mirrored = (np.flip(x, axis) for x in given_images)
            assert metric(*mirrored) == pytest.approx(expected, rel=1e-9, nan_ok=True)
    for name in ("sad", "mse", "mad", "grad", "conn"):
        assert getattr(metrics, name)(truth, truth) == 0


@few
@given(alphas, alphas, st.floats(0, 1, width=32))
def test_errors_scale_with_the_difference(prediction, truth, share):
    mixed = np.clip(truth + np.float64(share) * (np.float64(prediction) - truth), 0, 1)
    for name, power in (("sad", 1), ("mad", 1), ("mse", 2)):
        metric = getattr(metrics, name)
        expected = share**power * metric(prediction, truth)
        assert metric(mixed, truth) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@few
@given(clips, clips)
def test_errors_of_clips_are_symmetric_and_those_of_still_equal_clips_0(prediction, truth):
    for metric in (metrics.dtssd, metrics.ssda, lambda a, b: metrics.messddt(a, b, STILL)):
        np.testing.assert_array_equal(metric(truth, truth), 0)
        there, back = metric(prediction, truth), metric(truth, prediction)
        np.testing.assert_allclose(there, back, rtol=1e-9)
        assert (there >= 0).all()


@few
@given(clips, clips)
def test_temporal_error_does_not_depend_on_the_direction_of_time(prediction, truth):
    forward = metrics.dtssd(prediction, truth)
    backward = metrics.dtssd(prediction[::-1], truth[::-1])
    assert np.sum(forward) == pytest.approx(np.sum(backward), rel=1e-9)


@few
@given(colours, colours, alphas)
def test_colours_where_nothing_is_seen_do_not_count(prediction, truth, alpha):
    # Every other pixel is seen: without any, a mean is NaN by its definition.
    alpha = np.where(np.arange(alpha.size).reshape(SHAPE) % 2, np.maximum(alpha, 0.01), 0)
    other = np.where(alpha[..., None] > 0, prediction, 1 - prediction)
    for name in ("foreground_sad", "foreground_mse", "foreground_mad"):
        metric = getattr(metrics, name)
        expected = metric(prediction, truth, alpha)
        assert metric(other, truth, alpha) == pytest.approx(expected)
        assert metric(truth, truth, alpha) == 0


@few
@given(labels, labels, st.permutations(range(5)))
def test_confusion_follows_renamed_classes(prediction, label, names):
    names = np.array(names)
    matrix = segmentation.confusion(prediction, label, 5)
    renamed = segmentation.confusion(names[prediction], names[label], 5)
    np.testing.assert_array_equal(renamed[np.ix_(names, names)], matrix)
    assert matrix.sum() == label.size
    assert segmentation.mean_iou(renamed) == pytest.approx(segmentation.mean_iou(matrix))
    swapped = segmentation.confusion(label, prediction, 5)
    np.testing.assert_array_equal(swapped, matrix.T)
