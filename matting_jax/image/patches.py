"""Cropping and replacing windows of images at traced positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def cut(x: Array, rows: Array, columns: Array, size: int) -> Array:
    """Crops windows from images.

    Args:
        x: images [B, H, W, C].
        rows: first row of each window, int [B, n].
        columns: first column of each window, int [B, n].
        size: height and width of the windows.

    Returns:
        [B * n, size, size, C], grouped by image.
    """

    def window(image: Array, row: Array, column: Array) -> Array:
        shape = (size, size, image.shape[-1])
        # Of the type of the others, also where Python's integers have 64 bits.
        channel = jnp.zeros((), row.dtype)
        return jax.lax.dynamic_slice(image, (row, column, channel), shape)

    windows = jax.vmap(jax.vmap(window, (None, 0, 0)))(x, rows, columns)
    return windows.reshape(-1, size, size, x.shape[-1])


def put(x: Array, cells: Array, patches: Array, valid: Array) -> Array:
    """Replaces cells of n x n pixels of images.

    Args:
        x: images [B, H, W, C].
        cells: numbers of the cells, row by row, int [B, k]; distinct for each image.
        patches: new pixels [B * k, n, n, C].
        valid: 1 for the cells to replace, [B, k].
    """
    batch, height, width, channels = x.shape
    size = patches.shape[1]
    across = width // size
    # Rows outside the image are dropped below.
    rows = jnp.where(valid > 0, cells // across, height)
    columns = cells % across
    x = x.reshape(batch, height // size, size, across, size, channels)
    sample = jnp.arange(batch)[:, None]
    patches = patches.reshape(*cells.shape, *patches.shape[1:])
    x = x.at[sample, rows, :, columns].set(patches, mode="drop", unique_indices=True)
    return x.reshape(batch, height, width, channels)
