"""MODNet (Ke et al., AAAI 2022): a portrait's alpha from the photo alone.

Source: ZHKKKe/MODNet, src/models/modnet.py; the released checkpoints match arXiv v1/v2.
"""
from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from matting_jax.choices import one_of
from matting_jax.image.geometry import downsample, resize_area, upsample
from matting_jax.models.backbones.mobilenet_v2 import MobileNetV2
from matting_jax.models.layers import BatchNorm, Conv, UpsampledConv, instance_norm

Array = jax.Array


class IBNorm(nn.Module):
    """The first half of the channels through batch, the second through instance normalisation."""

    norm: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, instance = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([self.norm(name="bnorm")(batch), instance_norm(instance)], axis=-1)


class ConvIBNormRelu(nn.Module):
    """Convolution with bias, IBNorm, ReLU; the convolution alone where `norm` is None.

    With `upsampled` the input is enlarged twice first.
    """

    features: int
    kernel_size: int
    norm: Any
    stride: int = 1
    dtype: Any = None
    upsampled: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        options = {"dtype": self.dtype, "name": "layers_0"}
        if self.upsampled:
            x = UpsampledConv(self.features, self.kernel_size, form=self.form, **options)(x)
        else:
            x = Conv(self.features, self.kernel_size, self.stride, **options)(x)
        return x if self.norm is None else nn.relu(IBNorm(self.norm, name="layers_1")(x))


class SEBlock(nn.Module):
    """Squeeze and excitation: each channel weighted by what the whole image holds."""

    reduction: int = 4
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        # PyTorch's default for a linear layer: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
        dense = partial(
            nn.Dense,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        )
        weight = jnp.mean(x, (1, 2))
        weight = nn.relu(dense(channels // self.reduction, name="fc_0")(weight))
        weight = nn.sigmoid(dense(channels, name="fc_2")(weight))
        return x * weight[:, None, None]


class LRBranch(nn.Module):
    """Semantic estimation at low resolution.

    enc32x [B, H/32, W/32, 1280] -> semantic [B, H/16, W/16, 1] in [0, 1] and
    lr8x [B, H/8, W/8, 32].
    """

    norm: Any
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, enc32x: Array) -> tuple[Array, Array]:
        block = partial(ConvIBNormRelu, norm=self.norm, dtype=self.dtype)
        enc32x = SEBlock(dtype=self.dtype, name="se_block")(enc32x)
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
    def __call__(self, image: Array, enc2x: Array, enc4x: Array, lr8x: Array):
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
    """Feature maps [B, H, W, C] of one size side by side."""
    return jnp.concatenate(maps, axis=-1)


def probability(logits: Array) -> Array:
    """Sigmoid in at least float32: near 1 bfloat16 has steps of 1/256."""
    return nn.sigmoid(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))


class MODNet(nn.Module):
    """Semantics, detail and alpha of the subject of one photo.

    image [B, H, W, 3] float RGB in [0, 1]; H and W multiples of 32, else ValueError.
    Returns a dict: alpha [B, H, W, 1], detail [B, H, W, 1] and semantic [B, H/16, W/16, 1], all in
    [0, 1], float32 (float64 for float64 input). `context` is "se", the squeeze-and-excitation block
    of the released checkpoints. `train` takes batch statistics unless `frozen_statistics`, over all
    devices of `axis_name`; `form` is that of the convolutions, see `layers`.
    """

    context: str = "se"
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, image: Array, *, train: bool = False) -> dict[str, Array]:
        one_of(self.context, ("se",), "context of modnet")
        height, width = image.shape[1:3]
        if height % 32 or width % 32 or 0 in (height, width):
            raise ValueError(f"MODNet needs sides that are multiples of 32, got {height}x{width}")
        norm = partial(
            BatchNorm,
            use_running_average=not train or self.frozen_statistics,
            axis_name=self.axis_name,
        )
        x = 2 * image - 1
        if self.dtype is not None:
            x = x.astype(self.dtype)
        enc = MobileNetV2(norm, self.dtype, self.form, name="backbone")(x)
        semantic, lr8x = LRBranch(norm, self.dtype, self.form, name="lr_branch")(enc["enc32x"])
        detail, hr2x = HRBranch(norm, self.dtype, name="hr_branch")(
            x, enc["enc2x"], enc["enc4x"], lr8x
        )
        alpha = FusionBranch(norm, self.dtype, name="f_branch")(x, lr8x, hr2x)
        return {"alpha": alpha, "detail": detail, "semantic": semantic}


def network_size(height: int, width: int, reference_size: int = 512) -> tuple[int, int]:
    """The size that the published image demo gives the network for a photo of height x width.

    Photos whose short side is above, or whose long side is below `reference_size` are brought to
    it by their short side; then both sides are cut to multiples of 32, at least 32. The long side
    is brought to 32 times `reference_size` at most, where the demo makes 512 x 256000 of 1 x 500.
    Source: ZHKKKe/MODNet, demo/image_matting/colab/inference.py.
    """
    short, long = sorted((height, width))
    if long < reference_size or short > reference_size:
        long = min(int(long / short * reference_size), 32 * reference_size)
        short = reference_size
    height, width = (short, long) if height <= width else (long, short)
    return max(height // 32 * 32, 32), max(width // 32 * 32, 32)


def prepare(photo: np.ndarray, *, reference_size: int = 512) -> dict[str, np.ndarray]:
    """A photo [H, W, 3] float32 in [0, 1] as the network's inputs, resized by the demo's rule."""
    size = network_size(*photo.shape[:2], reference_size)
    return {"image": resize_area(photo, *size)[None]}


def restore(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """The network's alpha [1, h, w, 1] back at the photo's size, [height, width]."""
    return resize_area(alpha[0], height, width)[..., 0]
