"""PP-Matting (Chen et al., 2022): the alpha of any subject, without trimap.

A semantic branch classifies pixels as foreground, transition or background. A detail branch,
guided by it, predicts the transition at full resolution. Source: PaddlePaddle/PaddleSeg,
Matting/ppmatting/models/ppmatting.py, whose module names are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from matting_jax.choices import at_least, one_of
from matting_jax.image.geometry import resize_area, resize_bilinear, upsample
from matting_jax.models.backbones.hrnet import WIDTHS, ConvNorm, HRNet
from matting_jax.models.layers.activations import probability
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.dtypes import as_dtype, at_least_float32
from matting_jax.models.layers.forms import compute_once, rematerialise
from matting_jax.models.layers.initialisers import he_normal
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.network import Network, Sizes, TrimapRule
from matting_jax.models.sides import check_sides

Array = jax.Array

# Short side to which the test-time rule reduces larger photos, by the official configs.
MAX_SHORT = {"hrnet_w18": 512, "hrnet_w48": 1536}

BINS = (1, 3, 5)  # side of each pooled map
PYRAMID = (256, 128, 64, 64)  # channels of the pyramid's features in stages 1 to 4
# Channels inside and after stages 0 to 4 of the semantic branch.
STAGES = ((512, 256), (256, 128), (128, 64), (128, 64), (64, 64))
GUIDES = (0, 2, 4)  # the stages that guide the detail branch
DETAIL = (64, 32, 16, 8)  # channels of the detail branch, before and after each gate


class PyramidPooling(nn.Module):
    """Fuses features with their means over 1, 9 and 25 cells of the image.

    x [B, h, w, C] -> [B, h, w, 512]. Without `pooled` only the features are convolved.
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
    """Three convolutions, the last two with `dilation`, then bilinear enlargement by 2."""

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
        return compute_once(upsample(x))


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
    features that guide the detail branch, at 1/16, 1/4 and 1/1 of H and W. `rematerialise`
    recomputes the inside of the stages in the backward pass.
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
    """Two convolutions plus a shortcut, which is convolved if the number of channels changes."""

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
    """Weights features by 1 to 2, by a guide: x [B, H, W, C], guide [B, H, W, 1]."""

    norm: Any
    conv: Any

    @nn.compact
    def __call__(self, x: Array, guide: Array) -> Array:
        y = self.norm(name="_gate_conv_0")(jnp.concatenate([x, guide], axis=-1))
        y = nn.relu(self.conv(y.shape[-1], 1, name="_gate_conv_1")(y))
        y = self.norm(name="_gate_conv_4")(self.conv(1, 1, name="_gate_conv_3")(y))
        return self.conv(x.shape[-1], 1, use_bias=False, name="conv")(x * (1 + nn.sigmoid(y)))


