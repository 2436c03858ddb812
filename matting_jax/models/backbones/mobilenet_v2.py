"""MobileNetV2 (Sandler et al., 2018) without its classifier, as MODNet and BGMv2 use it."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers.activations import relu6
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.initialisers import Init, he_uniform

# expansion, output channels, number of blocks, stride of the first block: table 2 of the paper
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Blocks, counted from 1, whose outputs are returned, for output stride 32 and 16.
FEATURES = {1: "enc2x", 3: "enc4x", 6: "enc8x", 13: "enc16x"}
DILATED_FEATURES = {1: "enc2x", 3: "enc4x", 6: "enc8x", 17: "enc16x"}


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a depth-wise 3x3 and a 1x1 projection, plus the input if shapes agree.

    x [B, H, W, C] -> [B, H / stride, W / stride, features]. Layers are numbered as in the official
    `nn.Sequential`, which without `expand` starts with the depth-wise convolution.
    """

    features: int
    stride: int
    expansion: int
    expand: bool
    norm: Any
    dtype: Any = None
    form: str = "auto"
    dilation: int = 1
    kernel_init: Init = he_uniform

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        options = {"dtype": self.dtype, "kernel_init": self.kernel_init}
        y, first = x, 0
        if self.expand:
            wide = self.expansion * x.shape[-1]
            y = Conv(wide, 1, use_bias=False, name="conv_0", **options)(y)
            y = relu6(self.norm(name="conv_1")(y))
            first = 3
        y = DepthwiseConv(
            self.stride, form=self.form, dilation=self.dilation, name=f"conv_{first}", **options
        )(y)
        y = relu6(self.norm(name=f"conv_{first + 1}")(y))
        y = Conv(self.features, 1, use_bias=False, name=f"conv_{first + 3}", **options)(y)
        y = self.norm(name=f"conv_{first + 4}")(y)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class MobileNetV2(nn.Module):
    """Features of an image at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    image [B, H, W, 3] in [-1, 1] -> a dict of `enc2x` (16 channels), `enc4x` (24), `enc8x` (32),
    `enc16x` (96) and `enc32x` (1280).
    Sources: ZHKKKe/MODNet, src/models/backbones/mobilenetv2.py; PeterL1n/BackgroundMattingV2,
    model/mobilenet.py; PaddlePaddle/PaddleSeg, Matting/ppmatting/models/backbone/mobilenet_v2.py.

    Attributes:
        expand_first: adds an expansion with factor 1 to the first block, as in Paddle.
        output_stride: 16 dilates the last stages instead of reducing them below 1/16, as in
            DeepLabV3; `enc16x` is then the last block (320 channels), and `enc32x` is omitted.
        kernel_init: initialiser of all kernels but the first.
        stem_init: initialiser of the first kernel.
    """

    norm: Any
    dtype: Any = None
    form: str = "auto"
    expand_first: bool = False
    output_stride: int = 32
    kernel_init: Init = he_uniform
    stem_init: Init = he_uniform

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        def conv_norm(x, index, features, size, stride, kernel_init):
            x = Conv(
                features,
                size,
                stride,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=kernel_init,
                name=f"features_{index}_0",
            )(x)
            return relu6(self.norm(name=f"features_{index}_1")(x))

        names = FEATURES if self.output_stride == 32 else DILATED_FEATURES
        blocks = [
            (expansion, features, stride if block == 0 else 1)
            for expansion, features, count, stride in STAGES
            for block in range(count)
        ]
        x = conv_norm(image, 0, 32, 3, 2, self.stem_init)
        outputs, reduction, dilation = {}, 2, 1
        for index, (expansion, features, stride) in enumerate(blocks, 1):
            dilate = reduction * stride > self.output_stride
            x = InvertedResidual(
                features,
                1 if dilate else stride,
                expansion,
                expansion != 1 or self.expand_first,
                self.norm,
                self.dtype,
                self.form,
                dilation,
                self.kernel_init,
                name=f"features_{index}",
            )(x)
            # The dilation that replaces a stride starts with the next block.
            if dilate:
                dilation = stride
            else:
                reduction *= stride
            if index in names:
                outputs[names[index]] = x
        if self.output_stride == 32:
            outputs["enc32x"] = conv_norm(x, len(blocks) + 1, 1280, 1, 1, self.kernel_init)
        return outputs
