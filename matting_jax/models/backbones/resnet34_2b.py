"""The parts that GFM adds to ResNet-34 for features at full size, r34_2b.

Source: JizhiziLi/GFM, core/gfm.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.backbones.resnet import BasicBlock
from matting_jax.models.layers.convolutions import conv3
from matting_jax.models.layers.pooling import max_pool_2x2

Array = jax.Array


class Stem(nn.Module):
    """The first features of r34_2b, at full size: [B, H, W, 3] -> [B, H, W, 64]."""

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.relu(self.norm(name="1")(conv3(64, x, self.dtype, name="0")))


class DeeperLayers(nn.Module):
    """The two layers that r34_2b adds to ResNet-34: [B, h, w, 512] -> those at 1/2 and 1/4."""

    norm: Any
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        block = partial(BasicBlock, 512, 1, self.norm, self.dtype, self.form)
        taps = []
        for layer in (5, 6):
            x = max_pool_2x2(x)
            for i in (1, 2, 3):
                x = block(name=f"encoder{layer}_{i}")(x)
            taps.append(x)
        return taps