class DetailBranch(nn.Module):
    """High-resolution detail: all its features have the size of the photo.

    half [B, H/2, W/2, 64], quarter [B, H/4, W/4, C] and the guides of the semantic branch, largest
    last -> logit [B, H, W, 1]. Without guides there are no gates. `rematerialise` recomputes the
    inside of residual blocks and gates in the backward pass.
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
        maps = [compute_once(upsample(x, factor)) for x, factor in ((half, 2), (quarter, 4))]
        x = compute_once(jnp.concatenate(maps, axis=-1))
        for i, features in enumerate(DETAIL[:-1]):
            x = block(features, layer, name=f"res_list_{i}")(x)
            x = conv(DETAIL[i + 1], 1, name=f"convs_{i}")(x)
            if guides:
                guide = conv(1, 1, name=f"gf_list_{i}")(guides[i])
                guide = upsample(guide, x.shape[1] // guide.shape[1])
                x = gate(self.norm, conv, name=f"gates_{i}")(x, guide)
        return conv(1, 1, use_bias=False, name="detail_conv")(x)


class PPMatting(nn.Module):
    """Predicts semantics, detail and alpha of the subject of a photo.

    image [B, H, W, 3] float RGB in [0, 1], H and W multiples of 32. Returns a dict, float32
    (float64 for float64 input): `semantic` [B, H, W, 3], probabilities of foreground, transition
    and background; `detail` [B, H, W, 1]; `alpha` [B, H, W, 1], which is `detail` where transition
    is the most likely class, else exactly 1 or 0.

    Attributes:
        backbone: "hrnet_w48" or "hrnet_w18".
        guidance: False: the detail branch has neither guides nor gates.
        pyramid_pooling: False: the smallest features are not fused with their means.
        detail: False: there is no detail branch and output; alpha is its expectation by the
            classes, the probability of foreground plus half of that of transition.
        rematerialise: recomputes the inside of blocks in the backward pass; less memory, more time.
        dtype: dtype of the activations; None: that of the image.
        axis_name: mapped axis over whose devices batch statistics are taken.
        frozen_statistics: training uses and keeps the running statistics.
        form: form of the backbone, see `layers.forms`.
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
        check_sides("PP-Matting", *image.shape[1:3])
        norm = batch_norm(self, train, unbiased=False)
        x = as_dtype(2 * image - 1, self.dtype)
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
    """Returns `detail` where transition is the most likely of three classes, else exactly 1 or 0.

    Of equally likely classes the first counts. The classes receive no gradient.
    """
    foreground, transition, background = classes
    is_foreground = (foreground >= transition) & (foreground >= background)
    return jnp.where(is_foreground, 1, jnp.where(transition >= background, detail, 0))


def softmax(logits: list[Array]) -> list[Array]:
    """Computes class probabilities in at least float32, one array a class.

    On CPU separate arrays are faster than a reduction over an axis of three.
    """
    logits = [at_least_float32(x) for x in logits]
    largest = reduce(jnp.maximum, logits)
    weights = [jnp.exp(x - lax.stop_gradient(largest)) for x in logits]
    total = sum(weights)
    return [x / total for x in weights]


def rule_sizes(model: PPMatting, height: int, width: int, max_short: int) -> list[tuple[int, int]]:
    """Returns the two sizes to which a photo of height x width is resized in turn.

    The first has a short side of at most `max_short`, 0: the official one of the model's backbone.
    The second, the network's, is rounded down to multiples of 32, at least 32.
    """
    at_least(max_short, 0, "test_time.max_short")
    scale = min((max_short or MAX_SHORT[model.backbone]) / min(height, width), 1)
    first = round(height * scale), round(width * scale)
    return [first, tuple(max(side // 32 * 32, 32) for side in first)]


DEFAULT = PPMatting()


def predict(
    apply: Callable[..., Array],
    image: Array,
    *,
    model: PPMatting = DEFAULT,
    max_short: int = 0,
) -> Array:
    """Predicts alpha by the official rule, without its rounding to bytes after each resize.

    Source: PaddlePaddle/PaddleSeg, Matting/configs/ppmatting.

    Args:
        apply: runs the network, see `network.Network`.
        image: photos [N, H, W, 3] in [0, 1].
        model: the network, for what its keywords change in the rule.
        max_short: short side to which larger photos are reduced; 0: the backbone's official one.

    Returns:
        Alpha [N, H, W, 1].
    """
    height, width = image.shape[1:3]
    first, size = rule_sizes(model, height, width, max_short)
    small = resize_bilinear(resize_bilinear(image, *first), *size)
    alpha = resize_bilinear(apply("alpha", image=small), *first)
    return resize_bilinear(alpha, height, width)


def passes(height: int, width: int, *, model: PPMatting, max_short: int = 0) -> Sizes:
    """Returns the network's size for a photo of height x width by `predict`."""
    return {"alpha": rule_sizes(model, height, width, max_short)[-1]}


NETWORK = Network(
    PPMatting,
    predict,
    passes=passes,
    trimap=TrimapRule(
        head="alpha", sure=0.8, margin=0.0, heads={"semantic": (0, 2), "alpha": (0,)}
    ),
    pooled_norm=lambda model: model.pyramid_pooling,
)
