"""BiSeNet V2 (Yu et al., IJCV 2021): the class of each pixel of a photo.

Source: CoinCheung/BiSeNet, lib/models/bisenetv2.py. Its checkpoints are the ones in use, so this
file follows it where it departs from the paper, arXiv 2004.02147.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.choices import one_of
from matting_jax.image.geometry import resize_bilinear, upsample
from matting_jax.models.backbones.bilateral import (
    ConvNormRelu,
    DetailBranch,
    Layers,
    SemanticBranch,
    multiply,
)
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.dropout import dropout
from matting_jax.models.layers.dtypes import as_dtype, at_least_float32
from matting_jax.models.layers.initialisers import he_normal_fan_out
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.network import Network, Sizes, TrimapRule
from matting_jax.models.sides import check_sides

Array = jax.Array
AGGREGATIONS = ("bga", "sum", "concat")
HEADS = ("official", "paper")
BOOSTERS = ("aux2", "aux3", "aux4", "aux5_4")  # at 1/4, 1/8, 1/16 and 1/32 of the image's size
# Mean and standard deviation of red, green and blue in a checkpoint's training data.
STATISTICS = {
    "cityscapes": ((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
    "coco": ((0.46962251, 0.4464104, 0.40718787), (0.27469736, 0.27012361, 0.28515933)),
    "ade20k": ((0.49343230, 0.46819794, 0.43106043), (0.25680755, 0.25506608, 0.27422913)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class GuidedAggregation(nn.Module):
    """Fuses the branches; each one gates the other, at the sizes of both.

    detail [B, H/8, W/8, C], semantic [B, H/32, W/32, C] -> [B, H/8, W/8, C].
    """

    layers: Layers

    @nn.compact
    def __call__(self, detail: Array, semantic: Array) -> Array:
        conv, depthwise, norm = self.layers
        channels = detail.shape[-1]

        def separable(x: Array, name: str) -> Array:
            x = norm(name=f"{name}_1")(depthwise(name=f"{name}_0")(x))
            return conv(channels, 1, name=f"{name}_2")(x)

        left1, right2 = separable(detail, "left1"), separable(semantic, "right2")
        left2 = norm(name="left2_1")(conv(channels, 3, 2, name="left2_0")(detail))
        # The zero padding counts in the mean.
        left2 = nn.avg_pool(left2, (3, 3), (2, 2), ((1, 1), (1, 1)))
        right1 = norm(name="right1_1")(conv(channels, name="right1_0")(semantic))
        left = left1 * repeat_pixels(nn.sigmoid(right1), 4)
        right = repeat_pixels(left2 * nn.sigmoid(right2), 4)
        return nn.relu(norm(name="conv_1")(conv(channels, name="conv_0")(left + right)))


class SegmentHead(nn.Module):
    """Logits: x [B, h, w, C] -> [B, factor * h, factor * w, classes], at least float32.

    A `booster` has another convolution at twice the size, with factor**2 features. `keys`, one for
    each sample, apply dropout with probability `dropout` after the first convolution.
    """

    classes: int
    features: int
    factor: int
    layers: Layers
    booster: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, keys: Array | None) -> Array:
        x = ConvNormRelu(self.features, self.layers, name="conv")(x)
        if keys is not None:
            x = dropout(x, keys, self.dropout)
        factor = self.factor
        if self.booster:
            x, factor = repeat_pixels(x, 2), factor // 2
            x = ConvNormRelu(self.factor**2, self.layers, name="conv_out_0_1")(x)
        logits = self.layers.conv(self.classes, 1, use_bias=True, name="conv_out_1")(x)
        return upsample(at_least_float32(logits), factor)


def repeat_pixels(x: Array, factor: int) -> Array:
    """Repeats each pixel of x [B, H, W, C]: [B, factor * H, factor * W, C].

    Its gradient sums rows before columns; that of `geometry.enlarge_nearest` rounds differently.
    """
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


class BiSeNetV2(nn.Module):
    """Logits of each class for each pixel of a photo.

    image [B, H, W, 3] float RGB in [0, 1]; H and W multiples of 32, otherwise ValueError. Returns a
    dict: `logits` [B, H, W, num_classes], float32 (float64 for float64 input), and in training
    those of the booster heads by their positions. `train` uses batch statistics and dropout, which
    needs `keys`, one random key for each sample.

    Attributes:
        statistics: data set whose mean and deviation normalise the image, see `STATISTICS`.
        aggregation: "bga", or as ablated in the paper "sum" or "concat" of both branches.
        heads: "official", or "paper" without the second convolution of the booster heads.
        booster: adds the booster heads in training.
        booster_positions: those of `BOOSTERS` that get a head.
        channel_ratio: channels of the first two stages of the semantic branch relative to those of
            the detail branch, the paper's lambda.
        expansion: of channels in the blocks of the semantic branch, the paper's epsilon.
        width: factor of the channels of all layers, the paper's alpha; the second convolution of
            the booster heads keeps its own.
        depth: factor of the blocks in each stage of the semantic branch, the paper's d.
        dropout: probability to drop a feature in the heads.
        axis_name: computes batch statistics over all devices of this axis.
        frozen_statistics: uses the running statistics in training too.
        form: of the layers, see `layers.forms`.
    """

    num_classes: int = 19
    statistics: str = "cityscapes"
    aggregation: str = "bga"
    heads: str = "official"
    booster: bool = True
    booster_positions: tuple[str, ...] = BOOSTERS
    channel_ratio: float = 0.25
    expansion: int = 6
    width: float = 1.0
    depth: int = 1
    dropout: float = 0.1
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(
        self, image: Array, keys: Array | None = None, *, train: bool = False
    ) -> dict[str, Array]:
        self.check_keywords()
        height, width = image.shape[1:3]
        check_sides("BiSeNetV2", height, width)
        dropping = train and self.dropout > 0
        if dropping and keys is None:
            raise ValueError(
                "BiSeNetV2 trains with dropout: pass keys=, or create it with dropout=0"
            )
        layers = Layers(
            partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_normal_fan_out),
            partial(DepthwiseConv, dtype=self.dtype, kernel_init=he_normal_fan_out, form=self.form),
            batch_norm(self, train),
        )
        mean, deviation = (jnp.asarray(x, image.dtype) for x in STATISTICS[self.statistics])
        x = as_dtype((image - mean) / deviation, self.dtype)
        detail = DetailBranch(layers, self.width, name="detail")(x)
        options = (self.channel_ratio, self.expansion, self.width, self.depth)
        semantic = SemanticBranch(layers, *options, name="segment")(x)
        context = semantic.pop("context")
        if self.aggregation == "bga":
            both = GuidedAggregation(layers, name="bga")(detail, context)
        elif self.aggregation == "sum":
            both = detail + upsample(context, 4)
        else:
            both = jnp.concatenate([detail, upsample(context, 4)], axis=-1)

        features = {"logits": both}
        if self.booster and (train or self.is_initializing()):
            features |= {x: semantic[x] for x in BOOSTERS if x in self.booster_positions}
        if dropping:
            keys = jax.vmap(lambda key: jax.random.split(key, len(features)))(keys)
        outputs = {}
        for number, (name, x) in enumerate(features.items()):
            main = name == "logits"
            head = SegmentHead(
                self.num_classes,
                multiply(1024 if main else 128, self.width, "width"),
                height // x.shape[1],
                layers,
                booster=not main and self.heads == "official",
                dropout=self.dropout,
                name="head" if main else name,
            )
            outputs[name] = head(x, keys[:, number] if dropping else None)
        return outputs

    def check_keywords(self) -> None:
        """Raises ValueError for an invalid choice; the branches check their factors."""
        one_of(self.aggregation, AGGREGATIONS, "aggregation of bisenet_v2")
        one_of(self.heads, HEADS, "heads of bisenet_v2")
        one_of(self.statistics, STATISTICS, "statistics of bisenet_v2")
        for position in self.booster_positions:
            one_of(position, BOOSTERS, "booster position of bisenet_v2")
        if self.booster and not self.booster_positions:
            raise ValueError(
                f"booster_positions of bisenet_v2 is empty: name some of {', '.join(BOOSTERS)}, or "
                "train without them by booster=False"
            )


def network_size(height: int, width: int, short_side: int = 0) -> tuple[int, int]:
    """Returns the network's size for a photo: both sides rounded up to multiples of 32.

    `short_side` above 0 first scales the photo to that short side.
    Sources: CoinCheung/BiSeNet, tools/demo.py; lib/data, whose ADE20K has a short side of 640.
    """
    if short_side:
        scale = short_side / min(height, width)
        height, width = round(scale * height), round(scale * width)
    return -(-height // 32) * 32, -(-width // 32) * 32


DEFAULT = BiSeNetV2()


def predict(
    apply: Callable[..., Array],
    image: Array,
    *,
    model: BiSeNetV2 = DEFAULT,
    short_side: int = 0,
) -> Array:
    """Predicts class probabilities; the logits are resized before the softmax.

    Args:
        apply: runs the network, see `network.Network`.
        image: photos [N, H, W, 3] in [0, 1].
        model: the network, for what its keywords change in the rule.
        short_side: short side that the network gets, in pixels; 0: that of the photo.

    Returns:
        Probabilities [N, H, W, num_classes].
    """
    height, width = image.shape[1:3]
    small = resize_bilinear(image, *network_size(height, width, short_side))
    logits = resize_bilinear(apply("logits", image=small), height, width)
    xp = logits.__array_namespace__()
    weights = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True)


def passes(height: int, width: int, *, model: BiSeNetV2, short_side: int = 0) -> Sizes:
    """Returns the network's size for a photo of height x width by `predict`."""
    return {"logits": network_size(height, width, short_side)}


NETWORK = Network(
    BiSeNetV2,
    predict,
    passes=passes,
    output="logits",
    trimap=TrimapRule(head="logits", sure=0.5, margin=0.0, heads={"logits": (2, 0)}),
    optional_modules=("bga", *BOOSTERS),
    pooled_norm=lambda model: True,
    ranges={"model.dropout": "[0, 1)"},
)
