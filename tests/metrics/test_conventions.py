"""All conventions against the results of the published codes, and their errors."""

import json

import numpy as np
import pytest

from matting_jax import metrics
from tests.helpers import GOLDENS

ARRAYS = np.load(GOLDENS / "metrics_cases.npz")
EXPECTED = json.loads((GOLDENS / "metrics_expected.json").read_text())["cases"]
FOUR = ("sad", "mse", "grad", "conn")

every_case = pytest.mark.parametrize("case", EXPECTED)
every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def arrays(case, dtype=np.float32):
    """Returns prediction, truth and trimap of a case, in [0, 1]."""
    return [(ARRAYS[f"{case}_{kind}"] / 255).astype(dtype) for kind in ("pred", "gt", "trimap")]


def measured(names, *arguments, scale=1, **keywords):
    """Returns the metrics by name."""
    return {name: scale * getattr(metrics, name)(*arguments, **keywords) for name in names}


def assert_equal(ours, golden, rel=1e-6):
    """Compares by name; `null` in the golden stands for a value that is not finite."""
    ours = {name: value if np.isfinite(value) else np.nan for name, value in ours.items()}
    golden = {name: np.nan if value is None else value for name, value in golden.items()}
    assert ours == pytest.approx(golden, rel=rel, nan_ok=True)


@every_type
@every_case
def test_matlab_equals_the_benchmark(case, dtype):
    prediction, truth, trimap = arrays(case, dtype)
    filled = metrics.fill_known(prediction, trimap)
    expected = EXPECTED[case]["octave_f64sum"]
    for known, region, arguments, keywords in (
        ("raw", "trimap", (prediction, truth, trimap), {}),
        ("filled", "trimap", (prediction, truth, trimap), {"fill": True}),
        ("raw", "whole", (prediction, truth), {}),
        ("filled", "whole", (filled, truth), {}),
    ):
        ours = measured(("sad", "mse"), *arguments, **keywords)
        ours |= measured(("grad", "conn"), *arguments, scale=1000, **keywords)
        assert_equal(ours, expected[known][region])


@every_case
def test_bgm_equals_its_code(case):
    prediction, truth, trimap = arrays(case)
    for known in ("raw", "filled"):
        options = {"convention": "bgm", "fill": known == "filled"}
        ours = measured(FOUR, prediction, truth, trimap, **options)
        # The original's last sum is in single precision.
        assert_equal(ours, EXPECTED[case]["octave_bgm"][known]["trimap"], rel=3e-6)
    ours = measured(FOUR, prediction, truth, convention="bgm")
    assert_equal(ours, EXPECTED[case]["octave_bgm"]["raw"]["whole"], rel=3e-6)


@every_case
def test_paddle_equals_its_code(case):
    prediction, truth, trimap = arrays(case)
    expected = EXPECTED[case]["paddle"]
    ours = measured(FOUR, prediction, truth, trimap, convention="paddle")
    assert_equal(ours, expected["trimap"])
    ours = measured(FOUR, prediction, truth, convention="paddle")
    assert_equal(ours, expected["whole"])


@every_type
@every_case
def test_mmagic_equals_its_code(case, dtype):
    ours = measured(FOUR, *arrays(case, dtype), convention="mmagic", fill=True)
    assert_equal(ours, EXPECTED[case]["mmagic"]["filled"])


@every_type
@every_case
def test_gfm_equals_its_code(case, dtype):
    prediction, truth, trimap = arrays(case, dtype)
    for known, alpha in (("raw", prediction), ("filled", metrics.fill_known(prediction, trimap))):
        ours = measured((*FOUR, "mad"), alpha, truth, convention="gfm")
        in_trimap = measured(("sad", "mse", "mad"), alpha, truth, trimap, convention="gfm")
        ours |= {f"{name}_trimap": value for name, value in in_trimap.items()}
        split = metrics.sad_split(alpha, truth, trimap)
        ours |= {"sad_fg": split["foreground"], "sad_bg": split["background"]}
        assert_equal(ours, EXPECTED[case]["gfm"][known])


@every_case
def test_rvm_equals_its_code(case):
    prediction, truth, _ = arrays(case)
    ours = measured(("mse", "mad", "grad", "conn"), prediction, truth, convention="rvm")
    # The original filters in single precision.
    assert_equal(ours, EXPECTED[case]["rvm"]["raw"], rel=2e-6)


def test_conventions_that_round_give_equal_results_after_rounding():
    prediction, truth, trimap = arrays("case1")
    unrounded = np.clip(prediction + np.float32(0.4 / 255), 0, 1)
    for name in FOUR:
        metric = getattr(metrics, name)
        for convention in ("paddle", "mmagic"):
            options = {"convention": convention, "fill": True}
            assert metric(unrounded, truth, trimap, **options) == metric(
                prediction, truth, trimap, **options
            )
        assert metric(unrounded, truth, trimap) != metric(prediction, truth, trimap)


