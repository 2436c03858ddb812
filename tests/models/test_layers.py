"""The fast forms of layers are equal to the plain ones, forward and backward."""
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


@pytest.mark.parametrize(
    ("stride", "dilation"), [(1, 1), (2, 1), (1, 3), (1, 6), (1, 9), (2, 3)]
)
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
