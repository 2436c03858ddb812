"""The normalisation of MODNet and its convolution blocks.

Source: ZHKKKe/MODNet, src/models/modnet.py.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv, UpsampledConv
from matting_jax.models.layers.norms import InstanceNorm, instance_norm

Array = jax.Array


class IBNorm(nn.Module):
    """Batch normalisation of the first half of the channels, instance normalisation of the second.

    Batch normalisation has a scale and a bias; with `affine` instance normalisation too.
    """

    batch_norm: Any
    affine: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, instance = jnp.split(x, 2, axis=-1)
        norm = InstanceNorm(name="inorm") if self.affine else instance_norm
        return jnp.concatenate([self.batch_norm(name="bnorm")(batch), norm(instance)], axis=-1)


class ConvIBNormRelu(nn.Module):
    """Convolution with bias, `norm` (IBNorm) and ReLU; only the convolution if `norm` is None.

    With `upsampled` the input is first enlarged to twice its size; then there is no stride or
    dilation.
    """

    features: int
    kernel_size: int
    norm: Any
    stride: int = 1
    dtype: Any = None
    upsampled: bool = False
    form: str = "auto"
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        options = {"dtype": self.dtype, "name": "layers_0"}
        if self.upsampled:
            x = UpsampledConv(self.features, self.kernel_size, form=self.form, **options)(x)
        else:
            options |= {"stride": self.stride, "dilation": self.dilation}
            x = Conv(self.features, self.kernel_size, **options)(x)
        return x if self.norm is None else nn.relu(self.norm(name="layers_1")(x))
