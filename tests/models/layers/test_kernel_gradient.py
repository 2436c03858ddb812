"""The dense convolution of the CPU form against XLA's own gradients."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from matting_jax.models.layers import kernel_gradient
from matting_jax.models.layers.dense import convolve_lax
from matting_jax.models.layers.kernel_gradient import convolve_cpu
from matting_jax.parallel import KEEP_BARRIERS
from tests.models.layers.helpers import random, relative_error

SAME, LATE = ((1, 1), (1, 1)), ((0, 1), (0, 1))


def gradients(function, x, kernel, cotangent, *options):
    return jax.vjp(lambda x, kernel: function(x, kernel, *options), x, kernel)[1](cotangent)


@pytest.mark.parametrize(
    ("positions", "features"),
    [(16, 4), (1000, 4), (16, 2)],
    ids=["loop", "one product", "fewer features"],
)
@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation"),
    [
        (3, 1, SAME, 1),
        (2, 1, SAME, 1),
        (3, 1, ((2, 2), (2, 2)), 2),
        (3, 1, ((0, 0), (0, 0)), 1),
        (3, 1, ((0, 2), (1, 0)), 1),
        (3, 2, LATE, 1),
        (3, 2, ((0, 0), (0, 0)), 1),
        (7, 2, ((3, 3), (3, 3)), 1),
    ],
)
def test_gradients_equal_those_of_xla(
    monkeypatch, positions, features, size, stride, padding, dilation
):
    monkeypatch.setattr(kernel_gradient, "POSITIONS", positions)
    x, kernel = random((2, 9, 8, 3), 0), random((size, size, 3, features), 1)
    options = stride, padding, dilation
    y = convolve_lax(x, kernel, *options)
    inputs = x, kernel, random(y.shape, 2), *options
    for ours, xla in zip(
        gradients(convolve_cpu, *inputs), gradients(convolve_lax, *inputs), strict=True
    ):
        assert relative_error(ours, xla) < 2e-6


@pytest.mark.parametrize(
    ("size", "padding", "dilation"),
    [(3, SAME, 1), (2, LATE, 1), (3, ((2, 2), (2, 2)), 2), (3, ((0, 2), (1, 0)), 1)],
)
def test_input_gradient_of_fewer_positions_than_features_equals_xla(size, padding, dilation):
    """The products of all taps are then smaller than the kernel, which is not transposed."""
    x, kernel = random((2, 4, 5, 3), 0), random((size, size, 3, 48), 1)
    options = 1, padding, dilation
    g = random(convolve_lax(x, kernel, *options).shape, 2)
    assert g.size // g.shape[-1] < g.shape[-1]
    (ours, _), (xla, _) = (
        gradients(form, x, kernel, g, *options) for form in (convolve_cpu, convolve_lax)
    )
    assert relative_error(ours, xla) < 2e-6


def test_sums_of_bfloat16_are_float32():
    """Summed in bfloat16, 4096 ones would stop at 256."""
    x, kernel = (jnp.ones(shape, jnp.bfloat16) for shape in ((1, 64, 64, 1), (1, 1, 1, 1)))
    _, gradient = gradients(convolve_cpu, x, kernel, jnp.ones_like(x), 1, ((0, 0), (0, 0)), 1)
    assert gradient.dtype == jnp.bfloat16
    assert gradient[0, 0, 0, 0] == 4096


@pytest.mark.parametrize(
    ("features", "stride", "padding"), [(8, 1, SAME), (2, 1, SAME), (8, 2, LATE)]
)
def test_kernel_gradients_of_float64_equal_those_of_xla(features, stride, padding):
    with jax.enable_x64(True):
        x, kernel = (
            random(shape, 0).astype(jnp.float64) for shape in ((1, 8, 8, 4), (3, 3, 4, features))
        )
        g = convolve_lax(x, kernel, stride, padding, 1)
        (_, ours), (_, xla) = (
            gradients(form, x, kernel, g, stride, padding, 1)
            for form in (convolve_cpu, convolve_lax)
        )
        assert ours.dtype == jnp.float64
        assert relative_error(ours, xla) < 1e-14


@pytest.mark.parametrize(
    ("features", "stride", "padding"),
    [(16, 1, SAME), (4, 1, SAME), (16, 2, LATE)],
    ids=["rows", "readers", "stride"],
)
def test_no_tap_is_a_constant_of_the_program(features, stride, padding):
    """XLA would compile a loop for each tap, where one can read the pixels under all of them."""
    x, g = (jnp.zeros((1, 12 // step, 12 // step, n)) for step, n in ((1, 8), (stride, features)))
    gradient = partial(kernel_gradient.kernel_gradient, dilation=1)
    program = jax.jit(gradient, static_argnums=(2, 3, 4), compiler_options=KEEP_BARRIERS)
    text = program.lower(x, g, 3, stride, padding).compile().as_text()
    starts = re.findall(r"\[(\d+):", " ".join(re.findall(r"slice=\{.*?\}", text)))
    assert "dynamic-slice" in text
    assert set(starts) == {"0"}
