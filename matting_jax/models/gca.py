"""GCA Matting (Li and Lu, AAAI 2020): alpha from a photo and its trimap.

A residual U-Net of spectrally normalised convolutions, with guided contextual attention at 1/8 of
the size in its encoder and its decoder. Source: Yaoyi-Li/GCA-Matting, networks/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.image.colour import normalise
from matting_jax.image.geometry import pad_to_multiple, padded_size
from matting_jax.models.layers.attention import GuidedContextualAttention
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.dtypes import as_dtype, at_least_float32
from matting_jax.models.layers.initialisers import xavier_uniform, zeros
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.layers.spectral import SpectralConv, SpectralConvTranspose
from matting_jax.models.network import Network, Sizes
from matting_jax.models.sides import check_sides

Array = jax.Array

leaky_relu = partial(nn.leaky_relu, negative_slope=0.2)


def xavier_without_trimap(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Draws a kernel [k, k, 6, D] by `xavier_uniform`, with 0 for the channels of the trimap."""
    return xavier_uniform(key, shape, dtype).at[:, :, 3:].set(0)


class EncoderBlock(nn.Module):
    """Two 3x3 convolutions plus the input, through a 1x1 convolution at stride 2.

    x [B, H, W, C] -> [B, H / stride, W / stride, features].
    """

    features: int
    stride: int
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = partial(self.conv, self.features, kernel_init=xavier_uniform)
        y = nn.relu(self.norm(name="bn1")(conv(stride=self.stride, name="conv1")(x)))
        y = self.norm(scale_init=zeros, name="bn2")(conv(name="conv2")(y))
        if self.stride == 2:
            x = conv(kernel_size=1, name="downsample_1")(nn.avg_pool(x, (2, 2), (2, 2)))
            x = self.norm(name="downsample_2")(x)
        return nn.relu(x + y)


class DecoderBlock(nn.Module):
    """Two convolutions plus the input; with `upsample` the first one is transposed.

    x [B, H, W, C] -> [B, H, W, features], or [B, 2H, 2W, features] with `upsample`.
    """

    features: int
    upsample: bool
    conv: Any
    conv_transpose: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv = partial(self.conv, kernel_init=xavier_uniform)
        first = self.conv_transpose if self.upsample else conv
        y = leaky_relu(self.norm(name="bn1")(first(x.shape[-1], name="conv1")(x)))
        y = self.norm(scale_init=zeros, name="bn2")(conv(self.features, name="conv2")(y))
        if self.upsample:
            # The official code upsamples before the 1x1 convolution, with the same result.
            x = conv(self.features, kernel_size=1, name="upsample_1")(x)
            x = self.norm(name="upsample_2")(x.repeat(2, axis=1).repeat(2, axis=2))
        return leaky_relu(x + y)


class Shortcut(nn.Module):
    """Two 3x3 convolutions to `features`, each followed by ReLU and normalisation."""

    features: int
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for index in (0, 3):
            x = nn.relu(self.conv(self.features, name=f"{index}")(x))
            x = self.norm(name=f"{index + 2}")(x)
        return x


class GuidanceHead(nn.Module):
    """The guide of the attention: image [B, H, W, 3] -> [B, H/8, W/8, 128]."""

    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, image: Array) -> Array:
        x = image
        for index, features in ((1, 16), (5, 32), (9, 128)):
            # Even sides never read padding below and on the right.
            x = jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)), mode="reflect")
            x = nn.relu(self.conv(features, stride=2, padding=0, name=f"{index}")(x))
            x = self.norm(name=f"{index + 2}")(x)
        return x


class Encoder(nn.Module):
    """A ResNet-34 with a deeper stem and a shorter last stage, its shortcuts, and the guide.

    x [B, H, W, 6], photo and one-hot trimap -> the deepest features [B, H/32, W/32, 512]; the
    shortcuts with 32, 32, 64, 128 and 256 features, from the full size to 1/16 of it; and the guide
    of the attention [B, H/8, W/8, 128], or None. `attention` is its partial module, None omits it.
    """

    conv: Any
    norm: Any
    attention: Any
    guidance: bool

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, list[Array], Array | None]:
        def stem(x, number, features, stride, init=xavier_uniform):
            x = self.conv(features, stride=stride, kernel_init=init, name=f"conv{number}")(x)
            return nn.relu(self.norm(name=f"bn{number}")(x))

        def layer(x, name, features, blocks, stride):
            for index in range(blocks):
                stride_here = stride if index == 0 else 1
                x = EncoderBlock(
                    features, stride_here, self.conv, self.norm, name=f"{name}_{index}"
                )(x)
            return x

        half = stem(x, 1, 32, 2, xavier_without_trimap)
        half = stem(half, 2, 32, 1)
        quarter = layer(stem(half, 3, 64, 2), "layer1", 64, 3, 1)
        eighth = layer(quarter, "layer2", 128, 4, 2)
        guide = None
        if self.attention is not None:
            if self.guidance:
                guide = GuidanceHead(self.conv, self.norm, name="guidance_head")(x[..., :3])
            eighth = self.attention(name="gca")(eighth, guide, x[:, ::8, ::8, 4])
        sixteenth = layer(eighth, "layer3", 256, 4, 2)
        deepest = layer(sixteenth, "layer_bottleneck", 512, 2, 2)

        sources = [(x, 32), (half, 32), (quarter, 64), (eighth, 128), (sixteenth, 256)]
        shortcuts = [
            Shortcut(features, self.conv, self.norm, name=f"shortcut_{index}")(source)
            for index, (source, features) in enumerate(sources)
        ]
        return deepest, shortcuts, guide


