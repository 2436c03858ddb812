"""Windows cut out of images at places that are known only when the program runs, and put back."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def cut(x: Array, rows: Array, columns: Array, size: int) -> Array:
    """The windows of x [B, H, W, C] whose first pixels are at `rows` and `columns` [B, n].

    Returns [B * n, size, size, C], those of the first image first.
    """

    def window(image: Array, row: Array, column: Array) -> Array:
        shape = (size, size, image.shape[-1])
        return jax.lax.dynamic_slice(image, (row, column, 0), shape)

    windows = jax.vmap(jax.vmap(window, (None, 0, 0)))(x, rows, columns)
    return windows.reshape(-1, size, size, x.shape[-1])


def put(x: Array, cells: Array, patches: Array, valid: Array) -> Array:
    """x [B, H, W, C] with whole cells of n x n pixels replaced where `valid` [B, k] is 1.

    `patches` [B * k, n, n, C]; `cells` [B, k]: different numbers of cells, row by row.
    """
    batch, height, width, channels = x.shape
    size = patches.shape[1]
    across = width // size
    rows = jnp.where(valid > 0, cells // across, height)  # beyond the image: nothing is put there
    columns = cells % across
    x = x.reshape(batch, height // size, size, across, size, channels)
    sample = jnp.arange(batch)[:, None]
    patches = patches.reshape(*cells.shape, *patches.shape[1:])
    x = x.at[sample, rows, :, columns].set(patches, mode="drop", unique_indices=True)
    return x.reshape(batch, height, width, channels)
