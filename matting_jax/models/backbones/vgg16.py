"""VGG-16 (Simonyan & Zisserman, 2015) without its classifier, as Deep Image Matting uses it."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.initialisers import xavier_normal
from matting_jax.models.layers.pooling import max_pool

# channels and number of convolutions of each block: configuration D of the paper
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG16(nn.Module):
    """image [B, H, W, C] -> features [B, H/32, W/32, 512] and where each pooling found its maxima.

    The places, one int8 array [B, H / 2^i, W / 2^i, channels] a block, are as of `max_pool`. A 1x1
    convolution stands for the classifier. Source: open-mmlab/mmagic, models/archs/vgg.py.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        options = {"dtype": self.dtype, "kernel_init": xavier_normal}
        places = []
        for block, (features, convolutions) in enumerate(BLOCKS, 1):
            for i in range(convolutions):
                # Each convolution and each ReLU has a number in the official block.
                x = nn.relu(Conv(features, 3, name=f"layer{block}_{2 * i}", **options)(x))
            x, place = max_pool(x)
            places.append(place)
        return nn.relu(Conv(512, 1, name="conv6", **options)(x)), places
