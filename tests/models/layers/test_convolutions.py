"""Convolutions against plain ones and their definition, forward and backward."""

import jax
import numpy as np
import pytest
from jax import lax

from matting_jax.image.geometry import enlarge_nearest, upsample
from matting_jax.models.layers.cells import CellConv, from_cells, to_cells
from matting_jax.models.layers.convolutions import (
    DIMENSIONS,
    Conv,
    UpsampledConv,
    convolve,
    pointwise,
)
from matting_jax.models.layers.dense import append_channels, convolve_dense, convolve_lax
from tests.models.layers.helpers import random, relative_error


@pytest.mark.parametrize("size", [3, 5])
def test_forms_of_the_upsampled_convolution_agree_with_gradients(size):
    """They also equal the convolution of the upsampled image, including its borders."""
    x, cotangent = random((2, 3, 4, 6), 0), random((2, 6, 8, 5), 1)
    variables = {"params": {"kernel": random((size, size, 6, 5), 2), "bias": random((5,), 3)}}
    plain = Conv(5, size)
    applications = [UpsampledConv(5, size, form=form).apply for form in ("cpu", "lax")]
    applications.append(lambda variables, x: plain.apply(variables, upsample(x)))
    results = []
    for apply in applications:
        y, gradient = jax.vjp(apply, variables, x)
        results.append((y, *jax.tree.leaves(gradient(cotangent))))
    for others in results[1:]:
        for ours, theirs in zip(results[0], others, strict=True):
            assert relative_error(ours, theirs) < 2e-6


def test_pointwise_equals_the_1x1_convolution():
    x, kernel = random((2, 6, 7, 5), 0), random((5, 4), 1)
    plain = lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), "VALID", dimension_numbers=DIMENSIONS
    )
    assert relative_error(pointwise(x, kernel), plain) < 2e-6


def test_strided_convolution_pads_all_sides_equally():
    """On even sides "SAME" would pad only the end, and all samples would be shifted."""
    x = random((1, 8, 8, 2), 0)
    conv = Conv(3, 3, stride=2)
    variables = {"params": {"kernel": random((3, 3, 2, 3), 1), "bias": random((3,), 2)}}
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel, bias = variables["params"].values()
    first = np.einsum("ijc,ijcd->d", padded[0, :3, :3], kernel) + bias
    last = np.einsum("ijc,ijcd->d", padded[0, 6:9, 6:9], kernel) + bias
    y = conv.apply(variables, x)
    assert y.shape == (1, 4, 4, 3)
    np.testing.assert_allclose(y[0, 0, 0], first, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[0, 3, 3], last, rtol=1e-5, atol=1e-5)


