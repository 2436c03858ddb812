"""Guided contextual attention (Li and Lu, AAAI 2020), exact, with memory linear in the image.

Each position of a map is rebuilt from patches of the whole map, weighted by the similarity of the
patches of a guide. The paper convolves with patches, which multiplies a pair of pixels once for
each pair of patches that contains it. Here each pair of pixels is multiplied once, and overlapping
patches are summed over the products, or over the weights: 576 multiply-adds instead of 2624 for
each pair of positions. Source: Yaoyi-Li/GCA-Matting, networks/ops.py.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.forms import on_cpu
from matting_jax.models.layers.initialisers import xavier_uniform

Array = jax.Array

SELF_PENALTY = 1e4
MIN_NORM = 1e-4
PADDING_SCORE = -1e30  # gives keys in the padding weight 0
NORMALISED = ("keys", "both")  # patches whose length is divided out of the scores
# Sides of tiles: a CPU's cache holds small ones; on an H200 the attention of a photo of 2048 x 2048
# takes 16.7 ms with 33 and 22.2 ms with 17.
CPU_TILE, ACCELERATOR_TILE = 17, 33
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
OFFSETS = [(i, j) for i in range(3) for j in range(3)]


class GuidedContextualAttention(nn.Module):
    """Adds to the features of each position those of similar positions.

    x [B, H, W, C], features of the alpha; guide [B, H, W, G], features of the image, or None to
    compare positions by x; unknown [B, H, W], 1 where alpha is unknown -> [B, H, W, C]. H and W are
    even. At initialisation it is nearly the identity. `normalise` is that of
    `contextual_attention`.
    """

    norm: Any
    dtype: Any = None
    tile: int | None = None
    normalise: str = "keys"

    @nn.compact
    def __call__(self, x: Array, guide: Array | None, unknown: Array) -> Array:
        features = x.shape[-1]
        conv = partial(Conv, kernel_size=1, kernel_init=xavier_uniform, dtype=self.dtype)
        guide = conv(features // 2, name="guidance_conv")(x if guide is None else guide)
        y = contextual_attention(
            guide[:, ::2, ::2], x, unknown[:, ::2, ::2], self.tile, self.normalise
        )
        y = conv(features, use_bias=False, name="W_0")(y)
        return self.norm(scale_init=nn.initializers.constant(1e-3), name="W_1")(y) + x


def contextual_attention(
    guide: Array,
    values: Array,
    unknown: Array,
    tile: int | None = None,
    normalise: str = "keys",
) -> Array:
    """Rebuilds `values` from their own 4x4 patches, in at least float32.

    The weights are a softmax over the similarity of 3x3 patches of `guide`. It is scaled by whether
    the patch that is read has an unknown pixel; such a patch does not read itself.

    Args:
        guide: [B, h, w, C].
        values: [B, 2h, 2w, D].
        unknown: [B, h, w], 1 or 0.
        tile: about the side of a tile, which the gradient recomputes; memory is tile^2 h w numbers.
            None selects it by the platform.
        normalise: "keys" divides the products by the length of the patch that is read, as the
            released code does; "both" also by that of the patch that reads, so that the similarity
            is the paper's cosine.

    Returns:
        [B, 2h, 2w, D] in the dtype of `values`.

    Raises:
        ValueError: for another `normalise`.
    """
    one_of(normalise, NORMALISED, "normalise of the attention")
    wide = jnp.promote_types(values.dtype, jnp.float32)
    inputs = (x.astype(wide) for x in (guide, values, unknown))
    if tile is None:
        tile = CPU_TILE if on_cpu() else ACCELERATOR_TILE
    attend = partial(attend_one, tile=tile, normalise=normalise)
    return jax.vmap(attend)(*inputs).astype(values.dtype)


def attend_one(guide: Array, values: Array, unknown: Array, tile: int, normalise: str) -> Array:
    """Computes `contextual_attention` of one sample: [h, w, C], [2h, 2w, D] and [h, w].

    Patch k of the guide starts at position k of the padded guide. The product of patches k and q is
    therefore the sum over the nine offsets d of the products of pixels k + d and q + d. The padded
    values are (h + 1) x (w + 1) cells of 2x2 pixels. Key k reads the cells k + e for the four
    corners e, and query q writes to the cells q + e. The weight of cell m in cell p of the result
    is therefore the sum over e of the weights between key m - e and query p - e.

    Keys are flattened in rows of w + 2, whose last two are padding, so that a shift is an offset.
    One row and one key of padding before them, and one row after, keep all shifts inside.
    """
    height, width, _ = guide.shape
    row = width + 2
    early = row + 1
    count = (height + 2) * row + 1
    cell_count = (height + 1) * row

    guide = reflect(guide)
    pixels = jnp.pad(guide.reshape(-1, guide.shape[-1]), ((early, early + 1), (0, 0)))
    squares = jnp.sum(guide * guide, -1)
    near_unknown = sum_3x3(reflect(unknown)) > 0
    scale = jnp.where(near_unknown, *mask_scales(unknown))
    inverse_length = lax.rsqrt(jnp.maximum(sum_3x3(squares), MIN_NORM**2))
    scale = scale * inverse_length
    penalty = jnp.where(near_unknown, -jnp.asarray(SELF_PENALTY, guide.dtype), 0)

    def flatten_keys(x, fill):
        return jnp.pad(
            jnp.pad(x, ((1, 1), (0, 2)), constant_values=fill).ravel(), (1, 0), constant_values=fill
        )

    key_scale, key_bias = flatten_keys(scale, 0), flatten_keys(jnp.zeros_like(scale), PADDING_SCORE)

    cells = reflect(values).reshape(height + 1, 2, width + 1, 2, -1).swapaxes(1, 2)
    cells = cells.reshape(height + 1, width + 1, -1) / 4
    cells = jnp.pad(cells, ((0, 0), (0, 1), (0, 0))).reshape(cell_count, -1)

    (rows, tile_y), (columns, tile_x) = split_axis(height + 1, tile), split_axis(width + 1, tile)
    size = tile_y + 1, tile_x + 1

    def pad_to_tiles(x, extra):
        """Pads x [h, w] with zeros: one before, and after it up to `extra` beyond the tiles."""
        after = rows * tile_y + extra - x.shape[0], columns * tile_x + extra - x.shape[1]
        return jnp.pad(x, ((1, after[0]), (1, after[1]), *[(0, 0)] * (x.ndim - 2)))

    queries = pad_to_tiles(guide, 2)
    query_scale = pad_to_tiles(inverse_length, 0) if normalise == "both" else None
    penalty = pad_to_tiles(penalty, 0)
    is_query = pad_to_tiles(jnp.ones((height, width), bool), 0)

    @jax.checkpoint
    def attend_tile(corner):
        y, x = corner
        window = lax.dynamic_slice(queries, (y, x, 0), (tile_y + 3, tile_x + 3, queries.shape[-1]))
        products = jnp.einsum("yxc,kc->yxk", window, pixels, precision="highest")
        scores = sum(
            products[i : i + size[0], j : j + size[1], i * row + j : i * row + j + count]
            for i, j in OFFSETS
        )
        if query_scale is not None:
            scores = scores * lax.dynamic_slice(query_scale, corner, size)[..., None]
        scores = scores * key_scale + key_bias
        # Scattered, because comparing all keys with all queries costs more than the sum.
        i, j = jnp.arange(size[0])[:, None], jnp.arange(size[1])
        own = early + (y - 1 + i) * row + x - 1 + j
        scores = scores.at[i, j, own].add(lax.dynamic_slice(penalty, corner, size), mode="drop")

        weights = jnp.exp(scores - lax.stop_gradient(jnp.max(scores, -1, keepdims=True)))
        total = jnp.sum(weights, -1, keepdims=True)
        inside = lax.dynamic_slice(is_query, corner, size)[..., None]
        weights = weights * (1 / jnp.where(inside, total, jnp.inf))
        weights = sum(
            weights[
                1 - i : 1 - i + tile_y,
                1 - j : 1 - j + tile_x,
                early - i * row - j : early - i * row - j + cell_count,
            ]
            for i, j in CORNERS
        )
        return jnp.einsum("yxm,mc->yxc", weights, cells, precision="highest")

    corners = jnp.arange(rows)[:, None] * tile_y, jnp.arange(columns) * tile_x
    corners = [x.ravel() for x in jnp.broadcast_arrays(*corners)]
    result = lax.map(attend_tile, tuple(corners))
    result = result.reshape(rows, columns, tile_y, tile_x, 2, 2, -1).transpose(0, 2, 4, 1, 3, 5, 6)
    result = result.reshape(2 * rows * tile_y, 2 * columns * tile_x, -1)
    return result[1 : 2 * height + 1, 1 : 2 * width + 1]


def mask_scales(unknown: Array) -> tuple[Array, Array]:
    """Returns the factors of the scores of unknown and of known keys, larger for the more frequent.

    unknown [h, w], 1 or 0; both factors are in [0.1, 10].
    """
    share = jnp.mean(unknown)
    scale = jnp.sqrt(jnp.clip(share / jnp.maximum(1 - share, 1e-9), 0.01, 100))
    return scale, 1 / scale


def reflect(x: Array) -> Array:
    """Pads x [H, W, ...] by reflection with one row and column on each side."""
    return jnp.pad(x, ((1, 1), (1, 1), *[(0, 0)] * (x.ndim - 2)), mode="reflect")


def sum_3x3(padded: Array) -> Array:
    """Sums the 3x3 windows of padded [h + 2, w + 2]: [h, w]."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return sum(padded[i : i + height, j : j + width] for i, j in OFFSETS)


def split_axis(length: int, tile: int) -> tuple[int, int]:
    """Splits an axis into tiles of about size `tile` and returns their number and size.

    They have equal sizes, so that a length of 2^n + 1 does not leave a tile almost empty.
    """
    number = math.ceil(length / tile)
    return number, math.ceil(length / number)
