"""PP-Matting (Chen et al., 2022): alpha of any subject from the photo alone.

One branch says of each pixel whether it is foreground, transition or background, the other draws
the transition at full resolution, guided by the first. Source: PaddlePaddle/PaddleSeg,
Matting/ppmatting/models/ppmatting.py, whose names the modules have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.choices import one_of
from matting_jax.image.geometry import resize_area, resize_bilinear, upsample
from matting_jax.models.backbones.hrnet import WIDTHS, ConvNorm, HRNet
from matting_jax.models.layers.activations import probability
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.forms import rematerialise
from matting_jax.models.layers.initialisers import he_normal
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.models.network import Network, TrimapRule

Array = jax.Array

# To what the test-time rule reduces the short side: the official configs.
MAX_SHORT = {"hrnet_w18": 512, "hrnet_w48": 1536}

BINS = (1, 3, 5)  # a side of each pooled map
PYRAMID = (256, 128, 64, 64)  # channels of the pyramid's maps for stages 1 to 4
# Channels within and after stages 0 to 4 of the semantic branch.
STAGES = ((512, 256), (256, 128), (128, 64), (128, 64), (64, 64))
GUIDES = (0, 2, 4)  # the stages that guide the detail branch
DETAIL = (64, 32, 16, 8)  # channels of the detail branch, before and after each gate


class PyramidPooling(nn.Module):
    """Features beside their averages over 1, 9 and 25 parts of the image, fused to 512 channels.

    x [B, h, w, C] -> [B, h, w, 512]. Without `pooled` the features alone are fused.
    """

    layer: Any
    pooled: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width, channels = x.shape[1:]
        maps = []
        for i, bins in enumerate(BINS if self.pooled else ()):
            y = resize_area(x, bins, bins)
            y = self.layer(channels, 1, name=f"stages_{i}_1")(y)
            maps.append(resize_bilinear(y, height, width))
        x = jnp.concatenate([x, *reversed(maps)], axis=-1)
        return self.layer(512, 3, name="conv_bn_relu2")(x)


class SemanticStage(nn.Module):
    """Three convolutions, the last two with their taps `dilation` apart, and an enlargement."""

    within: int
    features: int
    layer: Any
    conv: Any
    dilation: int = 1

    @nn.compact
    def __call__(self, *maps: Array) -> Array:
        wide = partial(self.layer, conv=partial(self.conv, dilation=self.dilation))
        x = self.layer(self.within, 3, name="0")(jnp.concatenate(maps, axis=-1))
        x = wide(self.within, 3, name="1")(x)
        x = wide(self.features, 3, name="2")(x)
        return upsample(x)


class SemanticHead(nn.Module):
    """The last stage: x [B, H, W, 64] -> logits [B, H, W, 3]."""

    layer: Any
    conv: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for name in ("0", "1"):
            x = self.layer(64, 3, name=name)(x)
        return self.conv(3, name="2")(x)


class SemanticBranch(nn.Module):
    """Semantic context: from the smallest features to classes at full resolution.

    x [B, H/32, W/32, C] -> logits [B, H, W, 3] of foreground, transition and background, and the
    features that guide the detail branch, at 1/16, 1/4 and 1/1 of H and W. What is inside the
    stages is computed again in the backward pass if `rematerialise`.
    """

    norm: Any
    dtype: Any = None
    pyramid_pooling: bool = True
    rematerialise: bool = False

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, list[Array]]:
        conv = partial(Conv, kernel_init=he_normal, dtype=self.dtype)
        layer = partial(ConvNorm, norm=self.norm, conv=conv)
        pyramid = PyramidPooling(layer, self.pyramid_pooling, name="psp_module")(x)
        maps, context = [], pyramid
        stage = rematerialise(SemanticStage, self.rematerialise)
        for k, (within, features) in enumerate(STAGES):
            if k > 0:
                context = layer(PYRAMID[k - 1], 3, name=f"psps_{k - 1}_0")(pyramid)
                context = upsample(context, 2**k)
            dilation = 2 if k == 0 else 1
            x = stage(within, features, layer, conv, dilation, name=f"scb_stages_{k}")(context, x)
            maps.append(x)
        head = rematerialise(SemanticHead, self.rematerialise)
        return head(layer, conv, name="scb_stages_5")(x), [maps[k] for k in GUIDES]


class ResidualBlock(nn.Module):
    """Two convolutions plus the input; to `features` channels, the input itself convolved where it
    has others."""

    features: int
    layer: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = self.layer(self.features, 3, name="conv0")(x)
        y = self.layer(self.features, 3, relu=False, name="conv1")(y)
        if x.shape[-1] != self.features:
            x = self.layer(self.features, 1, relu=False, name="short")(x)
        return nn.relu(x + y)


class Gate(nn.Module):
    """The guide says where the features count up to twice: x [B, H, W, C], guide [B, H, W, 1]."""

    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: Array, guide: Array) -> Array:
        y = self.norm(name="_gate_conv_0")(jnp.concatenate([x, guide], axis=-1))
        y = nn.relu(self.conv(y.shape[-1], 1, name="_gate_conv_1")(y))
        y = self.norm(name="_gate_conv_4")(self.conv(1, 1, name="_gate_conv_3")(y))
        return self.conv(x.shape[-1], 1, use_bias=False, name="conv")(x * (1 + nn.sigmoid(y)))


class DetailBranch(nn.Module):
    """High-resolution detail: no map of it is ever smaller than the photo.

    half [B, H/2, W/2, 64], quarter [B, H/4, W/4, C] and, largest last, the guides of the semantic
    branch -> logit [B, H, W, 1]. Where there are no guides there are no gates. What is inside
    residual blocks and gates is computed again in the backward pass if `rematerialise`.
    """

    norm: Any
    dtype: Any = None
    rematerialise: bool = False

    @nn.compact
    def __call__(self, half: Array, quarter: Array, guides: list[Array]) -> Array:
        conv = partial(Conv, kernel_init=he_normal, dtype=self.dtype)
        layer = partial(ConvNorm, norm=self.norm, conv=partial(conv, use_bias=False))
        block = rematerialise(ResidualBlock, self.rematerialise)
        gate = rematerialise(Gate, self.rematerialise)
        x = jnp.concatenate([upsample(half), upsample(quarter, 4)], axis=-1)
        for i, features in enumerate(DETAIL[:-1]):
            x = block(features, layer, name=f"res_list_{i}")(x)
            x = conv(DETAIL[i + 1], 1, name=f"convs_{i}")(x)
            if guides:
                guide = conv(1, 1, name=f"gf_list_{i}")(guides[i])
                guide = upsample(guide, x.shape[1] // guide.shape[1])
                x = gate(self.norm, conv, name=f"gates_{i}")(x, guide)
        return conv(1, 1, use_bias=False, name="detail_conv")(x)


class PPMatting(nn.Module):
    """Semantics, detail and alpha of the subject of one photo.

    image [B, H, W, 3] float RGB in [0, 1]; H and W multiples of 32, else ValueError.
    Returns a dict, float32 (float64 for float64 input): `semantic` [B, H, W, 3], probabilities of
    foreground, transition and background; `detail` [B, H, W, 1]; `alpha` [B, H, W, 1], which is
    `detail` where transition is the likeliest, else exactly 1 or 0.

    Ablations: without `guidance` the detail branch has neither guides nor gates; without
    `pyramid_pooling` the smallest features are fused without their averages; without `detail` there
    is no such branch and output, and alpha is what the classes let expect, the probability of
    foreground plus half of that of transition. `rematerialise` computes what is inside the blocks
    again in the backward pass, which takes less memory and more time.
    `train` takes batch statistics unless `frozen_statistics`, over all devices of `axis_name`.
    """

    backbone: str = "hrnet_w48"
    guidance: bool = True
    pyramid_pooling: bool = True
    detail: bool = True
    rematerialise: bool = False
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, image: Array, *, train: bool = False) -> dict[str, Array]:
        width = WIDTHS[one_of(self.backbone, WIDTHS, "backbone of pp_matting")]
        rows, columns = image.shape[1:3]
        if rows % 32 or columns % 32 or 0 in (rows, columns):
            raise ValueError(
                f"PP-Matting needs sides that are multiples of 32, got {rows}x{columns}"
            )
        norm = partial(
            BatchNorm,
            use_running_average=not train or self.frozen_statistics,
            axis_name=self.axis_name,
            unbiased=False,
        )
        x = 2 * image - 1
        if self.dtype is not None:
            x = x.astype(self.dtype)
        backbone = HRNet(width, norm, self.dtype, self.form, self.rematerialise, name="backbone")
        half, quarter, *_, smallest = backbone(x)
        logits, guides = SemanticBranch(
            norm, self.dtype, self.pyramid_pooling, self.rematerialise, name="scb"
        )(smallest)
        classes = softmax(jnp.split(logits, 3, axis=-1))
        semantic = jnp.concatenate(classes, axis=-1)
        if not self.detail:
            return {"alpha": classes[0] + classes[1] / 2, "semantic": semantic}

        guides = guides if self.guidance else []
        branch = DetailBranch(norm, self.dtype, self.rematerialise, name="hrdb")
        logit = branch(half, quarter, guides)
        detail = probability(logit)
        return {"alpha": fuse(classes, detail), "detail": detail, "semantic": semantic}


def fuse(classes: list[Array], detail: Array) -> Array:
    """`detail` where transition is the likeliest of the three classes, else exactly 1 or 0.

    Of equal ones the first is the likeliest. The classes receive no gradient.
    """
    foreground, transition, background = classes
    is_foreground = (foreground >= transition) & (foreground >= background)
    return jnp.where(is_foreground, 1, jnp.where(transition >= background, detail, 0))


def softmax(logits: list[Array]) -> list[Array]:
    """Probabilities of a few classes in at least float32, each a map of its own: faster on CPU than
    along an axis."""
    logits = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in logits]
    largest = reduce(jnp.maximum, logits)
    weights = [jnp.exp(x - lax.stop_gradient(largest)) for x in logits]
    total = sum(weights)
    return [x / total for x in weights]


def resizes(model: PPMatting, height: int, width: int, max_short: int) -> list[tuple[int, int]]:
    """The sizes through which a photo of height x width is resized, the network's last.

    A short side above `max_short` (0: the official one of the model's backbone) is brought to it,
    then both sides are cut to multiples of 32, at least 32.
    """
    if max_short < 0:
        raise ValueError(
            f"config.test_time.max_short is {max_short}, but must be a length, or 0 for the "
            "official one"
        )
    scale = min((max_short or MAX_SHORT[model.backbone]) / min(height, width), 1)
    first = round(height * scale), round(width * scale)
    return [first, tuple(max(side // 32 * 32, 32) for side in first)]


def predict(
    apply: Callable[..., Array],
    image: Array,
    *,
    model: PPMatting,
    max_short: int = 0,
) -> Array:
    """Predicts alpha by the official rule, without its rounding to bytes after each resize.

    Source: PaddlePaddle/PaddleSeg, Matting/configs/ppmatting.

    Args:
        apply: Runs the network, see `network.Network`.
        image: Photos [N, H, W, 3] in [0, 1].
        model: The network.
        max_short: Short side to which larger photos are reduced; 0: the backbone's official one.

    Returns:
        Alpha [N, H, W, 1].
    """
    height, width = image.shape[1:3]
    first, size = resizes(model, height, width, max_short)
    small = resize_bilinear(resize_bilinear(image, *first), *size)
    alpha = resize_bilinear(apply("alpha", image=small), *first)
    return resize_bilinear(alpha, height, width)


NETWORK = Network(
    PPMatting,
    predict,
    trimap=TrimapRule("alpha", 0.8, 0.0, {"semantic": (0, 2), "alpha": (0,)}),
)