def test_dilated_convolution_equals_its_definition():
    x, kernel = random((1, 9, 8, 2), 0), random((3, 3, 2, 4), 1)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    expected = sum(
        padded[:, 2 * i : 2 * i + 9, 2 * j : 2 * j + 8] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    conv = Conv(4, 3, use_bias=False, dilation=2)
    np.testing.assert_allclose(conv.apply({"params": {"kernel": kernel}}, x), expected, atol=1e-5)


def test_same_padding_pads_only_the_end_of_even_sides():
    x, kernel = random((1, 8, 7, 2), 0), random((3, 3, 2, 4), 1)
    padded = np.pad(x, ((0, 0), (0, 1), (1, 1), (0, 0)))
    expected = sum(
        padded[:, i : i + 7 : 2, j : j + 7 : 2] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    conv = Conv(4, 3, 2, "SAME", use_bias=False)
    np.testing.assert_allclose(conv.apply({"params": {"kernel": kernel}}, x), expected, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 2])
def test_dilated_convolution_keeps_the_size_and_spreads_its_taps(dilation):
    impulse = np.zeros((1, 9, 9, 1), np.float32)
    impulse[0, 4, 4] = 1
    kernel = random((3, 3, 1, 1), 0)
    conv = Conv(1, 3, use_bias=False, dilation=dilation)
    y = conv.apply({"params": {"kernel": kernel}}, impulse)[0, ..., 0]
    taps = slice(4 - dilation, 5 + dilation, dilation)
    np.testing.assert_allclose(y[taps, taps], kernel[::-1, ::-1, 0, 0], atol=1e-6)
    assert np.count_nonzero(y) == 9


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "dilation"),
    [
        ((2, 7, 8, 5), (3, 3, 5, 4), 1, 0, 1),  # without padding
        ((2, 7, 8, 5), (3, 3, 5, 4), 2, 0, 1),
        ((2, 7, 9, 5), (3, 3, 5, 4), 2, 0, 1),
        ((2, 7, 9, 5), (3, 3, 5, 128), 1, 1, 1),  # one more row, for Eigen
        ((2, 7, 9, 5), (5, 5, 5, 128), 1, 2, 1),
        ((2, 7, 9, 5), (3, 3, 5, 128), 1, 6, 6),
        ((2, 7, 9, 5), (3, 3, 5, 128), 2, 1, 1),
        ((2, 7, 9, 9), (3, 3, 9, 16), 1, 1, 1),  # more channels
        ((2, 7, 9, 16), (3, 3, 16, 3), 2, 1, 1),
        ((2, 7, 9, 17), (3, 3, 17, 24), 1, 2, 2),
        ((2, 7, 9, 18), (3, 3, 18, 37), 1, 1, 1),
        ((2, 7, 9, 18), (3, 3, 18, 37), 1, 0, 1),
    ],
)
def test_dense_convolution_equals_one_operation(shape, kernel, stride, padding, dilation):
    """In each case in which it computes more than it must."""
    x, kernel, sides = random(shape, 0), random(kernel, 1), ((padding, padding),) * 2
    expected = convolve_lax(x, kernel, stride, sides, dilation)
    ours = convolve_dense(x, kernel, stride, sides, dilation)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "features", "fast"),
    [(35, 32, 36), (18, 24, 18), (18, 37, 20), (35, 64, 35), (16, 16, 20), (3, 8, 3), (17, 16, 20)],
)
def test_channels_are_appended_only_where_the_library_is_slow(channels, features, fast):
    x, kernel = random((1, 2, 2, channels), 0), random((3, 3, channels, features), 1)
    longer, larger = append_channels(x, kernel)
    assert longer.shape[-1] == larger.shape[2] == fast
    np.testing.assert_array_equal(longer[..., :channels], x)
    assert not np.any(longer[..., channels:])


def test_strided_1x1_convolution_reads_every_second_pixel_and_so_does_its_gradient():
    x, kernel = random((2, 5, 6, 3), 0), random((1, 1, 3, 4), 1)
    y, gradient = jax.vjp(lambda x: convolve(x, kernel, stride=2), x)
    np.testing.assert_allclose(y, x[:, ::2, ::2] @ kernel[0, 0], atol=1e-5)
    cotangent = random(y.shape, 2)
    expected = np.zeros_like(x)
    expected[:, ::2, ::2] = cotangent @ kernel[0, 0].T
    np.testing.assert_allclose(gradient(cotangent)[0], expected, atol=1e-5)


def test_convolution_of_cells_equals_that_of_pixels():
    """Channels that all pixels of a cell share are those of the image enlarged."""
    shared, own = random((2, 5, 6, 7), 0), random((2, 10, 12, 3), 1)
    params = {"kernel": random((3, 3, 10, 4), 2), "bias": random((4,), 3)}
    ours = from_cells(CellConv(4).apply({"params": params}, shared, to_cells(own)))
    pixels = np.concatenate([enlarge_nearest(shared, 2), own], axis=-1)
    expected = Conv(4, padding=0).apply({"params": params}, pixels)
    np.testing.assert_allclose(ours, expected, atol=2e-5)
