"""BackgroundMattingV2 (Lin et al., CVPR 2021): alpha and foreground, given the background.

A base network predicts at a fraction of the photo's size, together with its expected error; a
refiner works at full size only where that error is large.
Source: PeterL1n/BackgroundMattingV2, model/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of
from matting_jax.image.geometry import pad_to_multiple, padded_size, resize
from matting_jax.image.patches import put
from matting_jax.models.backbones.mobilenet_v2 import MobileNetV2
from matting_jax.models.backbones.resnet import ResNet
from matting_jax.models.layers.activations import clip_unit
from matting_jax.models.layers.context import TorchvisionASPP
from matting_jax.models.layers.convolutions import Conv, pad_sides
from matting_jax.models.layers.dtypes import as_dtype
from matting_jax.models.layers.initialisers import (
    fan_in_uniform,
    he_normal_fan_out,
    uniform_of_fan_in,
)
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.layers.refinement import (
    CELL,
    Refiner,
    RefinerInputs,
    Selection,
    refine_as_needed,
    refine_image,
    refine_patches,
)
from matting_jax.models.network import Network, Sizes
from matting_jax.models.sides import check_sides

Array = jax.Array
BACKBONES = ("resnet50", "resnet101", "mobilenet_v2")
MODES = ("sampling", "thresholding", "full")
HIDDEN = 32  # features of the base network that the refiner reads

# Cost of a cell refined as a patch, relative to its share of the whole image, by kernel size.
# Patches cost more because their windows overlap.
PATCH_COST = {1: 1, 3: 9}


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
        context = TorchvisionASPP(norm, self.dtype, name="aspp")(deepest, keys if train else None)
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
    ranges={"model.backbone_scale": "(0, 1]", "model.threshold": "[0, 1]"},
)
