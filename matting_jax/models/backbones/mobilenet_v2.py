"""MobileNetV2 (Sandler et al., 2018) without its classifier, as MODNet and BGMv2 use it."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers.activations import relu6
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.initialisers import Init, he_uniform

# expansion, output channels, blocks, stride of the first: table 2 of the paper
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
TAPS = {1: "enc2x", 3: "enc4x", 6: "enc8x", 13: "enc16x", 18: "enc32x"}
# With output stride 16 the last stages stay at 1/16, and end the network.
DILATED_TAPS = {1: "enc2x", 3: "enc4x", 6: "enc8x", 17: "enc16x"}


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter by depth-wise 3x3, project by 1x1; plus the input where shapes allow.

    x [B, H, W, C] -> [B, H / stride, W / stride, features]. The parts are numbered as in the
    official `nn.Sequential`: without `expand` the first is missing and the numbers start there.
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
    """image [B, H, W, 3] in [-1, 1] -> features at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    Returns a dict with `enc2x` (16 channels), `enc4x` (24), `enc8x` (32), `enc16x` (96) and
    `enc32x` (1280). `expand_first` gives the first block an expansion to as many channels as it
    has, as in Paddle's. With `output_stride` 16, as in DeepLabV3, nothing is smaller than 1/16:
    what follows sees twice as far instead, `enc16x` are the last block's 320 channels, and `enc32x`
    is left out. `kernel_init` draws the kernels, `stem_init` the first.
    Sources: ZHKKKe/MODNet, src/models/backbones/mobilenetv2.py; PeterL1n/BackgroundMattingV2,
    model/mobilenet.py; PaddlePaddle/PaddleSeg, Matting/ppmatting/models/backbone/mobilenet_v2.py.
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

        names = TAPS if self.output_stride == 32 else DILATED_TAPS
        x = conv_norm(image, 0, 32, 3, 2, self.stem_init)
        taps, index, reduced, dilation = {}, 0, 2, 1
        for expansion, features, blocks, stride in STAGES:
            for block in range(blocks):
                index += 1
                first = stride if block == 0 else 1
                # The block that would have made the features smaller still sees as far as before.
                kept = reduced * first > self.output_stride
                x = InvertedResidual(
                    features,
                    1 if kept else first,
                    expansion,
                    expansion != 1 or self.expand_first,
                    self.norm,
                    self.dtype,
                    self.form,
                    dilation,
                    self.kernel_init,
                    name=f"features_{index}",
                )(x)
                reduced, dilation = (reduced, first) if kept else (reduced * first, dilation)
                taps[names.get(index)] = x
        if self.output_stride == 32:
            taps["enc32x"] = conv_norm(x, 18, 1280, 1, 1, self.kernel_init)
        return {name: taps[name] for name in names.values()}
