"""Layers that every network shares, in forms that are exact and fast.

On CPU the grouped convolution of XLA is ten to twenty times too slow, so it has a second form here,
equal to rounding; so has the convolution of an enlarged image. `form` chooses it: "cpu", "lax" (as
they are written, for accelerators and export) or "auto", which asks the platform. 1x1 convolutions
are matrix products everywhere.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

from matting_jax.choices import one_of
from matting_jax.image.geometry import upsample

Array = jax.Array
Dtype = Any
Init = Callable[..., Array]
DIMENSIONS = ("NHWC", "HWIO", "NHWC")
AT_ONCE = 256

he_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")
# Flax's own cuts the tails off.
xavier_normal = nn.initializers.variance_scaling(1.0, "fan_avg", "normal")
he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
he_normal_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def torch_uniform(fan_in: int) -> Init:
    """U(-b, b), b = 1 / sqrt(fan_in): PyTorch's default for kernels and biases alike."""
    bound = fan_in**-0.5

    def draw(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def is_cpu_form(form: str) -> bool:
    """Whether `form` asks for the forms that are fast on CPU; ValueError for an unknown one."""
    one_of(form, ("auto", "cpu", "lax"), "form")
    return form == "cpu" or form == "auto" and jax.default_backend() == "cpu"


def probability(logits: Array) -> Array:
    """Sigmoid in at least float32: near 1 bfloat16 has steps of 1/256."""
    return nn.sigmoid(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6); its derivative is 0 at 0 and at 6, as in PyTorch."""
    return lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), 6, x.dtype))


class Conv(nn.Module):
    """Convolution with the same padding on all four sides, as PyTorch pads.

    x [B, H, W, C] -> [B, H', W', features]; `padding` in pixels, None: as many as keep the size at
    stride 1, "SAME": as TensorFlow pads, which differs at stride 2. Taps are `dilation` apart.
    `products_first` computes it as `convolve_products_first` does, which is for stride and dilation
    1 and no padding alone.
    Parameters `kernel` [k, k, C, features] and `bias` [features].
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int | str | None = None
    use_bias: bool = True
    dtype: Dtype = None
    kernel_init: Init = he_uniform
    dilation: int = 1
    bias_init: Init = nn.initializers.zeros
    products_first: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.products_first:
            y = convolve_products_first(x, kernel)
        else:
            y = convolve(x, kernel, self.stride, self.padding, self.dilation)
        return y if bias is None else y + bias


def convolve(
    x: Array,
    kernel: Array,
    stride: int = 1,
    padding: int | str | None = None,
    dilation: int = 1,
) -> Array:
    """Convolution of x [B, H, W, C] by kernel [k, k, C, D], padded as by `Conv`."""
    size = kernel.shape[0]
    if size == stride == 1:
        return pointwise(x, kernel[0, 0])
    pad = dilation * (size // 2) if padding is None else padding
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pad if pad == "SAME" else ((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=DIMENSIONS,
    )


def convolve_products_first(x: Array, kernel: Array) -> Array:
    """Convolution of x [B, H, W, C] by kernel [k, k, C, D], without padding, for small images.

    The products of a pixel with all taps are one matrix product; their sums are taken after that,
    of `AT_ONCE` images at a time. Of many small images with few features this is twice as fast on
    CPU, though it multiplies at the edges what no sum takes.
    """
    size, _, channels, features = kernel.shape
    height, width = (side - size + 1 for side in x.shape[1:3])
    taps = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)

    def one(image: Array) -> Array:
        products = pointwise(image, taps).reshape(*image.shape[:2], size, size, features)
        return sum(
            products[i : i + height, j : j + width, i, j] for i in range(size) for j in range(size)
        )

    return lax.map(one, x, batch_size=AT_ONCE)


def pointwise(x: Array, kernel: Array) -> Array:
    """1x1 convolution of x [B, H, W, C] by kernel [C, D] as one matrix product.

    Reshaped to two dimensions first: the kernel's gradient is then several times faster on CPU.
    """
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def rematerialised(module: type[nn.Module], again: bool) -> type[nn.Module]:
    """`module`; if `again`, what it has inside is computed again in the backward pass, not kept."""
    return nn.remat(module) if again else module


def computed_once(x: Array, form: str = "auto") -> Array:
    """x, which XLA may not compute again for each of its uses.

    On CPU it would along a chain of residual blocks: each block would sum up all blocks before it,
    and backward all blocks after it.
    """
    return behind_condition(x) if is_cpu_form(form) else x


@jax.custom_vjp
def behind_condition(x: Array) -> Array:
    """x, behind a conditional, which XLA does not look through; all NaN where its first is NaN."""
    first = x[(0,) * x.ndim]
    return lax.cond(first == first, lambda x: x, lambda x: first * x, x)


def behind_condition_forward(x: Array):
    return behind_condition(x), None


def behind_condition_backward(_, g: Array):
    return (behind_condition(g),)


behind_condition.defvjp(behind_condition_forward, behind_condition_backward)


def max_pool3(x: Array, form: str = "auto") -> Array:
    """The largest of 3x3 places around every second one: [B, H, W, C] -> [B, H/2, W/2, C].

    Odd sides are halved upwards; what lies outside never wins. On CPU row by row and column by
    column, whose gradient is several times faster.
    """
    if not is_cpu_form(form):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for axis in (2, 1):
        length = x.shape[axis]
        sides = [(0, 0)] * x.ndim
        sides[axis] = (1, length % 2)
        padded = jnp.pad(x, sides, constant_values=-jnp.inf)
        span = 2 * ((length - 1) // 2) + 1
        before, centre, after = (
            lax.slice_in_dim(padded, i, i + span, 2, axis) for i in range(3)
        )
        x = jnp.where(before >= centre, before, centre)
        x = jnp.where(x >= after, x, after)
    return x


class DepthwiseConv(nn.Module):
    """Depth-wise 3x3 convolution without bias, padded by its dilation, the atrous rate.

    x [B, H, W, C] -> [B, ceil(H / stride), ceil(W / stride), multiplier * C]; parameter `kernel`
    [3, 3, 1, multiplier * C], as of `nn.Conv(feature_group_count=C)`: each channel is read by
    `multiplier` neighbouring features. On CPU a sum of shifted images.
    """

    stride: int = 1
    dtype: Dtype = None
    kernel_init: Init = he_uniform
    form: str = "auto"
    dilation: int = 1
    multiplier: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (3, 3, 1, self.multiplier * x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        if is_cpu_form(self.form):
            x = jnp.repeat(x, self.multiplier, axis=-1) if self.multiplier > 1 else x
            return depthwise_shift(x, kernel[:, :, 0], self.stride, self.dilation)
        return lax.conv_general_dilated(
            x,
            kernel,
            (self.stride, self.stride),
            ((self.dilation, self.dilation),) * 2,
            rhs_dilation=(self.dilation, self.dilation),
            dimension_numbers=DIMENSIONS,
            feature_group_count=x.shape[-1],
        )


def pad_sides(x: Array, sides: tuple[int, int], interior: int = 0) -> Array:
    """x [B, H, W, C] with `sides` = (H and W low, high) rows and columns of zeros around it."""
    low, high = sides
    edge = (low, high, interior)
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), edge, edge, (0, 0, 0)))


def shifted_sum(
    padded: Array, kernel: Array, height: int, width: int, stride: int, dilation: int
) -> Array:
    """Sum over the taps of kernel [k, k, C], `dilation` apart, of `padded` [B, H, W, C] shifted to
    that tap."""
    batch, _, _, channels = padded.shape
    span_y, span_x = (height - 1) * stride + 1, (width - 1) * stride + 1
    total = None
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            y, x = i * dilation, j * dilation
            limit = (batch, y + span_y, x + span_x, channels)
            tap = lax.slice(padded, (0, y, x, 0), limit, (1, stride, stride, 1)) * kernel[i, j]
            total = tap if total is None else total + tap
    return total


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_shift(x: Array, kernel: Array, stride: int, dilation: int) -> Array:
    """Depth-wise 3x3 convolution, padded by `dilation`, of x [B, H, W, C] by kernel [3, 3, C]."""
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    padded = pad_sides(x, (dilation, dilation))
    return shifted_sum(padded, kernel, height, width, stride, dilation)


def depthwise_shift_forward(x: Array, kernel: Array, stride: int, dilation: int):
    return depthwise_shift(x, kernel, stride, dilation), (x, kernel)


def depthwise_shift_backward(stride: int, dilation: int, saved, g: Array):
    x, kernel = saved
    batch, height, width, channels = x.shape
    rows, columns = g.shape[1:3]
    # The input's gradient: the same sum, over the cotangent spread by the stride, kernel flipped.
    zero = jnp.zeros((), g.dtype)
    span_y, span_x = (rows - 1) * stride + 1, (columns - 1) * stride + 1
    sides_y = (dilation, height - span_y + dilation, stride - 1)
    sides_x = (dilation, width - span_x + dilation, stride - 1)
    spread = lax.pad(g, zero, ((0, 0, 0), sides_y, sides_x, (0, 0, 0)))
    dx = shifted_sum(spread, kernel[::-1, ::-1], height, width, 1, dilation)

    # The kernel's gradient row by row: nine sums that read one row of the cotangent once.
    padded = pad_sides(x, (dilation, dilation))
    offsets = [i * dilation for i in range(3)]

    def add_row(row, sums):
        g_row = lax.dynamic_index_in_dim(g, row, 1, keepdims=False)
        x_rows = lax.dynamic_slice_in_dim(padded, row * stride, 2 * dilation + 1, 1)
        taps = [
            jnp.sum(x_rows[:, i, j : j + span_x : stride] * g_row, (0, 1))
            for i in offsets
            for j in offsets
        ]
        return sums + jnp.stack(taps)

    # Zero times the cotangent: under shard_map the sums must vary over devices as it does.
    start = jnp.zeros((9, channels), g.dtype) + 0 * g[0, 0, 0]
    dkernel = lax.fori_loop(0, rows, add_row, start).reshape(3, 3, channels)
    return dx, dkernel


depthwise_shift.defvjp(depthwise_shift_forward, depthwise_shift_backward)


class UpsampledConv(nn.Module):
    """Convolution of the twice enlarged input, padded by kernel_size // 2.

    x [B, H, W, C] -> [B, 2H, 2W, features]; parameters as of `Conv`. On CPU the products of each
    tap are taken before the enlargement, with which they commute: a quarter of the multiply-adds,
    worth it where there are many more channels than features.
    """

    features: int
    kernel_size: int
    dtype: Dtype = None
    kernel_init: Init = he_uniform
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size, channels = self.kernel_size, x.shape[-1]
        kernel = self.param("kernel", self.kernel_init, (size, size, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if is_cpu_form(self.form):
            taps = pointwise(x, kernel.transpose(2, 0, 1, 3).reshape(channels, -1))
            return sum_taps(upsample(taps), size) + bias
        pad = ((size // 2, size // 2),) * 2
        y = lax.conv_general_dilated(upsample(x), kernel, (1, 1), pad, dimension_numbers=DIMENSIONS)
        return y + bias


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def sum_taps(taps: Array, size: int) -> Array:
    """Sum over the size * size taps, each a share of the channels of [B, H, W, size * size * D] and
    shifted to its place under zero padding: [B, H, W, D]."""
    _, height, width, channels = taps.shape
    features = channels // size**2
    padded = pad_sides(taps, (size // 2, size // 2))
    total = None
    for tap in range(size**2):
        i, j = divmod(tap, size)
        first = tap * features
        shifted = padded[:, i : i + height, j : j + width, first : first + features]
        total = shifted if total is None else total + shifted
    return total


def sum_taps_forward(taps: Array, size: int):
    return sum_taps(taps, size), None


def sum_taps_backward(size: int, _, g: Array):
    height, width = g.shape[1:3]
    padded = pad_sides(g, (size // 2, size // 2))
    offsets = [divmod(tap, size) for tap in reversed(range(size**2))]
    shifted = [padded[:, i : i + height, j : j + width] for i, j in offsets]
    return (jnp.concatenate(shifted, axis=-1),)


sum_taps.defvjp(sum_taps_forward, sum_taps_backward)


class BatchNorm(nn.Module):
    """Batch normalisation as PyTorch and Paddle train it.

    x [B, H, W, C]. Statistics are float32 in `batch_stats` (`mean`, `var`), parameters `scale` and
    `bias`. In training they are taken over the batch, over all devices of `axis_name` where it is
    given, and the running variance takes the `unbiased` one, as PyTorch's, or the biased one, as
    Paddle's and Flax's. `use_running_average` keeps and uses the running ones, scale and bias still
    train. `valid` [B], 0 or 1, says which of x count in the statistics; where none does, they stay.
    """

    use_running_average: bool
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    unbiased: bool = True
    scale_init: Init = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Array, valid: Array | None = None) -> Array:
        channels = (x.shape[-1],)
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        if self.use_running_average:
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            return (x * factor + (bias - mean.value * factor)).astype(x.dtype)
        y, batch_mean, batch_var, count = normalise(
            x, scale, bias, mean.value, valid, self.epsilon, self.axis_name
        )
        if not self.is_initializing():
            if self.unbiased:
                batch_var = batch_var * (count / jnp.maximum(count - 1, 1))
            for running, new in ((mean, batch_mean), (var, batch_var)):
                updated = self.momentum * running.value + (1 - self.momentum) * new
                running.value = jnp.where(count > 0, updated, running.value)
        return y


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def normalise(
    x: Array,
    scale: Array,
    bias: Array,
    origin: Array,
    valid: Array | None,
    epsilon: float,
    axis_name: str | None,
):
    """(x - mean) / sqrt(var + epsilon) * scale + bias, with the batch's mean and biased variance,
    taken where `valid` [B] is 1.

    Sums are taken about `origin` [C], the running mean: about zero they would cancel where the mean
    is far above the deviation. Returns y like x [B, H, W, C] and, without gradient, mean [C],
    var [C] and the number of values in each. The own gradient reads x and its cotangent twice,
    where automatic differentiation reads them four times.
    """
    return normalise_forward(x, scale, bias, origin, valid, epsilon, axis_name)[0]


def sum_devices(tree: Any, axis_name: str | None) -> Any:
    """The sum over all devices of `axis_name`; the tree itself without one."""
    return tree if axis_name is None else lax.psum(tree, axis_name)


def normalise_forward(x, scale, bias, origin, valid, epsilon: float, axis_name: str | None):
    centred = x.astype(jnp.promote_types(x.dtype, jnp.float32)) - origin
    counted, local = centred, x.size // x.shape[-1]
    if valid is not None:
        counted = jnp.where(valid[:, None, None, None] > 0, centred, 0)
        local = jnp.sum(valid) * (local // x.shape[0])
    sums = jnp.sum(counted, (0, 1, 2)), jnp.sum(counted * counted, (0, 1, 2))
    total, squares = sum_devices(sums, axis_name)
    count = jnp.full((), sum_devices(local, axis_name), centred.dtype)
    # One value at least, or nothing at all would be not a number.
    some = count if valid is None else jnp.maximum(count, 1)
    offset = total / some
    var = jnp.maximum(squares / some - offset * offset, 0)
    inverse = lax.rsqrt(var + epsilon)
    factor = scale * inverse
    y = (centred * factor + (bias - offset * factor)).astype(x.dtype)
    return (y, origin + offset, var, count), (x, scale, origin, valid, offset, inverse, some)


def normalise_backward(epsilon: float, axis_name: str | None, saved, cotangents):
    x, scale, origin, valid, offset, inverse, count = saved
    centred = x.astype(offset.dtype) - origin
    g = cotangents[0].astype(offset.dtype)
    dbias, moment = jnp.sum(g, (0, 1, 2)), jnp.sum(g * centred, (0, 1, 2))
    dscale = (moment - offset * dbias) * inverse
    # dx depends on all devices' sums; the parameters' own gradients are summed by their owner.
    all_bias, all_scale = sum_devices((dbias, dscale), axis_name)
    a = scale * inverse
    b = -a * inverse * all_scale / count
    c = -a * all_bias / count - b * offset
    by_statistics = b * centred + c
    if valid is not None:
        by_statistics = jnp.where(valid[:, None, None, None] > 0, by_statistics, 0)
    dx = (a * g + by_statistics).astype(x.dtype)
    unseen = None if valid is None else jnp.zeros_like(valid)
    return dx, dscale, dbias, jnp.zeros_like(origin), unseen


normalise.defvjp(normalise_forward, normalise_backward)


def instance_norm(x: Array, epsilon: float = 1e-5) -> Array:
    """x [B, H, W, C] to mean 0 and variance 1 for each sample and channel, without parameters."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(wide, (1, 2), keepdims=True)
    var = jnp.mean(jnp.square(wide - mean), (1, 2), keepdims=True)
    return ((wide - mean) * lax.rsqrt(var + epsilon)).astype(x.dtype)


class InstanceNorm(nn.Module):
    """`instance_norm` of x [B, H, W, C] with a `scale` and a `bias` [C] for each channel."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return (instance_norm(x) * scale + bias).astype(x.dtype)
