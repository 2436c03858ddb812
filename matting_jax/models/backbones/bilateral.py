"""The two branches of BiSeNet V2, https://arxiv.org/abs/2004.02147.

Source: CoinCheung/BiSeNet, lib/models/bisenetv2.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

Array = jax.Array


def multiply(count: float, factor: float, field: str) -> int:
    """Returns `count` times `factor`; raises ValueError that names `field` unless it is whole."""
    product = count * factor
    if product < 1 or product != int(product):
        raise ValueError(
            f"{field} of bisenet_v2 must make whole numbers of channels and blocks, but "
            f"{factor:g} makes {product:g} of {count:g}"
        )
    return int(product)


class Layers(NamedTuple):
    """The layers of the network, as partial modules without sizes and names."""

    conv: Any
    depthwise: Any
    norm: Any


class ConvNormRelu(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    features: int
    layers: Layers
    kernel_size: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = self.layers.conv(self.features, self.kernel_size, self.stride, name="conv")(x)
        return nn.relu(self.layers.norm(name="bn")(x))


class DetailBranch(nn.Module):
    """The wide and shallow branch: image [B, H, W, 3] -> [B, H/8, W/8, 128 * width]."""

    layers: Layers
    width: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for stage, features, blocks in (("S1", 64, 2), ("S2", 64, 3), ("S3", 128, 3)):
            for block in range(blocks):
                stride = 2 if block == 0 else 1
                channels = multiply(features, self.width, "width")
                name = f"{stage}_{block}"
                x = ConvNormRelu(channels, self.layers, stride=stride, name=name)(x)
        return x


class StemBlock(nn.Module):
    """Strided convolution in parallel with max pooling.

    image [B, H, W, 3] -> [B, H/4, W/4, features].
    """

    features: int
    layers: Layers

    @nn.compact
    def __call__(self, x: Array) -> Array:
        block = partial(ConvNormRelu, layers=self.layers)
        x = block(self.features, stride=2, name="conv")(x)
        left = block(self.features // 2, kernel_size=1, name="left_0")(x)
        left = block(self.features, stride=2, name="left_1")(left)
        right = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        return block(self.features, name="fuse")(jnp.concatenate([left, right], axis=-1))


class GatherExpansion(nn.Module):
    """A 3x3 convolution, then depth-wise ones with `expansion` times the channels.

    x [B, H, W, C] -> [B, H, W, C], or with `features` [B, H/2, W/2, features]. The scale of the
    last normalisation is initially 0, so that training starts from the shortcut.
    """

    layers: Layers
    features: int | None = None
    expansion: int = 6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv, depthwise, norm = self.layers
        features = x.shape[-1] if self.features is None else self.features
        y = ConvNormRelu(x.shape[-1], self.layers, name="conv1")(x)
        if self.features is None:
            y = depthwise(multiplier=self.expansion, name="dwconv_0")(y)
            y = nn.relu(norm(name="dwconv_1")(y))
        else:
            y = depthwise(2, multiplier=self.expansion, name="dwconv1_0")(y)
            y = norm(name="dwconv1_1")(y)
            y = depthwise(name="dwconv2_0")(y)
            y = nn.relu(norm(name="dwconv2_1")(y))
            x = norm(name="shortcut_1")(depthwise(2, name="shortcut_0")(x))
            x = norm(name="shortcut_3")(conv(features, 1, name="shortcut_2")(x))
        y = conv(features, 1, name="conv2_0")(y)
        return nn.relu(x + norm(scale_init=nn.initializers.zeros, name="conv2_1")(y))


class ContextEmbedding(nn.Module):
    """Adds the mean over the whole image to x [B, h, w, C]."""

    layers: Layers

    @nn.compact
    def __call__(self, x: Array) -> Array:
        block = partial(ConvNormRelu, x.shape[-1], self.layers)
        context = self.layers.norm(name="bn")(jnp.mean(x, (1, 2), keepdims=True))
        return block(name="conv_last")(x + block(kernel_size=1, name="conv_gap")(context))


class SemanticBranch(nn.Module):
    """The narrow and deep branch: features at 1/4, 1/8, 1/16 and 1/32 of the image's size.

    image [B, H, W, 3] -> a dict with the inputs of the heads `aux2`, `aux3`, `aux4` and `aux5_4`,
    and with `context` [B, H/32, W/32, 128 * width].

    Attributes:
        channel_ratio: channels of the first two stages relative to those of the detail branch.
        expansion: channels within a block relative to those of its input.
        width: factor of all channels.
        depth: factor of the blocks of each stage.
    """

    layers: Layers
    channel_ratio: float = 0.25
    expansion: int = 6
    width: float = 1.0
    depth: int = 1

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        detail, last = (multiply(channels, self.width, "width") for channels in (64, 128))
        first = self.channel_ratio * detail
        if first % 2 or first < 2:
            raise ValueError(
                "channel_ratio of bisenet_v2 must make an even number of channels, such as "
                f"1/2, 1/4, 1/8 or 1/16; {self.channel_ratio} makes {first:g} of {detail}"
            )
        features = {"aux2": StemBlock(int(first), self.layers, name="S1S2")(x)}
        x = features["aux2"]
        expansion = multiply(1, self.expansion, "expansion")
        block = partial(GatherExpansion, self.layers, expansion=expansion)
        second = multiply(last, self.channel_ratio, "channel_ratio")
        stages = (("S3", "aux3", second, 2), ("S4", "aux4", detail, 2), ("S5_4", "aux5_4", last, 4))
        for stage, head, channels, blocks in stages:
            x = block(channels, name=f"{stage}_0")(x)
            for i in range(1, multiply(blocks, self.depth, "depth")):
                x = block(name=f"{stage}_{i}")(x)
            features[head] = x
        return features | {"context": ContextEmbedding(self.layers, name="S5_5")(x)}
