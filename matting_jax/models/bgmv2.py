"""BackgroundMattingV2 (Lin et al., CVPR 2021): alpha and foreground, given the background.

A base network predicts at a fraction of the photo's size, together with its expected error; a
refiner works at full size only where that error is large.
Source: PeterL1n/BackgroundMattingV2, model/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of
from matting_jax.image.geometry import enlarge_nearest, pad_to_multiple, padded_size, resize
from matting_jax.image.patches import cut, put
from matting_jax.models.backbones.mobilenet_v2 import MobileNetV2
from matting_jax.models.backbones.resnet import ResNet
from matting_jax.models.layers.activations import clip_unit
from matting_jax.models.layers.cells import CellConv, from_cells, to_cells
from matting_jax.models.layers.convolutions import Conv, pad_sides
from matting_jax.models.layers.dropout import dropout
from matting_jax.models.layers.dtypes import as_dtype
from matting_jax.models.layers.forms import is_cpu_form
from matting_jax.models.layers.initialisers import (
    fan_in_uniform,
    he_normal_fan_out,
    uniform_of_fan_in,
)
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.network import Network, Sizes
from matting_jax.models.sides import check_sides

Array = jax.Array
BACKBONES = ("resnet50", "resnet101", "mobilenet_v2")
MODES = ("sampling", "thresholding", "full")
RATES = (3, 6, 9)
HIDDEN = 32
CELL = 4  # side, in pixels, of the cells that are refined

# Cost of a cell refined as a patch, relative to its share of the whole image, by kernel size.
# Patches cost more because their windows overlap.
PATCH_COST = {1: 1, 3: 9}
# Numbers of patches that thresholding can refine, as shares of all cells; above them it refines the
# whole image.
CAPACITIES = (1 / 64, 1 / 32, 1 / 16, 1 / 8)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: context at several distances and of the whole image.

    x [B, h, w, C] -> [B, h, w, 256]. `keys`, one for each sample, drop half of the result.
    Source: torchvision/models/segmentation/deeplabv3.py.
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=fan_in_uniform)

        def block(x, name, size=1, rate=1, index=0):
            x = conv(256, size, dilation=rate, name=f"{name}_{index}")(x)
            return nn.relu(self.norm(name=f"{name}_{index + 1}")(x))

        scales = [block(x, "convs_0")]
        for i, rate in enumerate(RATES, 1):
            scales.append(block(x, f"convs_{i}", 3, rate))
        mean = block(jnp.mean(x, (1, 2), keepdims=True), "convs_4", index=1)
        scales.append(jnp.broadcast_to(mean, scales[0].shape))
        x = block(jnp.concatenate(scales, axis=-1), "project")
        return x if keys is None else dropout(x, keys, 0.5)


class Decoder(nn.Module):
    """Upsamples x [B, h, w, 256] with skip connections to the size of the last one.

    `skips` are features of increasing size. Returns [B, H, W, 37]: alpha, the residual of the
    foreground (3), error and hidden features (32).
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, skips: list[Array]) -> Array:
        conv = partial(Conv, dtype=self.dtype, kernel_init=fan_in_uniform)
        for i, (features, skip) in enumerate(zip((128, 64, 48), skips[:-1], strict=True), 1):
            x = jnp.concatenate([resize(x, *skip.shape[1:3]), skip], axis=-1)
            x = conv(features, use_bias=False, name=f"conv{i}")(x)
            x = nn.relu(self.norm(name=f"bn{i}")(x))
        x = jnp.concatenate([resize(x, *skips[-1].shape[1:3]), skips[-1]], axis=-1)
        bias_init = uniform_of_fan_in(9 * x.shape[-1])
        return conv(5 + HIDDEN, bias_init=bias_init, name="conv4")(x)


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


