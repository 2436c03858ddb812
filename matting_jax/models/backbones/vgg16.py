"""VGG-16 (Simonyan & Zisserman, 2015) without its classifier, as Deep Image Matting uses it."""

from __future__ import annotations

from typing import Any

import jax
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.initialisers import xavier_normal
from matting_jax.models.layers.pooling import max_pool_with_indices

# channels and number of convolutions of each block: configuration D of the paper
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class VGG16(nn.Module):
    """Features of an image at 1/32 of its size, and the indices of its poolings.

    image [B, H, W, C] -> features [B, H/32, W/32, 512] and, for each block, the indices of
    `max_pool_with_indices`, int8 [B, H / 2^i, W / 2^i, channels]. A 1x1 convolution replaces the
    classifier. Source: open-mmlab/mmagic, models/archs/vgg.py.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        options = {"dtype": self.dtype, "kernel_init": xavier_normal}
        indices = []
        for block, (features, convolutions) in enumerate(BLOCKS, 1):
            for i in range(convolutions):
                # The official blocks number convolutions and ReLUs.
                x = nn.relu(Conv(features, 3, name=f"layer{block}_{2 * i}", **options)(x))
            x, selected = max_pool_with_indices(x)
            indices.append(selected)
        return nn.relu(Conv(512, 1, name="conv6", **options)(x)), indices
