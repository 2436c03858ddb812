"""Convolutions with spectral normalisation (Miyato et al., 2018), as in GCA's official code.

The kernel is divided by u . W v, where W is the kernel as a matrix, and u and v approach its first
singular vectors by one power iteration in each training step. The rows of W are the output
channels, in a transposed convolution the input channels. The vectors are stored in the collection
`spectral`, in the order of the official files. Source: Yaoyi-Li/GCA-Matting, networks/ops.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

from matting_jax.models.layers.convolutions import convolve
from matting_jax.models.layers.initialisers import Init, draw, fan_in_uniform

Array = jax.Array


def fold_spectral_norm(
    params: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the normalised `kernel`."""
    kernel = params["kernel"]
    height, width, channels, rows = kernel.shape
    v = vectors["v"].reshape(channels, height, width).transpose(1, 2, 0).ravel()
    product = v.astype(np.float64) @ kernel.reshape(-1, rows)
    return {"kernel": (kernel / (product @ vectors["u"])).astype(kernel.dtype)}


def unit_vector(x: Array) -> Array:
    """Scales vector x to length 1, without gradient; zero stays zero."""
    return lax.stop_gradient(x / (jnp.linalg.norm(x) + 1e-12))


@partial(jax.jit, static_argnames="rows")
def unit_vectors(vectors: Array, rows: int) -> tuple[Array, Array]:
    """Returns the first `rows` values and the others, each as a vector of length 1."""
    return unit_vector(vectors[:rows]), unit_vector(vectors[rows:])


def normalised_kernel(module: SpectralConv | SpectralConvTranspose, shape: tuple) -> Array:
    """Returns the kernel of `module`: of the collection `folded`, if it is there, or computed."""
    if not module.update and module.has_variable("folded", "kernel"):
        return module.get_variable("folded", "kernel")
    kernel = module.param("kernel", module.kernel_init, shape)
    return spectral_norm(module, kernel, module.update)


def spectral_norm(module: nn.Module, kernel: Array, update: bool) -> Array:
    """Divides `kernel` [kh, kw, C, rows] by u . W v, which may be negative.

    `module` stores u [rows] and v [C * kh * kw]; `update` first applies one power iteration to
    them. Both are constants to the gradient.
    """
    height, width, channels, rows = kernel.shape

    @cache  # u and v are parts of one draw
    def initial_vectors() -> tuple[Array, Array]:
        size = rows + kernel.size // rows
        both = draw(module.make_rng("params"), (size,), kernel.dtype, "normal", 1.0)
        return unit_vectors(both, rows)

    stored_u = module.variable("spectral", "u", lambda: initial_vectors()[0])
    stored_v = module.variable("spectral", "v", lambda: initial_vectors()[1])
    matrix = kernel.reshape(-1, rows)  # W transposed, with v's elements by (kh, kw, C)
    u = stored_u.value
    update = update and not module.is_initializing()
    if update:
        v = unit_vector(jnp.matmul(matrix, u, precision="highest"))
    else:
        v = stored_v.value.reshape(channels, height, width).transpose(1, 2, 0).ravel()
    product = jnp.matmul(v, matrix, precision="highest")
    if update:
        u = unit_vector(product)
        stored_u.value = u
        stored_v.value = v.reshape(height, width, channels).transpose(2, 0, 1).ravel()
    return kernel / jnp.sum(product * u)


class SpectralConv(nn.Module):
    """Convolution with a spectrally normalised kernel, without bias.

    x [B, H, W, C] -> [B, H', W', features]. `padding` in pixels; None is kernel_size // 2.
    Parameter `kernel` [k, k, C, features]. `update` applies one power iteration, for a training
    step.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int | None = None
    update: bool = False
    dtype: Any = None
    kernel_init: Init = fan_in_uniform

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = self.kernel_size
        shape = (size, size, x.shape[-1], self.features)
        kernel = normalised_kernel(self, shape)
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        return convolve(x, kernel, self.stride, self.padding)


class SpectralConvTranspose(nn.Module):
    """Transposed 4x4 convolution, stride 2, padding 1, with a spectrally normalised kernel.

    x [B, H, W, C] -> [B, 2H, 2W, features], without bias. Parameter `kernel` [4, 4, features, C],
    as in `jax.lax.conv_transpose(transpose_kernel=True)`. `update` as in `SpectralConv`.
    """

    features: int
    update: bool = False
    dtype: Any = None
    kernel_init: Init = fan_in_uniform

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = normalised_kernel(self, (4, 4, self.features, x.shape[-1]))
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        return conv_transpose(x, kernel)


def conv_transpose(x: Array, kernel: Array) -> Array:
    """Convolves x [B, H, W, C] transposed with kernel [4, 4, D, C]: [B, 2H, 2W, D].

    Output pixels 2i - 1 and 2i read only inputs i - 1 and i, so a convolution with 2x2 taps
    computes all four pixels of a cell. It avoids products with the zeros between spread inputs.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[2]
    # Along each axis, tap 2a + r maps input i to pixel r of cell i + a.
    taps = kernel.reshape(2, 2, 2, 2, features, channels)[::-1, :, ::-1]
    taps = taps.transpose(0, 2, 5, 1, 3, 4).reshape(2, 2, channels, 4 * features)
    cells = convolve(x, taps, padding=1)
    cells = cells.reshape(batch, height + 1, width + 1, 2, 2, features).transpose(0, 1, 3, 2, 4, 5)
    pixels = cells.reshape(batch, 2 * height + 2, 2 * width + 2, features)
    return pixels[:, 1:-1, 1:-1]
