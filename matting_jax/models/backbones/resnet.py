"""ResNet (He et al., 2016) without its classifier, with the names and layers of torchvision."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.forms import relu_once
from matting_jax.models.layers.initialisers import Init, he_normal_fan_out
from matting_jax.models.layers.pooling import max_pool_3x3

Array = jax.Array


class BasicBlock(nn.Module):
    """Two 3x3 convolutions plus the input, through a 1x1 convolution if shapes differ.

    x [B, H, W, C] -> [B, H / stride, W / stride, features].
    """

    features: int
    stride: int
    norm: Any
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = conv(self, self.features, 3, self.stride, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = self.norm(name="bn2")(conv(self, self.features, 3, name="conv2")(y))
        return relu_once(y + shortcut(self, x, self.features), self.form)


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution plus the input, through a 1x1 one if shapes differ.

    x [B, H, W, C] -> [B, H / stride, W / stride, 4 * features]; `dilation` of the 3x3 convolution.
    """

    features: int
    stride: int
    norm: Any
    dtype: Any = None
    form: str = "auto"
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.relu(self.norm(name="bn1")(conv(self, self.features, 1, name="conv1")(x)))
        y = conv(self, self.features, 3, self.stride, self.dilation, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = self.norm(name="bn3")(conv(self, 4 * self.features, 1, name="conv3")(y))
        return relu_once(y + shortcut(self, x, 4 * self.features), self.form)


def conv(
    block: Any,
    features: int,
    size: int,
    stride: int = 1,
    dilation: int = 1,
    kernel_init: Init = he_normal_fan_out,
    *,
    name: str,
) -> Conv:
    """Builds a convolution without bias in the dtype of `block`."""
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
    """Returns the input x of `block` with the size and number of features of its output."""
    if block.stride == 1 and x.shape[-1] == features:
        return x
    x = conv(block, features, 1, block.stride, name="downsample_0")(x)
    return block.norm(name="downsample_1")(x)


# kind: the block, and the number of blocks in each of the four layers
DEPTHS = {
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """Features of an image at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    image [B, H, W, 3] -> a list of the features of the stem and of the four layers.
    Source: pytorch/vision, torchvision/models/resnet.py.

    Attributes:
        kind: "resnet34", "resnet50" or "resnet101".
        stem: false takes the features of another stem; the first layer keeps their size.
        output_stride: 16 keeps the last layer at 1/16 and dilates its blocks after the first, as in
            DeepLabV3; only with bottlenecks.
        stem_init: initialiser of the first kernel.
    """

    kind: str
    norm: Any
    dtype: Any = None
    stem: bool = True
    form: str = "auto"
    output_stride: int = 32
    stem_init: Init = he_normal_fan_out

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        block, depths = DEPTHS[self.kind]
        features = []
        if self.stem:
            x = conv(self, 64, 7, 2, kernel_init=self.stem_init, name="conv1")(x)
            x = nn.relu(self.norm(name="bn1")(x))
            features.append(x)
            x = max_pool_3x3(x, self.form)
        for layer, depth in enumerate(depths):
            dilate = self.output_stride == 16 and layer == 3
            for i in range(depth):
                stride = 2 if layer > 0 and i == 0 and not dilate else 1
                options = {"dilation": 2} if dilate and i > 0 else {}
                x = block(
                    64 * 2**layer,
                    stride,
                    self.norm,
                    self.dtype,
                    self.form,
                    **options,
                    name=f"layer{layer + 1}_{i}",
                )(x)
            features.append(x)
        return features
