"""The fast forms of layers are equal to the plain ones, forward and backward."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from matting_jax.image.geometry import upsample
from matting_jax.models import layers


def random(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative(a, b):
    return float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3), (1, 6), (1, 9), (2, 3)])
@pytest.mark.parametrize("size", [(12, 16), (9, 13), (1, 5)])
def test_depthwise_forms_agree_with_gradients(stride, dilation, size):
    x = random((2, *size, 5), 0)
    cotangent = random((2, -(-size[0] // stride), -(-size[1] // stride), 5), 1)
    results = {}
    for form in ("cpu", "lax"):
        conv = layers.DepthwiseConv(stride, form=form, dilation=dilation)
        variables = {"params": {"kernel": random((3, 3, 1, 5), 2)}}
        y, gradient = jax.vjp(conv.apply, variables, x)
        results[form] = (y, *jax.tree.leaves(gradient(cotangent)))
    for shift, plain in zip(results["cpu"], results["lax"], strict=True):
        assert shift.shape == plain.shape and relative(shift, plain) < 2e-6


@pytest.mark.parametrize("form", ["cpu", "lax"])
def test_neighbouring_features_read_one_channel(form):
    """Feature o reads channel o / multiplier, as in the grouped convolutions of PyTorch."""
    x, kernel = random((1, 6, 6, 2), 0), random((3, 3, 1, 6), 1)
    conv = layers.DepthwiseConv(2, form=form, multiplier=3)
    y = conv.apply({"params": {"kernel": kernel}}, x)
    for feature in range(6):
        channel = feature // 3
        alone = layers.Conv(1, 3, 2, use_bias=False)
        weights = {"kernel": kernel[..., feature : feature + 1]}
        expected = alone.apply({"params": weights}, x[..., channel : channel + 1])
        np.testing.assert_allclose(y[..., feature : feature + 1], expected, atol=1e-5)


def test_atrous_taps_are_the_rate_apart():
    x = random((1, 9, 8, 2), 0)
    kernel = random((3, 3, 1, 2), 1)
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = sum(
        padded[:, 3 * i : 3 * i + 9, 3 * j : 3 * j + 8] * kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    y = layers.DepthwiseConv(dilation=3).apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("size", [3, 5])
def test_forms_of_the_upsampled_convolution_agree_with_gradients(size):
    """And equal the convolution of the enlarged image, at its borders too."""
    x, cotangent = random((2, 3, 4, 6), 0), random((2, 6, 8, 5), 1)
    variables = {"params": {"kernel": random((size, size, 6, 5), 2), "bias": random((5,), 3)}}
    plain = layers.Conv(5, size)
    applications = [layers.UpsampledConv(5, size, form=form).apply for form in ("cpu", "lax")]
    applications.append(lambda variables, x: plain.apply(variables, upsample(x)))
    results = []
    for apply in applications:
        y, gradient = jax.vjp(apply, variables, x)
        results.append((y, *jax.tree.leaves(gradient(cotangent))))
    for others in results[1:]:
        for ours, theirs in zip(results[0], others, strict=True):
            assert relative(ours, theirs) < 2e-6


def test_pointwise_product_is_the_convolution():
    x, kernel = random((2, 6, 7, 5), 0), random((5, 4), 1)
    plain = lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), "VALID", dimension_numbers=layers.DIMENSIONS
    )
    assert relative(layers.pointwise(x, kernel), plain) < 2e-6


def test_strided_convolution_pads_all_sides_alike():
    """On an even side `SAME` would pad the end alone, and the first sample would be another."""
    x = random((1, 8, 8, 2), 0)
    conv = layers.Conv(3, 3, stride=2)
    variables = {"params": {"kernel": random((3, 3, 2, 3), 1), "bias": random((3,), 2)}}
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel, bias = variables["params"].values()
    first = np.einsum("ijc,ijcd->d", padded[0, :3, :3], kernel) + bias
    last = np.einsum("ijc,ijcd->d", padded[0, 6:9, 6:9], kernel) + bias
    y = conv.apply(variables, x)
    assert y.shape == (1, 4, 4, 3)
    np.testing.assert_allclose(y[0, 0, 0], first, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[0, 3, 3], last, rtol=1e-5, atol=1e-5)


def test_batch_norm_equals_flax_but_for_the_unbiased_variance():
    x = 3 + 2 * random((2, 5, 7, 4), 0)
    cotangent = random(x.shape, 1)
    variables = {
        "params": {"scale": random((4,), 2), "bias": random((4,), 3)},
        "batch_stats": {"mean": random((4,), 4), "var": 1 + random((4,), 5) ** 2},
    }
    results = {}
    for name, norm in (
        ("ours", layers.BatchNorm(use_running_average=False)),
        ("flax", nn.BatchNorm(False, momentum=0.9, epsilon=1e-5, use_fast_variance=False)),
    ):

        def apply(params, x, norm=norm):
            variables_ = {"params": params, "batch_stats": variables["batch_stats"]}
            return norm.apply(variables_, x, mutable=["batch_stats"])

        y, gradient, updated = jax.vjp(apply, variables["params"], x, has_aux=True)
        results[name] = (y, *jax.tree.leaves(gradient(cotangent))), updated["batch_stats"]
    for ours, flax in zip(results["ours"][0], results["flax"][0], strict=True):
        assert relative(ours, flax) < 5e-6
    ours, flax = results["ours"][1], results["flax"][1]
    np.testing.assert_allclose(ours["mean"], flax["mean"], rtol=1e-5)
    old, n = variables["batch_stats"]["var"], x.size // 4
    batch = (flax["var"] - 0.9 * old) / 0.1
    np.testing.assert_allclose(ours["var"], 0.9 * old + 0.1 * batch * n / (n - 1), rtol=1e-5)
    biased = layers.BatchNorm(use_running_average=False, unbiased=False)
    _, updated = biased.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(updated["batch_stats"]["var"], flax["var"], rtol=1e-5)


def test_batch_variance_survives_a_mean_far_above_the_deviation():
    """Sums about zero would lose it: the squares of 300 have no room for a deviation of 0.1."""
    x = (300 + 0.1 * random((4, 16, 16, 2), 0)).astype(np.float32)
    norm = layers.BatchNorm(use_running_average=False)
    params = {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}
    stats = {"mean": np.full(2, 299.9, np.float32), "var": np.ones(2, np.float32)}
    y, _ = norm.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-3)


def test_frozen_batch_norm_uses_running_statistics_and_trains_its_scale():
    x = random((2, 4, 4, 3), 0)
    norm = layers.BatchNorm(use_running_average=True)
    stats = {"mean": random((3,), 1), "var": 1 + random((3,), 2) ** 2}
    params = {"scale": random((3,), 3), "bias": random((3,), 4)}
    y, updated = norm.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
    expected = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    for name in stats:
        np.testing.assert_array_equal(updated["batch_stats"][name], stats[name])

    def total(params):
        return norm.apply({"params": params, "batch_stats": stats}, x).sum()

    assert all(np.all(np.abs(g) > 0) for g in jax.tree.leaves(jax.grad(total)(params)))


def test_instance_norm_knows_its_own_image_alone():
    x = random((2, 6, 5, 3), 0)
    y = layers.instance_norm(jnp.asarray(x))
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var((1, 2)), 1, rtol=1e-4)
    np.testing.assert_array_equal(layers.instance_norm(jnp.asarray(x[:1])), y[:1])


def test_relu6_has_no_slope_at_its_kinks():
    x = jnp.array([-1.0, 0.0, 3.0, 6.0, 7.0])
    np.testing.assert_array_equal(layers.relu6(x), [0, 0, 3, 6, 6])
    np.testing.assert_array_equal(jax.vmap(jax.grad(layers.relu6))(x), [0, 0, 1, 0, 0])


def test_dilated_convolution_keeps_the_size_and_its_taps_are_apart():
    x, kernel = random((1, 9, 8, 2), 0), random((3, 3, 2, 4), 1)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    expected = sum(
        padded[:, 2 * i : 2 * i + 9, 2 * j : 2 * j + 8] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    conv = layers.Conv(4, 3, use_bias=False, dilation=2)
    np.testing.assert_allclose(conv.apply({"params": {"kernel": kernel}}, x), expected, atol=1e-5)


def test_convolution_that_pads_as_tensorflow_pads_the_end_of_an_even_side_alone():
    x, kernel = random((1, 8, 7, 2), 0), random((3, 3, 2, 4), 1)
    padded = np.pad(x, ((0, 0), (0, 1), (1, 1), (0, 0)))
    expected = sum(
        padded[:, i : i + 7 : 2, j : j + 7 : 2] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    conv = layers.Conv(4, 3, 2, "SAME", use_bias=False)
    np.testing.assert_allclose(conv.apply({"params": {"kernel": kernel}}, x), expected, atol=1e-5)


def residual_chain(blocks, form):
    """Operations of a chain of residual blocks, as XLA compiles it, a block's share of them."""

    def chain(x, kernels):
        for kernel in kernels:
            x = layers.computed_once(nn.relu(x + 0.1 * layers.convolve(x, kernel)), form)
        return x

    arguments = jnp.zeros((1, 16, 16, 4)), jnp.zeros((blocks, 3, 3, 4, 4))
    return jax.jit(chain).lower(*arguments).compile().cost_analysis()["flops"] / blocks


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="it is XLA on CPU that does so")
def test_chain_of_residual_blocks_costs_no_more_a_block_where_it_is_longer():
    assert residual_chain(16, "cpu") == pytest.approx(residual_chain(4, "cpu"), rel=0.02)
    assert residual_chain(16, "lax") > 1.1 * residual_chain(4, "lax")


