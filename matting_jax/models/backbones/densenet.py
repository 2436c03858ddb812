"""DenseNet-121 (Huang et al., 2017) without its classifier, with the names of torchvision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.initialisers import he_normal

Array = jax.Array

GROWTH = 32
DEPTHS = (6, 12, 24, 16)  # layers of each block


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after normalisation and ReLU.

    x [B, H, W, C] -> new features [B, H, W, 32].
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, (features, size) in enumerate(((4 * GROWTH, 1), (GROWTH, 3)), 1):
            x = nn.relu(self.norm(name=f"norm{i}")(x))
            x = Conv(
                features,
                size,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=he_normal,
                name=f"conv{i}",
            )(x)
        return x


class DenseBlock(nn.Module):
    """Layers that each take the features of all previous ones.

    x [B, H, W, C] -> [B, H, W, C + 32 * depth].
    """

    depth: int
    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i in range(1, self.depth + 1):
            new = DenseLayer(self.norm, self.dtype, name=f"denselayer{i}")(x)
            x = jnp.concatenate([x, new], axis=-1)
        return x


class Transition(nn.Module):
    """Halves features and size: [B, H, W, C] -> [B, H/2, W/2, C/2].

    The average pooling comes before the 1x1 convolution, with which it commutes: this takes a
    quarter of the multiply-adds.
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.avg_pool(nn.relu(self.norm(name="norm")(x)), (2, 2), (2, 2))
        return Conv(
            x.shape[-1] // 2,
            1,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=he_normal,
            name="conv",
        )(x)


class DenseNet121(nn.Module):
    """Features of an image at 1/2, 1/4, 1/8, 1/16 and again 1/16 of its size.

    image [B, H, W, 3] -> a list of features with 64, 128, 256, 512 and 1024 channels. As GFM uses
    it, without the max pooling after the first convolution and without the last normalisation.
    Source: pytorch/vision, torchvision/models/densenet.py.
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        x = Conv(64, 7, 2, use_bias=False, dtype=self.dtype, kernel_init=he_normal, name="conv0")(x)
        x = nn.relu(self.norm(name="norm0")(x))
        features = [x]
        for i, depth in enumerate(DEPTHS, 1):
            x = DenseBlock(depth, self.norm, self.dtype, name=f"denseblock{i}")(x)
            if i < len(DEPTHS):
                x = Transition(self.norm, self.dtype, name=f"transition{i}")(x)
            features.append(x)
        return features
