"""JPEG compression artefacts on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.image.geometry import upsample

Array = jax.Array

# The quantisation tables of annex K of ITU-T T.81, for luma and chroma.
LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# RGB to YCbCr of JFIF, without the chroma offset.
YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)

# The orthonormal DCT: row k is the cosine of k half waves.
COSINES = np.sqrt(2 / 8) * np.cos(np.pi / 8 * np.arange(8)[:, None] * (np.arange(8) + 0.5))
COSINES[0] /= np.sqrt(2)


def recompress(image: Array, quality: Array | int) -> Array:
    """Compresses and decompresses `image` [H, W, 3] in [0, 1] as a JPEG of `quality` 1 to 100.

    Equals libjpeg's default up to rounding of bytes: chroma at half size, upsampled bilinearly. H
    and W must be multiples of 16; `quality` may be traced.
    """
    height, width, _ = image.shape
    if height % 16 or width % 16:
        raise ValueError(f"the sides must be multiples of 16, got {height}x{width}")
    matrix = jnp.asarray(YCBCR, image.dtype)
    pixels = jnp.round(jnp.matmul(jnp.round(255 * image), matrix.T, precision="highest"))
    luma = quantise_blocks(pixels[..., 0] - 128, scale_table(LUMA, quality)) + 128
    # Means of four, which libjpeg rounds down and up alternately.
    halves = pixels[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).sum((1, 3))
    halves = jnp.floor((halves + 1 + jnp.arange(width // 2)[:, None] % 2) / 4)
    halves = [quantise_blocks(halves[..., i], scale_table(CHROMA, quality)) for i in range(2)]
    chroma = jnp.round(upsample(jnp.stack(halves, axis=-1)[None])[0])
    pixels = jnp.concatenate([luma[..., None], chroma], axis=-1)
    inverse = jnp.asarray(np.linalg.inv(YCBCR), image.dtype)
    pixels = jnp.matmul(pixels, inverse.T, precision="highest")
    return jnp.clip(jnp.round(pixels), 0, 255) / 255


def scale_table(table: np.ndarray, quality: Array | int) -> Array:
    """Scales a quantisation table to a quality, as libjpeg does."""
    quality = jnp.asarray(quality)
    percent = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return jnp.clip((table * percent + 50) // 100, 1, 255)


def quantise_blocks(x: Array, table: Array) -> Array:
    """Rounds the DCT of each 8 x 8 block of x [H, W], centred at 0, to multiples of `table`."""
    cosines = jnp.asarray(COSINES, x.dtype)
    table = table.astype(x.dtype)
    blocks = x.reshape(x.shape[0] // 8, 8, x.shape[1] // 8, 8)
    waves = jnp.einsum("ki,lj,aibj->akbl", cosines, cosines, blocks, precision="highest")
    step = table[:, None]
    waves = step * jnp.round(waves / step)
    blocks = jnp.einsum("ki,lj,akbl->aibj", cosines, cosines, waves, precision="highest")
    return jnp.clip(jnp.round(blocks), -128, 127).reshape(x.shape)
