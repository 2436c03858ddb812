"""Deep Image Matting (Xu et al., CVPR 2017): alpha from a photo and a trimap.

Source: open-mmlab/mmagic, models/editors/dim and models/archs/vgg.py, because the authors published
neither code nor weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from matting_jax.choices import one_of
from matting_jax.image.colour import normalise
from matting_jax.image.geometry import pad_to_multiple, padded_size
from matting_jax.models.backbones.vgg16 import VGG16
from matting_jax.models.layers.activations import clip_unit, probability
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.dtypes import at_least_float32
from matting_jax.models.layers.initialisers import xavier_normal
from matting_jax.models.layers.pooling import max_unpool
from matting_jax.models.network import Network, Sizes
from matting_jax.models.sides import check_sides

Array = jax.Array

# The network's input for unknown pixels: the grey value of trimap files, in [0, 1].
UNKNOWN = 128 / 255
CORRECTED = ("logits", "alpha")  # what the refiner's correction is added to
# Output channels of the decoder's convolutions by name; each one follows an unpooling.
DECODER = {
    "deconv5_1": 512,
    "deconv4_1": 256,
    "deconv3_1": 128,
    "deconv2_1": 64,
    "deconv1_1": 64,
}


class Decoder(nn.Module):
    """Features [B, H/32, W/32, 512] and the encoder's pooling indices -> logits [B, H, W, 1].

    The last pooling is unpooled first. Despite their names, `deconv` layers are plain convolutions.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, indices: list[Array]) -> Array:
        options = {"dtype": self.dtype, "kernel_init": xavier_normal}
        x = nn.relu(Conv(512, 1, name="deconv6_1", **options)(x))
        for (name, features), selected in zip(DECODER.items(), reversed(indices), strict=True):
            x = nn.relu(Conv(features, 5, name=name, **options)(max_unpool(x, selected)))
        return Conv(1, 5, name="deconv1", **options)(x)


class EncoderDecoder(nn.Module):
    """The first stage: image and trimap [B, H, W, 4] -> logits of alpha [B, H, W, 1]."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        features, indices = VGG16(self.dtype, name="encoder")(x)
        return Decoder(self.dtype, name="decoder")(features, indices)


class Refiner(nn.Module):
    """The second stage: image and coarse alpha [B, H, W, 4] -> correction [B, H, W, 1]."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        options = {"dtype": self.dtype, "kernel_init": xavier_normal}
        for i in (1, 2, 3):
            x = nn.relu(Conv(64, 3, name=f"refine_conv{i}", **options)(x))
        return Conv(1, 3, name="refine_pred", **options)(x)


class DIM(nn.Module):
    """Alpha from a photo and its trimap.

    image [B, H, W, 3] float RGB in [0, 1], trimap [B, H, W, 1] with 0 background, 0.5 unknown,
    1 foreground; H and W multiples of 32, otherwise ValueError. Returns a dict: alpha [B, H, W, 1]
    in [0, 1], float32 (float64 for float64 input), and with `refine` also coarse_alpha, that of the
    first stage. Without `refine`, alpha is that of the first stage. There is no normalisation over
    the batch: `train` only leaves the sum of `correction="alpha"` unclipped, so that values outside
    [0, 1] have a gradient.

    Attributes:
        refine: false is only the first stage.
        correction: the refiner's output is added to the "logits" of the coarse alpha, as in mmagic,
            or to the "alpha" itself, as in the paper.
    """

    refine: bool = True
    correction: str = "logits"
    dtype: Any = None

    @nn.compact
    def __call__(self, image: Array, trimap: Array, *, train: bool = False) -> dict[str, Array]:
        check_sides("DIM", *image.shape[1:3])
        one_of(self.correction, CORRECTED, "correction of dim")
        x, trimap = normalise(image), jnp.where(trimap == 0.5, UNKNOWN, trimap)
        logits = EncoderDecoder(self.dtype, name="backbone")(
            jnp.concatenate([x, trimap.astype(x.dtype)], axis=-1)
        )
        alpha = probability(logits)
        if not self.refine:
            return {"alpha": alpha}
        correction = Refiner(self.dtype, name="refiner")(
            jnp.concatenate([x, alpha.astype(x.dtype)], axis=-1)
        )
        if self.correction == "logits":
            return {"alpha": probability(logits + correction), "coarse_alpha": alpha}
        refined = alpha + at_least_float32(correction)
        return {"alpha": refined if train else clip_unit(refined), "coarse_alpha": alpha}


DEFAULT = DIM()


def predict(
    apply: Callable[..., Array],
    image: Array,
    trimap: Array,
    *,
    model: DIM = DEFAULT,
) -> Array:
    """Predicts alpha at full size, with both inputs reflected to multiples of 32.

    Source: open-mmlab/mmagic, `resize_method="pad"`.

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


def passes(height: int, width: int, *, model: DIM) -> Sizes:
    """Returns the network's size for a photo of height x width by `predict`."""
    return {"alpha": padded_size(height, width, 32)}


NETWORK = Network(DIM, predict, passes=passes, padding=lambda model: 32, batch_norm=False)
