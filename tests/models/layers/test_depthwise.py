"""The forms of the depth-wise convolution agree, forward and backward."""

import jax
import numpy as np
import pytest

from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from tests.models.layers.helpers import random, relative_error


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3), (1, 6), (1, 9), (2, 3)])
@pytest.mark.parametrize("size", [(12, 16), (9, 13), (1, 5)])
def test_depthwise_forms_agree_with_gradients(stride, dilation, size):
    x = random((2, *size, 5), 0)
    cotangent = random((2, -(-size[0] // stride), -(-size[1] // stride), 5), 1)
    results = {}
    for form in ("cpu", "lax"):
        conv = DepthwiseConv(stride, form=form, dilation=dilation)
        variables = {"params": {"kernel": random((3, 3, 1, 5), 2)}}
        y, gradient = jax.vjp(conv.apply, variables, x)
        results[form] = (y, *jax.tree.leaves(gradient(cotangent)))
    for shift, plain in zip(results["cpu"], results["lax"], strict=True):
        assert shift.shape == plain.shape and relative_error(shift, plain) < 2e-6


@pytest.mark.parametrize("form", ["cpu", "lax"])
def test_consecutive_features_read_the_same_channel(form):
    """Feature o reads channel o / multiplier, as in the grouped convolutions of PyTorch."""
    x, kernel = random((1, 6, 6, 2), 0), random((3, 3, 1, 6), 1)
    conv = DepthwiseConv(2, form=form, multiplier=3)
    y = conv.apply({"params": {"kernel": kernel}}, x)
    for feature in range(6):
        channel = feature // 3
        single = Conv(1, 3, 2, use_bias=False)
        weights = {"kernel": kernel[..., feature : feature + 1]}
        expected = single.apply({"params": weights}, x[..., channel : channel + 1])
        np.testing.assert_allclose(y[..., feature : feature + 1], expected, atol=1e-5)


def test_dilated_taps_are_the_rate_apart():
    x = random((1, 9, 8, 2), 0)
    kernel = random((3, 3, 1, 2), 1)
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = sum(
        padded[:, 3 * i : 3 * i + 9, 3 * j : 3 * j + 8] * kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    y = DepthwiseConv(dilation=3).apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