class Decoder(nn.Module):
    """Upsamples to the full size and adds the shortcuts of `Encoder`.

    x [B, H/32, W/32, 512]; guide [B, H/8, W/8, 128] and unknown [B, H/8, W/8] for the attention
    -> the argument of tanh, [B, H, W, 1].
    """

    conv: Any
    conv_transpose: Any
    norm: Any
    attention: Any
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: Array, shortcuts: list[Array], guide: Array | None, unknown: Array
    ) -> Array:
        def layer(x, name, features, blocks):
            for index in range(blocks):
                x = DecoderBlock(
                    features,
                    index == 0,
                    self.conv,
                    self.conv_transpose,
                    self.norm,
                    name=f"{name}_{index}",
                )(x)
            return x

        full, half, quarter, eighth, sixteenth = shortcuts
        x = layer(x, "layer1", 256, 2) + sixteenth
        x = layer(x, "layer2", 128, 3) + eighth
        if self.attention is not None:
            x = self.attention(name="gca")(x, guide, unknown)
        x = layer(x, "layer3", 64, 3) + quarter
        x = layer(x, "layer4", 32, 2) + half
        x = leaky_relu(self.norm(name="bn1")(self.conv_transpose(32, name="conv1")(x))) + full
        return Conv(1, kernel_init=xavier_uniform, dtype=self.dtype, name="conv2")(x)


class GCA(nn.Module):
    """Alpha from a photo and its trimap.

    image [B, H, W, 3] float RGB in [0, 1], trimap [B, H, W, 1] with 0 background, 0.5 unknown and 1
    foreground; H and W multiples of 32, otherwise ValueError. Returns a dict: alpha [B, H, W, 1] in
    [0, 1], float32 (float64 for float64 input), also predicted where the trimap is known. `train`
    uses batch statistics and applies one power iteration to the vectors of the spectral
    normalisation.

    Attributes:
        attention: false is the paper's baseline, with shortcuts but no attention and no guide.
        guidance: false compares positions by the features that the attention rebuilds, not by those
            of the image, as in inpainting (Yu et al., 2018). The official code has no such variant.
        normalise: "keys" compares positions as the released network does, "both" by the cosine of
            the paper, which also divides by the length of the query; see `contextual_attention`.
        axis_name: computes batch statistics over all devices of this axis.
        frozen_statistics: uses the running statistics in training too; the power iteration remains.
    """

    attention: bool = True
    guidance: bool = True
    normalise: str = "keys"
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False

    @nn.compact
    def __call__(self, image: Array, trimap: Array, *, train: bool = False) -> dict[str, Array]:
        check_sides("GCA", *image.shape[1:3])
        conv = partial(SpectralConv, update=train, dtype=self.dtype)
        conv_transpose = partial(SpectralConvTranspose, update=train, dtype=self.dtype)
        norm = batch_norm(self, train)
        attention = None
        if self.attention:
            attention = partial(
                GuidedContextualAttention, norm, self.dtype, normalise=self.normalise
            )

        background, foreground = trimap < 1 / 3, trimap >= 2 / 3
        unknown = ~(background | foreground)
        x = [normalise(image), background, unknown, foreground]
        x = as_dtype(jnp.concatenate(x, axis=-1, dtype=image.dtype), self.dtype)

        deepest, shortcuts, guide = Encoder(conv, norm, attention, self.guidance, name="encoder")(x)
        z = Decoder(conv, conv_transpose, norm, attention, self.dtype, name="decoder")(
            deepest, shortcuts, guide, x[:, ::8, ::8, 4]
        )
        return {"alpha": (jnp.tanh(at_least_float32(z)) + 1) / 2}


DEFAULT = GCA()


def predict(
    apply: Callable[..., Array],
    image: Array,
    trimap: Array,
    *,
    model: GCA = DEFAULT,
) -> Array:
    """Predicts alpha at full size, with both inputs reflected to multiples of 32.

    Source: Yaoyi-Li/GCA-Matting, OriginScale in
    dataloader/data_generator.py, the rule of the published figures.

    Args:
        apply: runs the network, see `network.Network`.
        image: photos [N, H, W, 3] in [0, 1].
        trimap: trimaps [N, H, W, 1] of 0, 0.5 and 1.
        model: the network, for what its keywords change in the rule.

    Returns:
        Alpha [N, H, W, 1].
    """
    height, width = image.shape[1:3]
    alpha = apply("alpha", image=pad_to_multiple(image, 32), trimap=pad_to_multiple(trimap, 32))
    return alpha[:, :height, :width]


def passes(height: int, width: int, *, model: GCA) -> Sizes:
    """Returns the network's size for a photo of height x width by `predict`."""
    return {"alpha": padded_size(height, width, 32)}


NETWORK = Network(GCA, predict, passes=passes, padding=lambda model: 32)
