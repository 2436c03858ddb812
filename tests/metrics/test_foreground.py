"""Metrics of foreground colours against the published codes and their definitions."""

import json

import numpy as np
import pytest

from matting_jax import metrics
from tests.helpers import GOLDENS

ARRAYS = np.load(GOLDENS / "metrics_cases.npz")

EXPECTED = json.loads((GOLDENS / "metrics_expected.json").read_text())["fgr"]
PREDICTION, TRUTH, ALPHA = (ARRAYS[f"fgr_{kind}"] / 255 for kind in ("pred", "gt", "alpha"))
ARGUMENTS = PREDICTION, TRUTH, ALPHA


def test_rvm_equals_its_code():
    mse = metrics.foreground_mse(*ARGUMENTS, convention="rvm")
    assert mse == pytest.approx(EXPECTED["rvm"]["mse"], rel=1e-6)
    assert metrics.foreground_mad(*ARGUMENTS) == pytest.approx(EXPECTED["rvm"]["mad"], rel=1e-6)


def test_bgm_equals_its_code():
    expected = pytest.approx(EXPECTED["octave_bgm"]["fg_mse"], rel=1e-6)
    assert metrics.foreground_mse(*ARGUMENTS) == expected
    assert metrics.foreground_mse(*ARGUMENTS, np.full(ALPHA.shape, 128 / 255)) == expected


def test_trimap_and_alpha_select_the_pixels():
    trimap = np.zeros(ALPHA.shape)
    trimap[20:40, 30:60] = 0.5
    counted = (trimap == 0.5) & (ALPHA > 0)
    assert 0 < counted.sum() < 600
    difference = np.abs(PREDICTION - TRUTH)[counted]
    sad = metrics.foreground_sad(*ARGUMENTS, trimap)
    assert sad == pytest.approx(difference.mean(-1).sum() / 1000)
    mse = metrics.foreground_mse(*ARGUMENTS, trimap)
    assert mse == pytest.approx((difference**2).mean(-1).sum() / 600)


def test_metrics_without_pixels_are_0_or_nan():
    nowhere = np.zeros_like(ALPHA)
    assert metrics.foreground_sad(PREDICTION, TRUTH, nowhere) == 0
    assert metrics.foreground_mse(PREDICTION, TRUTH, nowhere) == 0
    assert np.isnan(metrics.foreground_mse(*ARGUMENTS, nowhere))
    assert np.isnan(metrics.foreground_mse(PREDICTION, TRUTH, nowhere, convention="rvm"))
    assert np.isnan(metrics.foreground_mad(PREDICTION, TRUTH, nowhere))


def test_invalid_input_is_an_error_that_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"prediction has shape .* expected \[H, W, 3\]"):
        metrics.foreground_mse(PREDICTION[..., 0], TRUTH, ALPHA)
    with pytest.raises(ValueError, match=r"alpha has shape .* expected \[H, W\]"):
        metrics.foreground_sad(PREDICTION, TRUTH, ALPHA[..., None])
    with pytest.raises(ValueError, match="truth must lie"):
        metrics.foreground_mad(PREDICTION, 255 * TRUTH, ALPHA)
    with pytest.raises(ValueError, match="pass no trimap"):
        metrics.foreground_mse(*ARGUMENTS, np.zeros_like(ALPHA), convention="rvm")
    with pytest.raises(ValueError, match="did you mean 'bgm'"):
        metrics.foreground_mse(*ARGUMENTS, convention="bg")