class BGMv2(nn.Module):
    """Alpha and foreground of what differs between a photo and its background.

    image, background [B, H, W, 3] float RGB in [0, 1]. Returns a dict, all in [0, 1] except
    `hidden`: alpha [B, H, W, 1] and foreground [B, H, W, 3]; with `refine` also coarse_alpha,
    coarse_foreground and coarse_error of the base network at `backbone_scale`, and refined
    [B, H/4, W/4, 1], 1 for refined cells; otherwise error [B, H, W, 1] and hidden [B, H, W, 32],
    at least 0. Raises ValueError for `refine` with H or W not a multiple of 4.

    `train` uses batch statistics, those of the refiner over the patches that it refines. `keys`,
    one random key for each sample, drop half of the context in training.

    Attributes:
        backbone: "resnet50", "resnet101" or "mobilenet_v2".
        refine_mode: "sampling" refines the `sample_pixels` with the largest errors, or all of a
            smaller image; "thresholding" those with an error above `threshold`; "full" all.
        backbone_scale: size of the base network's input relative to the photo, at most 0.5.
        kernel_size: of the refiner, 3 or 1.
        prevent_oversampling: lets sampling refine only cells with an error above 0.
        axis_name: computes batch statistics over all devices of this axis.
        frozen_statistics: uses the running statistics in training too.
        form: of the layers, see `layers.forms`.
    """

    backbone: str = "resnet50"
    refine: bool = True
    refine_mode: str = "sampling"
    backbone_scale: float = 0.25
    sample_pixels: int = 80_000
    threshold: float = 0.1
    kernel_size: int = 3
    prevent_oversampling: bool = True
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(
        self, image: Array, background: Array, *, train: bool = False, keys: Array | None = None
    ) -> dict[str, Array]:
        height, width = image.shape[1:3]
        self.check_fields()
        if self.refine:
            check_sides("BGMv2 with refinement", height, width, CELL)
        norm = batch_norm(self, train)
        both = small = (image, background)
        if self.refine:
            sides = [max(int(side * self.backbone_scale), 1) for side in (height, width)]
            small = [resize(x, *sides) for x in both]
        x = as_dtype(jnp.concatenate(small, axis=-1), self.dtype)
        *skips, deepest = encode(self, norm, x)
        context = ASPP(norm, self.dtype, name="aspp")(deepest, keys if train else None)
        decoded = Decoder(norm, self.dtype, name="decoder")(context, [*reversed(skips), x])
        decoded = decoded.astype(image.dtype)
        alpha, residual, error, hidden = jnp.split(decoded, (1, 4, 5), axis=-1)
        alpha, error, hidden = clip_unit(alpha), clip_unit(error), nn.relu(hidden)
        foreground = clip_unit(small[0] + residual)
        if not self.refine:
            return {"alpha": alpha, "foreground": foreground, "error": error, "hidden": hidden}

        # The CPU form has a slower gradient.
        form = "lax" if train else self.form
        refiner = Refiner(norm, self.kernel_size, self.dtype, form, name="refiner")
        inputs = self.refiner_inputs(both, jnp.concatenate([hidden, alpha, residual], axis=-1))
        selection = self.select_cells(lax.stop_gradient(resize(error, height // 4, width // 4)))
        by_patches = train and not self.frozen_statistics
        refined = self.algorithm(selection, by_patches)(refiner, inputs, selection)
        return {
            "alpha": clip_unit(refined[..., :1]),
            "foreground": clip_unit(refined[..., 1:] + image),
            "coarse_alpha": alpha,
            "coarse_foreground": foreground,
            "coarse_error": error,
            "refined": selection.mask,
        }

    def check_fields(self) -> None:
        """Raises ValueError for an invalid value of a field."""
        one_of(self.backbone, BACKBONES, "backbone of bgmv2")
        if not self.refine:
            return
        one_of(self.refine_mode, MODES, "refine_mode of bgmv2")
        if self.kernel_size not in PATCH_COST:
            raise ValueError(f"kernel_size of bgmv2 must be 3 or 1, got {self.kernel_size}")
        if not 0 < self.backbone_scale <= 0.5:
            raise ValueError(
                "backbone_scale of bgmv2 must be above 0 and at most 0.5, "
                f"got {self.backbone_scale}"
            )
        if self.sample_pixels < CELL**2:
            raise ValueError(
                f"sample_pixels of bgmv2 must be at least {CELL**2}, the pixels of a cell, "
                f"got {self.sample_pixels}"
            )
        # A search for a threshold under jit passes a tracer, which cannot be compared.
        if isinstance(self.threshold, float | int) and not 0 <= self.threshold <= 1:
            raise ValueError(
                "threshold of bgmv2 must lie in [0, 1], the range of the error, "
                f"got {self.threshold}"
            )

    def refiner_inputs(self, both: tuple[Array, Array], coarse: Array) -> RefinerInputs:
        """Resizes and pads what the refiner reads.

        both is the photo and the background [B, H, W, 3]; coarse [B, h, w, 36], hidden features,
        alpha and residual.
        """
        height, width = both[0].shape[1:3]
        margin = self.kernel_size // 2
        half = [resize(x, height // 2, width // 2) for x in (coarse, *both)]
        return RefinerInputs(
            half=pad_sides(jnp.concatenate(half, -1), 3 * margin),
            whole=[pad_sides(x, 2 * margin) for x in both],
            coarse=resize(coarse[..., HIDDEN:], height, width),
            margin=margin,
        )

    def select_cells(self, error: Array) -> Selection:
        """Selects cells by their error [B, H/4, W/4, 1] as `refine_mode` says."""
        batch, count = error.shape[0], error[0].size
        if self.refine_mode == "full":
            cells = jnp.broadcast_to(jnp.arange(count), (batch, count))
            return Selection(jnp.ones_like(error), cells, jnp.ones_like(cells, error.dtype))
        if self.refine_mode == "sampling":
            limit = 0 if self.prevent_oversampling else -1
            candidates = min(self.sample_pixels // CELL**2, count)
        else:
            limit, candidates = self.threshold, count
        values, cells = lax.top_k(error.reshape(batch, count), candidates)
        valid = (values > limit).astype(error.dtype)
        mask = put(jnp.zeros_like(error), cells, valid.reshape(-1, 1, 1, 1), valid)
        return Selection(mask, cells, valid)

    def algorithm(self, selection: Selection, by_patches: bool) -> Callable[..., Array]:
        """Returns the function that refines at the least cost; all return the same.

        `by_patches` asks for patches at any cost, for batch statistics of the patches only.
        """
        if self.refine_mode == "full":
            return refine_image
        cost = PATCH_COST[self.kernel_size] * selection.cells.shape[1]
        if by_patches or cost < selection.mask[0].size:
            return refine_patches
        # Parameters cannot be created in the branches of a conditional.
        if self.refine_mode == "sampling" or self.is_initializing():
            return refine_image
        return refine_as_needed


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


def encode(model: BGMv2, norm: Any, x: Array) -> list[Array]:
    """Runs the backbone on x [B, H, W, 6]: features at 1/2, 1/4, 1/8 and 1/16 of its size."""
    options = {"output_stride": 16, "stem_init": fan_in_uniform, "name": "backbone"}
    if model.backbone == "mobilenet_v2":
        backbone = MobileNetV2(
            norm, model.dtype, model.form, kernel_init=he_normal_fan_out, **options
        )
        return list(backbone(x).values())
    features = ResNet(model.backbone, norm, model.dtype, form=model.form, **options)(x)
    return [*features[:3], features[-1]]


DEFAULT = BGMv2()


def predict(
    apply: Callable[..., Array],
    image: Array,
    background: Array,
    *,
    model: BGMv2 = DEFAULT,
) -> Array:
    """Predicts alpha at full size.

    With refinement both inputs are padded to multiples of 4; the official programs stop there.

    Args:
        apply: runs the network, see `network.Network`.
        image: photos [N, H, W, 3] in [0, 1].
        background: the same places without the subject [N, H, W, 3].
        model: the network, for what its keywords change in the rule.

    Returns:
        Alpha [N, H, W, 1].
    """
    height, width = image.shape[1:3]
    image, background = (pad_to_multiple(x, padding(model)) for x in (image, background))
    return apply("alpha", image=image, background=background)[:, :height, :width]


def passes(height: int, width: int, *, model: BGMv2) -> Sizes:
    """Returns the network's size for a photo of height x width by `predict`."""
    return {"alpha": padded_size(height, width, padding(model))}


def padding(model: BGMv2) -> int:
    """Returns the multiple to which `predict` pads both sides."""
    return 4 if model.refine else 1


NETWORK = Network(
    BGMv2,
    predict,
    passes=passes,
    padding=padding,
    foreground="foreground",
    pooled_norm=lambda _: True,
)
