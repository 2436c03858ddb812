"""Convolutions under spectral normalisation (Miyato et al., 2018), as GCA's official code has it.

The kernel is divided by u . W v, where W is the kernel as a matrix, and u and v approach its first
singular vectors by one power iteration in each training step. The rows are the output's channels,
those of the input in a transposed convolution. The vectors lie in the collection `spectral`, in the
order of the official files. Source: Yaoyi-Li/GCA-Matting, networks/ops.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

from matting_jax.models.layers.convolutions import DIMENSIONS, convolve
from matting_jax.models.layers.initialisers import Init

Array = jax.Array

# PyTorch's default for convolutions: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def unit(x: Array) -> Array:
    """Vector x at length 1, without gradient; zero stays zero."""
    return lax.stop_gradient(x / (jnp.linalg.norm(x) + 1e-12))


def spectral_norm(module: nn.Module, kernel: Array, update: bool) -> Array:
    """`kernel` [kh, kw, C, rows] divided by u . W v, with its sign.

    `module` keeps u [rows] and v [C * kh * kw]; with `update` both take one power iteration first.
    The gradient sees them as constants.
    """

    height, width, channels, rows = kernel.shape

    @cache  # each draw more takes long to compile
    def drawn() -> tuple[Array, Array]:
        size = rows + kernel.size // rows
        both = jax.random.normal(module.make_rng("params"), (size,), kernel.dtype)
        return unit(both[:rows]), unit(both[rows:])

    stored_u = module.variable("spectral", "u", lambda: drawn()[0])
    stored_v = module.variable("spectral", "v", lambda: drawn()[1])
    matrix = kernel.reshape(-1, rows)  # W transposed, its columns by (kh, kw, C) as they lie
    u = stored_u.value
    update = update and not module.is_initializing()
    if update:
        v = unit(jnp.matmul(matrix, u, precision="highest"))
    else:
        v = stored_v.value.reshape(channels, height, width).transpose(1, 2, 0).ravel()
    product = jnp.matmul(v, matrix, precision="highest")
    if update:
        u = unit(product)
        stored_u.value = u
        stored_v.value = v.reshape(height, width, channels).transpose(2, 0, 1).ravel()
    return kernel / jnp.sum(product * u)


class SpectralConv(nn.Module):
    """Convolution without bias, its kernel spectrally normalised.

    x [B, H, W, C] -> [B, H', W', features]; `padding` in pixels, None: kernel_size // 2. Parameter
    `kernel` [k, k, C, features]. `update` takes one power iteration, as each training step does.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int | None = None
    update: bool = False
    dtype: Any = None
    kernel_init: Init = torch_uniform

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = self.kernel_size
        shape = (size, size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        kernel = spectral_norm(self, kernel, self.update)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        return convolve(x, kernel, self.stride, self.padding)


class SpectralConvTranspose(nn.Module):
    """Transposed 4x4 convolution with stride 2 and padding 1, without bias, its kernel normalised.

    x [B, H, W, C] -> [B, 2H, 2W, features]. Parameter `kernel` [4, 4, features, C], as
    `jax.lax.conv_transpose(transpose_kernel=True)` reads it. `update` as of `SpectralConv`.
    """

    features: int
    update: bool = False
    dtype: Any = None
    kernel_init: Init = torch_uniform

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", self.kernel_init, (4, 4, self.features, x.shape[-1]))
        kernel = spectral_norm(self, kernel, self.update)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        return double(x, kernel)


def double(x: Array, kernel: Array) -> Array:
    """Transposed convolution of x [B, H, W, C] by kernel [4, 4, D, C]: [B, 2H, 2W, D].

    Output pixels 2i - 1 and 2i read the inputs i - 1 and i alone, so that a convolution of 2x2 taps
    gives all four pixels of a cell: it multiplies by none of the zeros between spread inputs.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[2]
    # Tap 2a + r of each axis carries an input to pixel r of the cell a further on.
    taps = kernel.reshape(2, 2, 2, 2, features, channels)[::-1, :, ::-1]
    taps = taps.transpose(0, 2, 5, 1, 3, 4).reshape(2, 2, channels, 4 * features)
    cells = lax.conv_general_dilated(
        x, taps, (1, 1), ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS
    )
    cells = cells.reshape(batch, height + 1, width + 1, 2, 2, features).transpose(0, 1, 3, 2, 4, 5)
    pixels = cells.reshape(batch, 2 * height + 2, 2 * width + 2, features)
    return pixels[:, 1:-1, 1:-1]
