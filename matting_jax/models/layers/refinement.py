"""The refiner of BackgroundMattingV2: alpha and foreground at full size, where they are wrong.

It works on cells of 4x4 pixels, each cut out with the pixels that its kernels read around it, or on
the whole image where that costs less. Both give the same result to rounding.
Source: PeterL1n/BackgroundMattingV2, model/refiner.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.image.geometry import enlarge_nearest
from matting_jax.image.patches import cut, put
from matting_jax.models.layers.cells import CellConv, from_cells, to_cells
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.dtypes import as_dtype
from matting_jax.models.layers.forms import is_cpu_form
from matting_jax.models.layers.initialisers import fan_in_uniform, uniform_of_fan_in

Array = jax.Array

CELL = 4  # side, in pixels, of the cells that are refined
# Numbers of patches that thresholding can refine, as shares of all cells; above them it refines the
# whole image.
CAPACITIES = (1 / 64, 1 / 32, 1 / 16, 1 / 8)


class Refiner(nn.Module):
    """Refines alpha and residual, of patches or of whole images: [N, H', W', 4].

    half [N, h, w, 42]: hidden features, alpha, residual, photo and background at half size; whole
    [N, H, W, 6]: photo and background. The convolutions have no padding, so both inputs extend
    beyond the result as far as the kernels reach. `valid` [N] tells that the inputs are patches; it
    is 1 for those that count in batch statistics, 0 for the others.
    """

    norm: Any
    kernel_size: int = 3
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, half: Array, whole: Array, valid: Array | None = None) -> Array:
        options = {"dtype": self.dtype, "kernel_init": fan_in_uniform}
        conv = partial(Conv, kernel_size=self.kernel_size, padding=0, **options)
        by_cells = is_cpu_form(self.form) and self.kernel_size == 3

        def norm(x, i):
            return nn.relu(self.norm(name=f"bn{i}")(x, valid))

        x = as_dtype(half, self.dtype)
        for i, features in ((1, 24), (2, 16)):
            x = norm(conv(features, use_bias=False, name=f"conv{i}")(x), i)
        whole = as_dtype(whole, self.dtype)
        last = {"bias_init": uniform_of_fan_in(self.kernel_size**2 * 12), "name": "conv4"}
        if by_cells:
            x = norm(CellConv(12, use_bias=False, name="conv3", **options)(x, to_cells(whole)), 3)
            x = from_cells(CellConv(4, **options, **last)(None, x.reshape(*x.shape[:3], -1)))
        else:
            x = jnp.concatenate([enlarge_nearest(x, 2), whole], axis=-1)
            x = conv(4, **last)(norm(conv(12, use_bias=False, name="conv3")(x), 3))
        return x.astype(half.dtype)


class RefinerInputs(NamedTuple):
    """Inputs of `Refiner` for the whole image, and the result without it.

    Attributes:
        half: [B, H/2 + 6 margin, W/2 + 6 margin, 42].
        whole: photo and background [B, H + 4 margin, W + 4 margin, 3].
        coarse: alpha and residual of the base network at full size, [B, H, W, 4].
        margin: half of the refiner's kernel size.
    """

    half: Array
    whole: list[Array]
    coarse: Array
    margin: int


class Selection(NamedTuple):
    """The cells of 4x4 pixels that are refined."""

    mask: Array  # [B, H/4, W/4, 1], 1 for selected cells
    cells: Array  # candidates, largest errors first: indices [B, k], row by row
    valid: Array  # [B, k], 1 for candidates that are selected


def refine_image(refiner: Refiner, inputs: RefinerInputs, selection: Selection) -> Array:
    """Refines the whole image and keeps the result in the selected cells: [B, H, W, 4]."""
    selected = enlarge_nearest(selection.mask, CELL) > 0
    whole = jnp.concatenate(inputs.whole, axis=-1)
    return jnp.where(selected, refiner(inputs.half, whole), inputs.coarse)


def refine_patches(refiner: Refiner, inputs: RefinerInputs, selection: Selection) -> Array:
    """Refines the candidates as patches and puts back those that are selected: [B, H, W, 4]."""
    margin = inputs.margin
    rows, columns = jnp.divmod(selection.cells, inputs.coarse.shape[2] // CELL)
    patches = refiner(
        cut(inputs.half, 2 * rows, 2 * columns, 2 + 6 * margin),
        # Joined after they are cut, which copies less.
        jnp.concatenate([cut(x, 4 * rows, 4 * columns, 4 + 4 * margin) for x in inputs.whole], -1),
        selection.valid.reshape(-1),
    )
    return put(inputs.coarse, selection.cells, patches, selection.valid)


def refine_as_needed(refiner: Refiner, inputs: RefinerInputs, selection: Selection) -> Array:
    """Refines only as many candidates as are selected, up to the next of `CAPACITIES`.

    Above the last one it refines the whole image. Returns [B, H, W, 4].
    """
    capacities = [int(share * selection.mask[0].size) for share in CAPACITIES]

    def refine_first(refiner: Refiner, *, size: int) -> Array:
        cells, valid = selection.cells[:, :size], selection.valid[:, :size]
        return refine_patches(refiner, inputs, Selection(selection.mask, cells, valid))

    branches = [partial(refine_first, size=size) for size in capacities]
    branches.append(lambda refiner: refine_image(refiner, inputs, selection))
    needed = jnp.max(jnp.sum(selection.valid, axis=1))
    index = jnp.sum(needed > jnp.asarray(capacities))
    return nn.switch(index, branches, refiner, variables=["params", "batch_stats"])
