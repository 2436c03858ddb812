"""The metrics on the device against those on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_jax import metrics
from matting_jax.metrics import device

NAMES = ("sad", "mse", "mad", "grad")


@jax.jit
def all_of(prediction, truth, trimap):
    inside = {name: getattr(device, name)(prediction, truth, trimap) for name in NAMES}
    return inside, {name: getattr(device, name)(prediction, truth) for name in NAMES}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16))
def test_batch_equals_the_host_image_by_image(seed):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, 4, 17, 23, 1), np.float32)
    prediction[0] = rng.choice([0, 0.4, 1])
    prediction[1] = truth[1]
    trimap = rng.choice(np.float32([0, 0.5, 128 / 255, 1]), truth.shape)
    trimap[2] = rng.choice([0, 1])
    inside, whole = all_of(prediction, truth, trimap)
    for name in NAMES:
        metric = getattr(metrics, name)
        images = list(zip(prediction[..., 0], truth[..., 0], trimap[..., 0], strict=True))
        np.testing.assert_allclose(inside[name], [metric(*x) for x in images], 2e-5, 1e-7)
        np.testing.assert_allclose(whole[name], [metric(*x[:2]) for x in images], 2e-5, 1e-7)


def test_half_precision_is_computed_in_single():
    prediction, truth = np.random.default_rng(0).random((2, 1, 64, 64, 1))
    prediction, truth = jnp.bfloat16(prediction), jnp.float32(truth)
    for name in NAMES:
        ours = getattr(device, name)(prediction, truth)
        assert ours.dtype == jnp.float32
        expected = getattr(metrics, name)(np.float32(prediction)[0, ..., 0], truth[0, ..., 0])
        np.testing.assert_allclose(ours, [expected], rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_invalid_input_is_an_error_that_says_what_is_wrong(name):
    metric, x = getattr(device, name), jnp.zeros((2, 4, 5, 1))
    with pytest.raises(ValueError, match=r"prediction has shape \(2, 4, 5\), expected \[B, H, W"):
        metric(x[..., 0], x)
    with pytest.raises(ValueError, match=r"expected \[B, H, W, 1\]"):
        metric(x[0], x[0])
    with pytest.raises(ValueError, match=r"expected \[B, H, W, 1\]"):
        metric(jnp.zeros((2, 4, 5, 3)), jnp.zeros((2, 4, 5, 3)))
    with pytest.raises(ValueError, match="trimap has shape"):
        metric(x, x, x[:1])
    with pytest.raises(ValueError, match="truth holds uint8, expected floats"):
        metric(x, x.astype(jnp.uint8))