def test_what_is_computed_once_is_the_same_with_its_gradient():
    x, cotangent = random((2, 3, 4, 5), 0), random((2, 3, 4, 5), 1)
    for form in ("cpu", "lax"):
        y, gradient = jax.vjp(lambda x, form=form: layers.computed_once(x, form), x)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(gradient(cotangent)[0], cotangent)
    x[0, 0, 0, 0] = np.nan
    assert np.all(np.isnan(layers.computed_once(x, "cpu")))


def test_max_pooling_forms_agree_with_gradients():
    x, cotangent = random((2, 8, 12, 5), 0), random((2, 4, 6, 5), 1)
    results = []
    for form in ("cpu", "lax"):
        y, gradient = jax.vjp(lambda x, form=form: layers.max_pool3(x, form), x)
        results.append((y, *gradient(cotangent)))
    for ours, plain in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-6)


@pytest.mark.parametrize("dilation", [1, 2])
def test_dilated_convolution_keeps_the_size_and_spreads_its_taps(dilation):
    impulse = np.zeros((1, 9, 9, 1), np.float32)
    impulse[0, 4, 4] = 1
    kernel = random((3, 3, 1, 1), 0)
    conv = layers.Conv(1, 3, use_bias=False, dilation=dilation)
    y = conv.apply({"params": {"kernel": kernel}}, impulse)[0, ..., 0]
    places = slice(4 - dilation, 5 + dilation, dilation)
    np.testing.assert_allclose(y[places, places], kernel[::-1, ::-1, 0, 0], atol=1e-6)
    assert np.count_nonzero(y) == 9


