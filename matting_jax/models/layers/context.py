"""Context of the whole image or at several scales: squeeze and excitation, ASPP, pyramids."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from matting_jax.image.geometry import resize_aligned, resize_area
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.dropout import dropout
from matting_jax.models.layers.ibnorm import ConvIBNormRelu
from matting_jax.models.layers.initialisers import fan_in_uniform, he_uniform, uniform_of_fan_in

Array = jax.Array
RATES = (3, 6, 9)  # of the atrous convolutions; those of DeepLabv3 are twice as large


class SEBlock(nn.Module):
    """Squeeze and excitation: weights each channel by features of the whole image.

    x [B, h, w, C] -> [B, h, w, C]. Its two layers are linear, or 1x1 convolutions in the flavour
    "paddle".
    """

    reduction: int = 4
    dtype: Any = None
    flavour: str = "official"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        if self.flavour == "paddle":
            layer, name = partial(Conv, kernel_size=1), "conv"
        else:
            layer, name = partial(nn.Dense, kernel_init=fan_in_uniform), "fc"
        layer = partial(layer, use_bias=False, dtype=self.dtype)
        weight = jnp.mean(x, (1, 2), keepdims=True)
        weight = nn.relu(layer(channels // self.reduction, name=f"{name}_0")(weight))
        weight = nn.sigmoid(layer(channels, name=f"{name}_2")(weight))
        return x * weight


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabv3 with all channels, for comparison with `EASPP`.

    x [B, h, w, C] -> [B, h, w, C]. A 1x1 convolution, dense 3x3 convolutions at each of `rates`,
    and the image's mean after a 1x1 convolution are fused by a 1x1 convolution. IBNorm and ReLU
    follow each convolution; that of the mean has `batch_norm`, because instance normalisation
    would set its single value to 0. Source: Chen et al., arXiv 1706.05587, section 3.3.
    """

    norm: Any
    batch_norm: Any
    rates: tuple[int, ...] = RATES
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        block = partial(ConvIBNormRelu, x.shape[-1], norm=self.norm, dtype=self.dtype)
        scales = [block(1, name="point")(x)]
        scales += [block(3, dilation=rate, name=f"atrous_{rate}")(x) for rate in self.rates]
        pooled = partial(block, norm=self.batch_norm)(1, name="pooled")
        mean = pooled(jnp.mean(x, (1, 2), keepdims=True))
        scales.append(jnp.broadcast_to(mean, x.shape))
        return block(1, name="fusion")(jnp.concatenate(scales, axis=-1))


class TorchvisionASPP(nn.Module):
    """Atrous spatial pyramid pooling with the layers and names of torchvision.

    x [B, h, w, C] -> [B, h, w, 256]. The scales are those of `ASPP`, each with 256 features and
    batch normalisation. `keys`, one for each sample, drop half of the result.
    Source: pytorch/vision, torchvision/models/segmentation/deeplabv3.py.
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=fan_in_uniform)

        def block(x, name, size=1, rate=1, index=0):
            x = conv(256, size, dilation=rate, name=f"{name}_{index}")(x)
            return nn.relu(self.norm(name=f"{name}_{index + 1}")(x))

        scales = [block(x, "convs_0")]
        for i, rate in enumerate(RATES, 1):
            scales.append(block(x, f"convs_{i}", 3, rate))
        mean = block(jnp.mean(x, (1, 2), keepdims=True), "convs_4", index=1)
        scales.append(jnp.broadcast_to(mean, scales[0].shape))
        x = block(jnp.concatenate(scales, axis=-1), "project")
        return x if keys is None else dropout(x, keys, 0.5)


class EASPP(nn.Module):
    """Efficient atrous spatial pyramid pooling: context at several scales, 1.5 % of ASPP's cost.

    x [B, h, w, C] -> [B, h, w, C]. A reconstruction from the text of arXiv 2011.11961v4, since
    neither code nor checkpoint was released.

    From the paper: the channels are reduced to a quarter. Each atrous convolution is split into a
    depth-wise and a 1x1 convolution, in switched order: each channel fuses its own scales before
    one 1x1 convolution fuses the channels and restores their number.

    Chosen here: the rates, half of DeepLabv3's, which are for features at 1/16. The features and
    their mean over the image are further scales. IBNorm and ReLU follow each convolution. A ReLU
    follows the fusion of scales, because the last normalisation would otherwise remove the mean of
    the image again.
    """

    norm: Any
    rates: tuple[int, ...] = RATES
    reduction: int = 4
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        block = partial(ConvIBNormRelu, kernel_size=1, norm=self.norm, dtype=self.dtype)
        x = block(channels // self.reduction, name="reduce")(x)
        scales = [x]
        for rate in self.rates:
            y = DepthwiseConv(
                dtype=self.dtype, form=self.form, dilation=rate, name=f"atrous_{rate}_0"
            )(x)
            scales.append(nn.relu(self.norm(name=f"atrous_{rate}_1")(y)))
        scales.append(jnp.mean(x, (1, 2), keepdims=True))
        fused = nn.relu(ScaleFusion(self.dtype, name="fusion")(scales))
        return block(channels, name="recover")(fused)


class ScaleFusion(nn.Module):
    """Weighted sum of the scales, with weights for each channel, plus a bias.

    scales: [B, h, w, C], or [B, 1, 1, C] for a value of the whole image -> [B, h, w, C].
    Parameters `kernel` [scales, C] and `bias` [C].
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, scales: list[Array]) -> Array:
        channels = scales[0].shape[-1]
        kernel = self.param("kernel", he_uniform, (len(scales), channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        kernel, bias, *scales = promote_dtype(kernel, bias, *scales, dtype=self.dtype)
        return sum(weight * x for weight, x in zip(kernel, scales, strict=True)) + bias


class PyramidPooling(nn.Module):
    """Fuses x [B, h, w, C] with its means over 1, 3 x 3 and 5 x 5 cells, as GFM does."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        _, height, width, channels = x.shape
        scales = []
        for i, size in enumerate((1, 3, 5)):
            prior = Conv(
                channels,
                1,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=uniform_of_fan_in(channels),
                name=f"stages_{i}_1",
            )(resize_area(x, size, size))
            scales.append(resize_aligned(prior, height, width))
        init = uniform_of_fan_in(4 * channels)
        fuse = Conv(
            channels, 1, dtype=self.dtype, kernel_init=init, bias_init=init, name="bottleneck"
        )
        return nn.relu(fuse(jnp.concatenate([*scales, x], axis=-1)))
