"""The normalisation of MODNet and its convolution blocks.

Source: ZHKKKe/MODNet, src/models/modnet.py.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.models.layers.convolutions import Conv, UpsampledConv
from matting_jax.models.layers.dtypes import at_least_float32
from matting_jax.models.layers.norms import EPSILON, Affine, instance_norm, instance_statistics

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
        norm = self.batch_norm(name="bnorm")
        scale, bias = Affine(instance.shape[-1], name="inorm")() if self.affine else (1.0, 0.0)
        if not norm.use_running_average:
            normed = (instance_norm(instance) * scale + bias).astype(x.dtype)
            return jnp.concatenate([norm(batch), normed], axis=-1)
        # One pass over all channels: joining both halves takes longer to run and to compile.
        mean, var = instance_statistics(at_least_float32(instance))
        var = var + EPSILON
        # XLA for CPU compiles this several times faster than 1 / sqrt(var), which becomes `rsqrt`.
        inverse = jnp.sqrt(var) / var
        factor, shift = (jnp.broadcast_to(y, mean.shape) for y in norm(batch, as_affine=True))
        centre = jnp.concatenate([jnp.zeros_like(mean), mean], axis=-1)
        factor = jnp.concatenate([factor, inverse * scale], axis=-1)
        shift = jnp.concatenate([shift, jnp.broadcast_to(bias, mean.shape)], axis=-1)
        return ((x - centre) * factor + shift).astype(x.dtype)


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