@pytest.mark.parametrize("axis_name", [None, "batch"])
def test_statistics_of_the_valid_are_those_of_the_valid_alone(axis_name):
    """With gradients, and over devices; what is not valid only passes through."""
    x, cotangent = random((4, 3, 2, 5), 0) + 7, random((4, 3, 2, 5), 1)
    valid = np.array([1, 0, 1, 1], np.float32)
    params = {"scale": random((5,), 2), "bias": random((5,), 3)}
    stats = {"mean": random((5,), 4), "var": np.square(random((5,), 5))}

    def pull_back(x, cotangent, *valid, axis_name=None):
        def apply(params, x):
            norm = layers.BatchNorm(False, axis_name)
            variables = {"params": params, "batch_stats": stats}
            return norm.apply(variables, x, *valid, mutable=["batch_stats"])

        y, gradient, updated = jax.vjp(apply, params, x, has_aux=True)
        return y, *gradient(cotangent), updated

    counted = valid == 1
    expected = pull_back(x[counted], cotangent[counted])
    cotangent[~counted] = 0
    if axis_name is None:
        y, dparams, dx, updated = pull_back(x, cotangent, valid)
    else:
        halves = [a.reshape(2, 2, *a.shape[1:]) for a in (x, cotangent, valid)]
        apart = jax.vmap(partial(pull_back, axis_name=axis_name), axis_name=axis_name)(*halves)
        y, dx = (a.reshape(x.shape) for a in (apart[0], apart[2]))
        # A replicated parameter's gradient is the sum of the devices'.
        dparams = jax.tree.map(lambda a: a.sum(0), apart[1])
        updated = jax.tree.map(lambda a: a[0], apart[3])
    np.testing.assert_array_equal(dx[~counted], 0)
    for ours, theirs in zip(
        jax.tree.leaves((y[counted], dparams, dx[counted], updated)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def test_nothing_valid_changes_no_statistics():
    variables = layers.BatchNorm(True).init(jax.random.key(0), jnp.zeros((1, 1, 1, 5)))
    norm, x = layers.BatchNorm(False), random((2, 3, 3, 5), 0)

    def total(x):
        y, updated = norm.apply(variables, x, np.zeros(2, np.float32), mutable=["batch_stats"])
        return jnp.sum(0 * y), updated

    gradient, updated = jax.grad(total, has_aux=True)(x)
    np.testing.assert_array_equal(gradient, 0)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (5, 8)])
def test_forms_of_the_largest_of_nine_agree_with_gradients(size):
    x = random((2, *size, 3), 0)
    cotangent = random((2, -(-size[0] // 2), -(-size[1] // 2), 3), 1)
    results = []
    for form in ("cpu", "lax"):
        y, gradient = jax.vjp(partial(layers.max_pool3, form=form), x)
        results.append((y, *gradient(cotangent)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
def test_products_first_are_the_same_convolution(size):
    x = np.random.default_rng(0).random((layers.AT_ONCE + 5, 8, 7, 6)).astype(np.float32)
    kernel = np.random.default_rng(1).standard_normal((size, size, 6, 4)).astype(np.float32)
    expected = layers.convolve(x, kernel, padding=0)
    np.testing.assert_allclose(layers.convolve_products_first(x, kernel), expected, atol=2e-5)
