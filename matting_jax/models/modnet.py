"""MODNet (Ke et al., AAAI 2022): the alpha of a portrait, without trimap.

Sources: ZHKKKe/MODNet, src/models/modnet.py; the released checkpoints match arXiv v1/v2, the AAAI
paper is arXiv v4. PaddlePaddle/PaddleSeg, Matting/ppmatting/models/modnet.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.choices import one_of
from matting_jax.image.geometry import downsample, resize_area, resize_bilinear, upsample
from matting_jax.models.backbones.mobilenet_v2 import MobileNetV2
from matting_jax.models.layers.activations import probability
from matting_jax.models.layers.context import ASPP, EASPP, SEBlock
from matting_jax.models.layers.dtypes import as_dtype
from matting_jax.models.layers.ibnorm import ConvIBNormRelu, IBNorm
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.network import Network, Sizes, TrimapRule
from matting_jax.models.sides import check_sides

Array = jax.Array
CONTEXTS = ("se", "easpp", "aspp", "none")
FLAVOURS = ("official", "paddle")


class LRBranch(nn.Module):
    """Semantic estimation at low resolution.

    enc32x [B, H/32, W/32, 1280] -> semantic [B, H/16, W/16, 1] in [0, 1] and
    lr8x [B, H/8, W/8, 32]. `context` and `flavour` as in `MODNet`; "aspp" also needs `batch_norm`.
    """

    norm: Any
    context: str = "se"
    dtype: Any = None
    form: str = "auto"
    flavour: str = "official"
    batch_norm: Any = None

    @nn.compact
    def __call__(self, enc32x: Array) -> tuple[Array, Array]:
        block = partial(ConvIBNormRelu, norm=self.norm, dtype=self.dtype)
        if self.context == "se":
            enc32x = SEBlock(dtype=self.dtype, flavour=self.flavour, name="se_block")(enc32x)
        elif self.context == "easpp":
            enc32x = EASPP(self.norm, dtype=self.dtype, form=self.form, name="easpp")(enc32x)
        elif self.context == "aspp":
            enc32x = ASPP(self.norm, self.batch_norm, dtype=self.dtype, name="aspp")(enc32x)
        lr16x = block(96, 5, upsampled=True, form=self.form, name="conv_lr16x")(enc32x)
        lr8x = block(32, 5, name="conv_lr8x")(upsample(lr16x))
        semantic = block(1, 3, stride=2, norm=None, name="conv_lr")(lr8x)
        return probability(semantic), lr8x


class HRBranch(nn.Module):
    """Detail prediction at high resolution.

    image [B, H, W, 3] in [-1, 1], enc2x, enc4x, lr8x -> detail [B, H, W, 1] in [0, 1] and
    hr2x [B, H/2, W/2, 32].
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(
        self, image: Array, enc2x: Array, enc4x: Array, lr8x: Array
    ) -> tuple[Array, Array]:
        block = partial(ConvIBNormRelu, norm=self.norm, dtype=self.dtype)
        image2x, image4x = downsample(image, 2), downsample(image, 4)

        enc2x = block(32, 1, name="tohr_enc2x")(enc2x)
        hr4x = block(32, 3, stride=2, name="conv_enc2x")(concatenate(image2x, enc2x))
        enc4x = block(32, 1, name="tohr_enc4x")(enc4x)
        hr4x = block(64, 3, name="conv_enc4x")(concatenate(hr4x, enc4x))

        hr4x = concatenate(hr4x, upsample(lr8x), image4x)
        for i, features in enumerate((64, 64, 32)):
            hr4x = block(features, 3, name=f"conv_hr4x_{i}")(hr4x)
        hr2x = concatenate(upsample(hr4x), enc2x)
        for i, features in enumerate((64, 32, 32, 32)):
            hr2x = block(features, 3, name=f"conv_hr2x_{i}")(hr2x)

        detail = block(32, 3, name="conv_hr_0")(concatenate(upsample(hr2x), image))
        detail = block(1, 1, norm=None, name="conv_hr_1")(detail)
        return probability(detail), hr2x


class FusionBranch(nn.Module):
    """Semantic-detail fusion: image, lr8x, hr2x -> alpha [B, H, W, 1] in [0, 1]."""

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, image: Array, lr8x: Array, hr2x: Array) -> Array:
        block = partial(ConvIBNormRelu, norm=self.norm, dtype=self.dtype)
        lr4x = block(32, 5, name="conv_lr4x")(upsample(lr8x))
        f2x = block(32, 3, name="conv_f2x")(concatenate(upsample(lr4x), hr2x))
        alpha = block(16, 3, name="conv_f_0")(concatenate(upsample(f2x), image))
        alpha = block(1, 1, norm=None, name="conv_f_1")(alpha)
        return probability(alpha)


def concatenate(*maps: Array) -> Array:
    """Concatenates the channels of feature maps [B, H, W, C] of one size."""
    return jnp.concatenate(maps, axis=-1)


