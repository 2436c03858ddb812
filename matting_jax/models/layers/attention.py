"""Guided contextual attention (Li and Lu, AAAI 2020), exact, in memory linear in the image.

Every place of a map is rebuilt from patches of the whole map, weighted by how alike the patches of
a guide are. The paper's convolutions by patches multiply each pixel of two maps once for each pair
of patches that overlaps it. Here each pair of pixels is multiplied once, and the overlap is summed
on the products, or on the weights: 576 multiply-adds for each pair of places in place of 2624.
Source: Yaoyi-Li/GCA-Matting, networks/ops.py.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.models.layers.convolutions import Conv

Array = jax.Array

SELF_PENALTY = 1e4
LEAST_NORM = 1e-4
NEVER = -1e30  # the score of keys that are none
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
NINE = [(i, j) for i in range(3) for j in range(3)]

xavier = nn.initializers.xavier_uniform()


class GuidedContextualAttention(nn.Module):
    """Features of unknown places replenished by those of places that look alike.

    x [B, H, W, C], features of the alpha; guide [B, H, W, G], those of the image, or None to
    compare places by x; unknown [B, H, W] with 1 where alpha is sought -> [B, H, W, C]. H and W are
    even. Begins training as nearly the identity.
    """

    norm: Any
    dtype: Any = None
    tile: int = 17

    @nn.compact
    def __call__(self, x: Array, guide: Array | None, unknown: Array) -> Array:
        features = x.shape[-1]
        conv = partial(Conv, kernel_size=1, kernel_init=xavier, dtype=self.dtype)
        guide = conv(features // 2, name="guidance_conv")(x if guide is None else guide)
        y = contextual_attention(guide[:, ::2, ::2], x, unknown[:, ::2, ::2], self.tile)
        y = conv(features, use_bias=False, name="W_0")(y)
        return self.norm(scale_init=nn.initializers.constant(1e-3), name="W_1")(y) + x


def contextual_attention(guide: Array, values: Array, unknown: Array, tile: int = 17) -> Array:
    """`values` [B, 2h, 2w, D] rebuilt from their own 4x4 patches: [B, 2h, 2w, D].

    The weights are a softmax over the similarity of 3x3 patches of `guide` [B, h, w, C], which
    `unknown` [B, h, w], 1 or 0, scales by whether the patch read from has an unknown pixel; no such
    patch reads itself. Computed in float32 or more, in tiles of about `tile` x `tile` places that
    the gradient computes again: the memory is tile^2 h w numbers.
    """
    wide = jnp.promote_types(values.dtype, jnp.float32)
    inputs = (x.astype(wide) for x in (guide, values, unknown))
    return jax.vmap(partial(attend_one, tile=tile))(*inputs).astype(values.dtype)


def attend_one(guide: Array, values: Array, unknown: Array, tile: int) -> Array:
    """`contextual_attention` of one sample, [h, w, C], [2h, 2w, D] and [h, w].

    A patch of the guide begins at its place k in the padded guide, so that the product of patches
    k and q is the sum over the nine shifts d of the products of pixels k + d and q + d. Padded
    values are seen as (h + 1) x (w + 1) cells of 2x2 pixels. The patch of k is the cells k + e for
    the four corners e, and q writes to the cells q + e: cell p of the result takes cell m with the
    sum over e of the weights between m - e and q = p - e.

    Keys are flattened with rows of w + 2, whose last two are none; a shift is then an offset.
    They begin one row and one key early, and end one row late, for the shifts to stay inside.
    """
    height, width, _ = guide.shape
    row = width + 2
    early = row + 1
    count = (height + 2) * row + 1
    cell_count = (height + 1) * row

    guide = reflect(guide)
    pixels = jnp.pad(guide.reshape(-1, guide.shape[-1]), ((early, early + 1), (0, 0)))
    squares = jnp.sum(guide * guide, -1)
    near_unknown = box(reflect(unknown)) > 0
    scale = jnp.where(near_unknown, *mask_scales(unknown))
    scale = scale * lax.rsqrt(jnp.maximum(box(squares), LEAST_NORM**2))
    penalty = jnp.where(near_unknown, -jnp.asarray(SELF_PENALTY, guide.dtype), 0)

    def flat(x, fill):
        return jnp.pad(
            jnp.pad(x, ((1, 1), (0, 2)), constant_values=fill).ravel(), (1, 0), constant_values=fill
        )

    key_scale, key_bias = flat(scale, 0), flat(jnp.zeros_like(scale), NEVER)

    cells = reflect(values).reshape(height + 1, 2, width + 1, 2, -1).swapaxes(1, 2)
    cells = cells.reshape(height + 1, width + 1, -1) / 4
    cells = jnp.pad(cells, ((0, 0), (0, 1), (0, 0))).reshape(cell_count, -1)

    (rows, tile_y), (columns, tile_x) = tiles(height + 1, tile), tiles(width + 1, tile)
    size = tile_y + 1, tile_x + 1

    def from_before(x, after):
        """x [h, w] from place -1 on, as far as the tiles reach and `after` further, with zeros."""
        more = rows * tile_y + after - x.shape[0], columns * tile_x + after - x.shape[1]
        return jnp.pad(x, ((1, more[0]), (1, more[1]), *[(0, 0)] * (x.ndim - 2)))

    queries = from_before(guide, 2)
    penalty = from_before(penalty, 0)
    is_query = from_before(jnp.ones((height, width), bool), 0)

    @jax.checkpoint
    def tile_of_cells(corner):
        y, x = corner
        near = lax.dynamic_slice(queries, (y, x, 0), (tile_y + 3, tile_x + 3, queries.shape[-1]))
        products = jnp.einsum("yxc,kc->yxk", near, pixels, precision="highest")
        scores = sum(
            products[i : i + size[0], j : j + size[1], i * row + j : i * row + j + count]
            for i, j in NINE
        )
        scores = scores * key_scale + key_bias
        # Element by element: a comparison of all keys with all queries costs more than the sum.
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
    result = lax.map(tile_of_cells, tuple(corners))
    result = result.reshape(rows, columns, tile_y, tile_x, 2, 2, -1).transpose(0, 2, 4, 1, 3, 5, 6)
    result = result.reshape(2 * rows * tile_y, 2 * columns * tile_x, -1)
    return result[1 : 2 * height + 1, 1 : 2 * width + 1]


def mask_scales(unknown: Array) -> tuple[Array, Array]:
    """What the scores of unknown and of known keys are multiplied by: the commoner kind's by more.

    unknown [h, w], 1 or 0; both scales lie in [0.1, 10].
    """
    share = jnp.mean(unknown)
    scale = jnp.sqrt(jnp.clip(share / jnp.maximum(1 - share, 1e-9), 0.01, 100))
    return scale, 1 / scale


def reflect(x: Array) -> Array:
    """x [H, W, ...] with one row and column more on each side, the edge not repeated."""
    return jnp.pad(x, ((1, 1), (1, 1), *[(0, 0)] * (x.ndim - 2)), mode="reflect")


def box(padded: Array) -> Array:
    """Sums of the 3x3 windows of padded [h + 2, w + 2]: [h, w]."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return sum(padded[i : i + height, j : j + width] for i, j in NINE)


def tiles(places: int, tile: int) -> tuple[int, int]:
    """Into how many tiles of which size, about `tile`, the places of an axis are divided.

    Equal ones, so that 2^n + 1 places do not leave a tile almost empty.
    """
    number = math.ceil(places / tile)
    return number, math.ceil(places / number)
