"""ResNet (He et al., 2016) without its classifier, names and layers as torchvision has them."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.forms import computed_once
from matting_jax.models.layers.initialisers import Init
from matting_jax.models.layers.pooling import max_pool3

Array = jax.Array

he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions plus the input, which a 1x1 convolution follows where shapes differ.

    x [B, H, W, C] -> [B, H / stride, W / stride, features].
    """

    features: int
    stride: int
    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = conv(self, self.features, 3, self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.norm(name="bn2")(conv(self, self.features, 3, name="conv2")(y))
        return nn.relu(y + shortcut(self, x, self.features))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, to four times `features`, plus the input.

    x [B, H, W, C] -> [B, H / stride, W / stride, 4 * features]; `dilation` is that of the 3x3.
    """

    features: int
    stride: int
    norm: Any
    dtype: Any = None
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.relu(self.norm(name="bn1")(conv(self, self.features, 1, name="conv1")(x)))
        y = conv(self, self.features, 3, self.stride, self.dilation, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.norm(name="bn3")(conv(self, 4 * self.features, 1, name="conv3")(y))
        return nn.relu(y + shortcut(self, x, 4 * self.features))


def conv(
    block: Any,
    features: int,
    size: int,
    stride: int = 1,
    dilation: int = 1,
    kernel_init: Init = he_fan_out,
    *,
    name: str,
) -> Conv:
    """A convolution of a ResNet, in the types of `block`."""
    return Conv(
        features,
        size,
        stride,
        use_bias=False,
        dtype=block.dtype,
        kernel_init=kernel_init,
        dilation=dilation,
        name=name,
    )


def shortcut(block: Any, x: Array, features: int) -> Array:
    """The input of `block` as it is added to its output of so many features."""
    x = computed_once(x)
    if block.stride == 1 and x.shape[-1] == features:
        return x
    x = conv(block, features, 1, block.stride, name="downsample_0")(x)
    return block.norm(name="downsample_1")(x)


# name: block, and how many of them in each of the four layers
DEPTHS = {
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """image [B, H, W, 3] -> a list of the stem's features at 1/2 of its size and those of the four
    layers at 1/4 to 1/32.

    Without `stem` it takes the features of another stem, and the first layer is of their size. With
    `output_stride` 16 the last layer stays at 1/16, and its blocks after the first see twice as far
    instead, as in DeepLabV3: for bottlenecks alone. `stem_init` draws the first kernel.
    Source: pytorch/vision, torchvision/models/resnet.py.
    """

    kind: str
    norm: Any
    dtype: Any = None
    stem: bool = True
    form: str = "auto"
    output_stride: int = 32
    stem_init: Init = he_fan_out

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        block, depths = DEPTHS[self.kind]
        taps = []
        if self.stem:
            x = conv(self, 64, 7, 2, kernel_init=self.stem_init, name="conv1")(x)
            x = nn.relu(self.norm(name="bn1")(x))
            taps.append(x)
            x = max_pool3(x, self.form)
        for layer, depth in enumerate(depths):
            kept = self.output_stride == 16 and layer == 3
            for i in range(depth):
                stride = 2 if layer > 0 and i == 0 and not kept else 1
                dilated = {"dilation": 2} if kept and i > 0 else {}
                x = block(
                    64 * 2**layer,
                    stride,
                    self.norm,
                    self.dtype,
                    **dilated,
                    name=f"layer{layer + 1}_{i}",
                )(x)
            taps.append(x)
        return taps