class MODNet(nn.Module):
    """Predicts semantics, detail and alpha of the subject of a photo.

    image [B, H, W, 3] float RGB in [0, 1], H and W multiples of 32. Returns a dict: alpha
    [B, H, W, 1], detail [B, H, W, 1] and semantic [B, H/16, W/16, 1], all in [0, 1], float32
    (float64 for float64 input).

    Attributes:
        context: "se", the squeeze-and-excitation block of the released checkpoints, "easpp", the
            e-ASPP of the AAAI paper, "aspp", the ASPP that it is measured against, or "none".
        flavour: "official", or "paddle" for PaddleSeg's network, checkpoints and test-time rule.
        dtype: dtype of the activations; None: that of the image.
        axis_name: mapped axis over whose devices batch statistics are taken.
        frozen_statistics: training uses and keeps the running statistics.
        form: form of the convolutions, see `layers.forms`.
    """

    context: str = "se"
    flavour: str = "official"
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, image: Array, *, train: bool = False) -> dict[str, Array]:
        one_of(self.context, CONTEXTS, "context of modnet")
        paddle = one_of(self.flavour, FLAVOURS, "flavour of modnet") == "paddle"
        check_sides("MODNet", *image.shape[1:3])
        batch = batch_norm(self, train, unbiased=not paddle)
        norm = partial(IBNorm, batch, affine=paddle)
        x = as_dtype(2 * image - 1, self.dtype)
        enc = MobileNetV2(batch, self.dtype, self.form, paddle, name="backbone")(x)
        semantic, lr8x = LRBranch(
            norm, self.context, self.dtype, self.form, self.flavour, batch, name="lr_branch"
        )(enc["enc32x"])
        detail, hr2x = HRBranch(norm, self.dtype, name="hr_branch")(
            x, enc["enc2x"], enc["enc4x"], lr8x
        )
        alpha = FusionBranch(norm, self.dtype, name="f_branch")(x, lr8x, hr2x)
        return {"alpha": alpha, "detail": detail, "semantic": semantic}


def network_size(height: int, width: int, reference_size: int = 512) -> tuple[int, int]:
    """Returns the network's size for a photo of height x width, by the published image demo.

    If the short side is above or the long side below `reference_size`, the short side is resized to
    it. Then both sides are rounded down to multiples of 32, at least 32. Unlike in the demo, which
    makes 512 x 256000 of 1 x 500, the long side is at most 32 times `reference_size`.
    Source: ZHKKKe/MODNet, demo/image_matting/colab/inference.py.
    """
    short, long = sorted((height, width))
    if long < reference_size or short > reference_size:
        long = min(int(long / short * reference_size), 32 * reference_size)
        short = reference_size
    height, width = (short, long) if height <= width else (long, short)
    return max(height // 32 * 32, 32), max(width // 32 * 32, 32)


def paddle_sizes(height: int, width: int, reference_size: int = 512) -> list[tuple[int, int]]:
    """Returns the two sizes to which PaddleSeg resizes a photo of height x width in turn.

    The first has a short side of `reference_size`, and a long side of at most 32 times that. The
    second, the network's, is rounded down to multiples of 32, at least 32.
    Source: PaddlePaddle/PaddleSeg, Matting/configs/quick_start/modnet-mobilenetv2.yml.
    """
    scale = reference_size / min(height, width)
    first = [min(round(side * scale), 32 * reference_size) for side in (height, width)]
    return [tuple(first), tuple(max(side // 32 * 32, 32) for side in first)]


DEFAULT = MODNet()


def predict(
    apply: Callable[..., Array],
    image: Array,
    *,
    model: MODNet = DEFAULT,
    reference_size: int = 512,
) -> Array:
    """Predicts alpha by the official image demo, or by PaddleSeg for its flavour.

    Args:
        apply: runs the network, see `network.Network`.
        image: photos [N, H, W, 3] in [0, 1].
        model: the network, for what its keywords change in the rule.
        reference_size: short side that the network gets, in pixels.

    Returns:
        Alpha [N, H, W, 1].
    """
    height, width = image.shape[1:3]
    if model.flavour == "paddle":
        first, size = paddle_sizes(height, width, reference_size)
        small = resize_bilinear(resize_bilinear(image, *first), *size)
        alpha = resize_bilinear(apply("alpha", image=small), *first)
        return resize_bilinear(alpha, height, width)
    small = resize_area(image, *network_size(height, width, reference_size))
    return resize_area(apply("alpha", image=small), height, width)


def passes(height: int, width: int, *, model: MODNet, reference_size: int = 512) -> Sizes:
    """Returns the network's size for a photo of height x width by `predict`."""
    if model.flavour == "paddle":
        return {"alpha": paddle_sizes(height, width, reference_size)[-1]}
    return {"alpha": network_size(height, width, reference_size)}


NETWORK = Network(
    MODNet,
    predict,
    passes=passes,
    trimap=TrimapRule(head="alpha", sure=0.8, margin=0.01, heads={"alpha": (0,), "semantic": (0,)}),
    pooled_norm=lambda model: model.context == "aspp",
    ranges={"test_time.reference_size": "[1, inf)"},
)