def test_filling_sets_known_pixels_only():
    prediction, _, trimap = arrays("case1")
    filled = metrics.fill_known(prediction, trimap.astype(np.float64))
    assert filled.dtype == prediction.dtype
    np.testing.assert_array_equal(filled[trimap == 0], 0)
    np.testing.assert_array_equal(filled[trimap == 1], 1)
    unknown = (trimap > 0) & (trimap < 1)
    np.testing.assert_array_equal(filled[unknown], prediction[unknown])


@pytest.mark.parametrize("name", [*FOUR, "mad"])
def test_half_and_128_of_255_are_the_same_trimap(name):
    prediction, truth, trimap = arrays("case0")
    metric = getattr(metrics, name)
    half = np.where((trimap > 0) & (trimap < 1), 0.5, trimap)
    assert metric(prediction, truth, half) == metric(prediction, truth, trimap)


@pytest.mark.parametrize("name", [*FOUR, "mad"])
def test_without_unknown_pixels_sums_are_0_and_means_undefined(name):
    prediction, truth, trimap = arrays("edge_nounknown")
    metric = getattr(metrics, name)
    assert np.isnan(metric(prediction, truth, trimap)) == (name in ("mse", "mad"))
    if name in FOUR:
        assert metric(prediction, truth, trimap, convention="paddle") == 0
    else:
        # The truth differs in known pixels, and the number of unknown pixels is 0.
        wrong = np.where(trimap == 1, 0.5, truth)
        assert metric(prediction, wrong, trimap, convention="gfm") == np.inf


@pytest.mark.parametrize(
    "convention, name, others",
    [
        ("rvm", "sad", "matlab, bgm, paddle, mmagic, gfm"),
        ("bgm", "mad", "matlab, gfm, rvm"),
        ("paddle", "mad", "matlab, gfm, rvm"),
        ("mmagic", "mad", "matlab, gfm, rvm"),
    ],
)
def test_undefined_metric_is_an_error_that_lists_the_conventions_with_it(convention, name, others):
    prediction, truth, _ = arrays("edge_tie")
    with pytest.raises(ValueError, match=f"'{convention}' has no {name.upper()}; {others} have"):
        getattr(metrics, name)(prediction, truth, convention=convention)


@pytest.mark.parametrize("name", [*FOUR, "mad"])
@pytest.mark.parametrize(
    "change, keywords, message",
    [
        (
            {"prediction": np.full((4, 5), np.nan)},
            {},
            "prediction is NaN or infinite in 20 of 20 values",
        ),
        ({"prediction": np.full((4, 5), 1.1)}, {}, "prediction must lie"),
        ({"truth": np.full((4, 5), 255, np.uint8)}, {}, "truth must be float .* by 255"),
        ({"truth": np.full((4, 5), 1, np.uint8)}, {}, "truth must be float .* by 255"),
        ({"prediction": np.zeros((5, 4))}, {}, r"prediction has shape \(5, 4\), expected \[H, W\]"),
        ({"truth": np.zeros((4, 5, 1))}, {}, r"truth has shape \(4, 5, 1\), expected \[H, W\]$"),
        ({"truth": np.zeros((0, 5))}, {}, "truth has no pixels"),
        ({"trimap": np.full((4, 1), 0.5)}, {}, r"trimap has shape \(4, 1\)"),
        (
            {"trimap": np.full((4, 5), 128, np.uint8)},
            {},
            "trimap holds 128, expected only 0, 0.5 .* and 1: divide uint8 by 255",
        ),
        ({"trimap": np.full((4, 5), 0.25)}, {}, "trimap holds 0.25"),
        ({"trimap": np.full((4, 5), np.nan)}, {}, "trimap holds nan"),
        ({"trimap": None}, {"fill": True}, "needs a trimap"),
        ({}, {"convention": "matlb"}, "did you mean 'matlab'"),
    ],
)
def test_invalid_input_is_an_error_that_says_what_is_wrong(name, change, keywords, message):
    half = np.full((4, 5), 0.5)
    given = {"prediction": half, "truth": half, "trimap": half} | change
    with pytest.raises(ValueError, match=message):
        getattr(metrics, name)(**given, **keywords)


def test_conventions_refuse_arguments_that_their_codes_do_not_take():
    prediction, truth, trimap = arrays("case1")
    for name in ("mse", "mad", "grad", "conn"):
        with pytest.raises(ValueError, match="whole image: pass no trimap"):
            getattr(metrics, name)(prediction, truth, trimap, convention="rvm")
    for name in ("grad", "conn"):
        with pytest.raises(ValueError, match="whole image: pass no trimap"):
            getattr(metrics, name)(prediction, truth, trimap, convention="gfm")
    for name in FOUR:
        metric = getattr(metrics, name)
        with pytest.raises(ValueError, match="pass fill=True"):
            metric(prediction, truth, trimap, convention="mmagic")
        filled = metrics.fill_known(prediction, trimap)
        assert metric(filled, truth, trimap, convention="mmagic") == metric(
            prediction, truth, trimap, convention="mmagic", fill=True
        )
