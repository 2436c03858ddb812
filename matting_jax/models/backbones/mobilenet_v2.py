"""MobileNetV2 (Sandler et al., 2018) without its classifier, as MODNet uses it."""
from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers import Conv, DepthwiseConv, relu6

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

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y, first = x, 0
        if self.expand:
            wide = self.expansion * x.shape[-1]
            y = Conv(wide, 1, use_bias=False, dtype=self.dtype, name="conv_0")(y)
            y = relu6(self.norm(name="conv_1")(y))
            first = 3
        y = DepthwiseConv(self.stride, self.dtype, form=self.form, name=f"conv_{first}")(y)
        y = relu6(self.norm(name=f"conv_{first + 1}")(y))
        y = Conv(self.features, 1, use_bias=False, dtype=self.dtype, name=f"conv_{first + 3}")(y)
        y = self.norm(name=f"conv_{first + 4}")(y)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class MobileNetV2(nn.Module):
    """image [B, H, W, 3] in [-1, 1] -> features at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    Returns a dict with `enc2x` (16 channels), `enc4x` (24), `enc8x` (32), `enc16x` (96) and
    `enc32x` (1280). `expand_first` gives the first block an expansion to as many channels as it
    has, as in Paddle's. Sources: ZHKKKe/MODNet, src/models/backbones/mobilenetv2.py;
    PaddlePaddle/PaddleSeg, Matting/ppmatting/models/backbone/mobilenet_v2.py.
    """

    norm: Any
    dtype: Any = None
    form: str = "auto"
    expand_first: bool = False

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        def conv_norm(x, index, features, size, stride):
            x = Conv(features, size, stride, use_bias=False, dtype=self.dtype,
                     name=f"features_{index}_0")(x)
            return relu6(self.norm(name=f"features_{index}_1")(x))

        x = conv_norm(image, 0, 32, 3, 2)
        taps, index = {}, 0
        for expansion, features, blocks, stride in STAGES:
            for block in range(blocks):
                index += 1
                x = InvertedResidual(
                    features,
                    stride if block == 0 else 1,
                    expansion,
                    expansion != 1 or self.expand_first,
                    self.norm,
                    self.dtype,
                    self.form,
                    name=f"features_{index}",
                )(x)
                taps[TAPS.get(index)] = x
        taps["enc32x"] = conv_norm(x, 18, 1280, 1, 1)
        return {name: taps[name] for name in TAPS.values()}
