"""Video metrics against the published codes, and their invariances."""

import json

import numpy as np
import pytest

from matting_jax import metrics
from tests.helpers import GOLDENS

ARRAYS = np.load(GOLDENS / "metrics_cases.npz")

EXPECTED = json.loads((GOLDENS / "metrics_expected.json").read_text())["video"]
PREDICTION, TRUTH, TRIMAP = (ARRAYS[f"video_{kind}"] / 255 for kind in ("pred", "gt", "trimap"))
FLOW = ARRAYS["video_flow"]


def test_rvm_equals_its_code():
    np.testing.assert_allclose(
        metrics.dtssd(PREDICTION, TRUTH), EXPECTED["rvm"]["dtssd"], rtol=1e-6
    )


def test_tcvom_equals_its_code():
    expected = EXPECTED["tcvom"]
    for ours, name in (
        (metrics.dtssd(PREDICTION, TRUTH, TRIMAP, convention="tcvom")[:-1], "dtSSD"),
        (metrics.messddt(PREDICTION, TRUTH, FLOW, TRIMAP)[:-1], "MESSDdt"),
        (metrics.messddt(PREDICTION, TRUTH, FLOW, TRIMAP, squared=False)[:-1], "MESSDdt_fix"),
        (metrics.ssda(PREDICTION, TRUTH, TRIMAP), "SSDA"),
    ):
        np.testing.assert_allclose(ours, expected[name], rtol=1e-6)


def test_constant_error_has_no_temporal_change():
    truth = np.random.default_rng(0).random((3, 10, 12)) / 2
    prediction = truth + np.random.default_rng(1).random((10, 12)) / 2
    for convention in ("rvm", "tcvom"):
        ours = metrics.dtssd(prediction, truth, convention=convention)
        np.testing.assert_allclose(ours, 0, atol=1e-12)
    still = np.zeros((2, 10, 12, 2))
    np.testing.assert_allclose(metrics.messddt(prediction, truth, still), 0, atol=1e-12)


def test_error_that_follows_the_flow_has_no_change():
    error = np.zeros((3, 12, 16))
    subject = np.random.default_rng(0).random((4, 5))
    for t in range(3):
        error[t, 2 + t : 6 + t, 3 + 2 * t : 8 + 2 * t] = subject
    flow = np.broadcast_to(np.array([2.0, 1.0]), (2, 12, 16, 2))
    truth = np.zeros_like(error)
    for squared in (True, False):
        ours = metrics.messddt(error, truth, flow, squared=squared)
        np.testing.assert_allclose(ours, 0, atol=1e-12)
        assert metrics.messddt(error, truth, 0 * flow, squared=squared)[:-1].min() > 1


def test_positions_outside_are_0_and_invalid_flow_is_skipped():
    prediction, truth = np.full((2, 4, 5), 0.5), np.zeros((2, 4, 5))
    flow = np.zeros((1, 4, 5, 2))
    flow[0, :, -1, 0] = 1  # the last column leaves the frame
    flow[0, 0] = np.nan
    np.testing.assert_allclose(metrics.messddt(prediction, truth, flow), [3 * 0.25, 0])


def test_single_frame_has_no_temporal_change():
    one = PREDICTION[:1], TRUTH[:1]
    assert metrics.dtssd(*one).tolist() == [0]
    assert metrics.dtssd(*one, convention="tcvom").tolist() == [0]
    assert metrics.messddt(*one, FLOW[:0]).tolist() == [0]
    assert metrics.ssda(*one) == pytest.approx([np.linalg.norm(one[0] - one[1])])


def test_invalid_input_is_an_error_that_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"truth has shape .* expected \[T, H, W\]"):
        metrics.ssda(PREDICTION[0], TRUTH[0])
    with pytest.raises(ValueError, match="prediction must lie"):
        metrics.dtssd(PREDICTION * 2, TRUTH)
    with pytest.raises(ValueError, match="pass no trimap, or convention='tcvom'"):
        metrics.dtssd(PREDICTION, TRUTH, TRIMAP)
    with pytest.raises(ValueError, match="did you mean 'tcvom'"):
        metrics.dtssd(PREDICTION, TRUTH, convention="tcvm")
    with pytest.raises(ValueError, match=r"flow has shape .* expected \[T - 1, H, W, 2\]"):
        metrics.messddt(PREDICTION, TRUTH, np.zeros(PREDICTION.shape))
