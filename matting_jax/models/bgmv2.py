"""BackgroundMattingV2 (Lin et al., CVPR 2021): alpha and foreground, given the empty background.

A base network works at a fraction of the photo's size and says where it expects to be wrong; a
refiner looks at these places alone at full size. Source: PeterL1n/BackgroundMattingV2, model/.
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
from matting_jax.image.geometry import enlarge_nearest, pad_to_multiple, resize
from matting_jax.image.patches import cut, put
from matting_jax.models.backbones.mobilenet_v2 import MobileNetV2
from matting_jax.models.backbones.resnet import ResNet
from matting_jax.models.layers.convolutions import Conv, pad_sides
from matting_jax.models.layers.dtypes import as_dtype
from matting_jax.models.layers.forms import is_cpu_form
from matting_jax.models.layers.initialisers import (
    fan_in_uniform,
    he_normal_fan_out,
    uniform_of_fan_in,
)
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.network import Network
from matting_jax.models.sides import check_sides

Array = jax.Array
BACKBONES = ("resnet50", "resnet101", "mobilenet_v2")
MODES = ("sampling", "thresholding", "full")
RATES = (3, 6, 9)
HIDDEN = 32

# A place costs so much more as a patch than as a part of the whole image, whose windows overlap.
PATCH_COST = {1: 1, 3: 5}
PATCH = 8  # side of what the refiner with 3 x 3 kernels sees of a place, at half size
# Shares of all places for which thresholding has room; where there are more it looks everywhere.
CAPACITIES = (1 / 64, 1 / 32, 1 / 16, 1 / 8)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: what lies near, further and anywhere in the image.

    x [B, h, w, C] -> [B, h, w, 256]. `keys`, one a sample, drop half of the result, element by
    element. Source: torchvision/models/segmentation/deeplabv3.py.
    """

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, keys: Array | None = None) -> Array:
        def block(x, name, size=1, rate=1, index=0):
            x = Conv(
                256,
                size,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=fan_in_uniform,
                dilation=rate,
                name=f"{name}_{index}",
            )(x)
            return nn.relu(self.norm(name=f"{name}_{index + 1}")(x))

        scales = [block(x, "convs_0")]
        for i, rate in enumerate(RATES, 1):
            scales.append(block(x, f"convs_{i}", 3, rate))
        mean = block(jnp.mean(x, (1, 2), keepdims=True), "convs_4", index=1)
        scales.append(jnp.broadcast_to(mean, scales[0].shape))
        x = block(jnp.concatenate(scales, axis=-1), "project")
        if keys is None:
            return x
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, x.shape[1:]))(keys)
        return jnp.where(kept, 2 * x, 0)


class Decoder(nn.Module):
    """x [B, h, w, 256] and skips of rising size -> [B, H, W, 37], of the size of the last skip.

    The channels: alpha, the foreground's residual (3), error and hidden features (32).
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
        bias = uniform_of_fan_in(9 * x.shape[-1])
        return conv(5 + HIDDEN, bias_init=bias, name="conv4")(x)


class Refiner(nn.Module):
    """Alpha and residual again, of patches or of whole images.

    half [N, h, w, 42]: hidden features, alpha, residual, photo and background at half size; whole
    [N, H, W, 6]: photo and background. No convolution pads, so both must reach as far beyond the
    result [N, H', W', 4] as their kernels do. `valid` [N], 0 or 1, says which count in statistics.
    """

    norm: Any
    kernel_size: int = 3
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, half: Array, whole: Array, valid: Array | None = None) -> Array:
        are_patches = half.shape[1:3] == (PATCH, PATCH)
        conv = partial(
            Conv,
            kernel_size=self.kernel_size,
            padding=0,
            dtype=self.dtype,
            kernel_init=fan_in_uniform,
        )
        dtype = self.dtype or half.dtype

        def block(x, features, i, **options):
            x = conv(features, use_bias=False, name=f"conv{i}", **options)(x)
            return nn.relu(self.norm(name=f"bn{i}")(x, valid))

        x = block(block(half.astype(dtype), 24, 1), 16, 2)
        x = jnp.concatenate([enlarge_nearest(x, 2), whole.astype(dtype)], axis=-1)
        x = block(x, 12, 3, products_first=are_patches and is_cpu_form(self.form))
        bias = uniform_of_fan_in(self.kernel_size**2 * 12)
        return conv(4, bias_init=bias, name="conv4")(x).astype(half.dtype)


class BGMv2(nn.Module):
    """Alpha and foreground of what the photo has and its background lacks.

    image, background [B, H, W, 3] float RGB in [0, 1]. Returns a dict, all in [0, 1] but `hidden`:
    alpha [B, H, W, 1] and foreground [B, H, W, 3], and with `refine`, for which H and W must be
    multiples of 4, else ValueError, coarse_alpha, coarse_foreground and coarse_error, the base
    network's at `backbone_scale` (at most 0.5), and refined [B, H/4, W/4, 1], 1 where the refiner
    looked; without, error [B, H, W, 1] and hidden [B, H, W, 32] >= 0.

    `backbone`: "resnet50", "resnet101" or "mobilenet_v2". `refine_mode`: "sampling", the
    `sample_pixels` with the largest error, all of them where the image has fewer, and with
    `prevent_oversampling` only those whose error is above 0; "thresholding", those with an error
    above `threshold`; "full". `kernel_size` 3 or 1 of the refiner. `train` takes batch statistics
    unless `frozen_statistics`, over all devices of `axis_name`, the refiner's over the patches that
    it refines. `keys`, one random key a sample, drop out half of the context.
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
        self.check(*image.shape[1:3])
        norm = batch_norm(self, train)
        both = jnp.concatenate([image, background], axis=-1)
        small = both
        if self.refine:
            height, width = image.shape[1:3]
            scale = self.backbone_scale
            small = resize(both, max(int(height * scale), 1), max(int(width * scale), 1))
        x = as_dtype(small, self.dtype)
        *skips, deepest = encode(self, norm, x)
        context = ASPP(norm, self.dtype, name="aspp")(deepest, keys if train else None)
        decoded = Decoder(norm, self.dtype, name="decoder")(context, [*reversed(skips), x])
        decoded = decoded.astype(image.dtype)
        alpha, residual, error, hidden = jnp.split(decoded, (1, 4, 5), axis=-1)
        alpha, error, hidden = unit(alpha), unit(error), nn.relu(hidden)
        foreground = unit(small[..., :3] + residual)
        if not self.refine:
            return {"alpha": alpha, "foreground": foreground, "error": error, "hidden": hidden}

        # The form that is fast on CPU has a slower gradient.
        form = "lax" if train else self.form
        refiner = Refiner(norm, self.kernel_size, self.dtype, form, name="refiner")
        coarse = jnp.concatenate([hidden, alpha, residual], axis=-1)
        learning = train and not self.frozen_statistics
        refined, mask = self.refined(refiner, both, coarse, error, learning)
        return {
            "alpha": unit(refined[..., :1]),
            "foreground": unit(refined[..., 1:] + image),
            "coarse_alpha": alpha,
            "coarse_foreground": foreground,
            "coarse_error": error,
            "refined": mask,
        }

    def check(self, height: int, width: int) -> None:
        """Raise ValueError where a field or the photo's size is none that the network can have."""
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
        if self.sample_pixels < 16:
            raise ValueError(
                "sample_pixels of bgmv2 must be at least 16, the pixels of a patch, "
                f"got {self.sample_pixels}"
            )
        # Inside a jitted search for a threshold its value is not known yet.
        if isinstance(self.threshold, float | int) and not 0 <= self.threshold <= 1:
            raise ValueError(
                "threshold of bgmv2 must lie in [0, 1], as the errors do that it is for, "
                f"got {self.threshold}"
            )
        check_sides("BGMv2 with refinement", height, width, 4)

    def refined(
        self, refiner: Refiner, both: Array, coarse: Array, error: Array, learning: bool
    ) -> tuple[Array, Array]:
        """Alpha and residual [B, H, W, 4], refined where the mask [B, H/4, W/4, 1] is 1.

        both [B, H, W, 6]; coarse [B, h, w, 36], hidden features, alpha and residual, and error.
        While the refiner is `learning` its statistics are those of its patches. Else patches and
        the whole image at once give the same, and what costs less is done.
        """
        batch, height, width, _ = both.shape
        error = lax.stop_gradient(resize(error, height // 4, width // 4))
        half = [resize(x, height // 2, width // 2) for x in (coarse, both)]
        margin = self.kernel_size // 2
        half = pad_sides(jnp.concatenate(half, -1), 3 * margin)
        whole = pad_sides(both, 2 * margin)
        base = resize(coarse[..., HIDDEN:], height, width)

        def everywhere(refiner: Any, mask: Array) -> Array:
            return jnp.where(enlarge_nearest(mask, 4) > 0, refiner(half, whole), base)

        def at(refiner: Any, cells: Array, valid: Array) -> Array:
            rows, columns = jnp.divmod(cells, width // 4)
            patches = refiner(
                cut(half, 2 * rows, 2 * columns, 2 + 6 * margin),
                cut(whole, 4 * rows, 4 * columns, 4 + 4 * margin),
                valid.reshape(-1),
            )
            return put(base, cells, patches, valid)

        if self.refine_mode == "full":
            mask = jnp.ones_like(error)
            return everywhere(refiner, mask), mask

        places = error[0].size
        limit, count = self.threshold, places
        if self.refine_mode == "sampling":
            limit = 0 if self.prevent_oversampling else -1
            count = min(self.sample_pixels // 16, places)
        values, cells = lax.top_k(error.reshape(batch, places), count)
        valid = (values > limit).astype(error.dtype)
        mask = put(jnp.zeros_like(error), cells, valid.reshape(-1, 1, 1, 1), valid)
        if learning or count * PATCH_COST[self.kernel_size] < places:
            return at(refiner, cells, valid), mask
        if self.refine_mode == "sampling" or self.is_initializing():
            return everywhere(refiner, mask), mask

        # As many patches as it takes, rounded up to one of a few capacities; or everywhere.
        capacities = [int(share * places) for share in CAPACITIES]
        network = partial(refiner.clone(parent=None).apply, refiner.variables)
        branches = [
            lambda size=size: at(network, cells[:, :size], valid[:, :size]) for size in capacities
        ]
        branches.append(lambda: everywhere(network, mask))
        needed = jnp.max(jnp.sum(valid, axis=1))
        chosen = jnp.sum(needed > jnp.asarray(capacities))
        return lax.switch(chosen, branches), mask


def encode(model: BGMv2, norm: Any, x: Array) -> list[Array]:
    """Features of x [B, H, W, 6] at 1/2, 1/4, 1/8 and 1/16 of its size, by the model's backbone."""
    options = {"output_stride": 16, "stem_init": fan_in_uniform, "name": "backbone"}
    if model.backbone == "mobilenet_v2":
        backbone = MobileNetV2(
            norm, model.dtype, model.form, kernel_init=he_normal_fan_out, **options
        )
        return list(backbone(x).values())
    taps = ResNet(model.backbone, norm, model.dtype, form=model.form, **options)(x)
    return [*taps[:3], taps[-1]]


def unit(x: Array) -> Array:
    """x cut to [0, 1]; its derivative is 1 at both ends, as in PyTorch."""
    return jnp.where(x < 0, 0, jnp.where(x > 1, 1, x))


def predict(
    apply: Callable[..., Array],
    image: Array,
    background: Array,
    *,
    model: BGMv2,
) -> Array:
    """Predicts alpha at full size.

    With refinement both inputs are padded to multiples of 4; the official programs stop there.

    Args:
        apply: Runs the network, see `network.Network`.
        image: Photos [N, H, W, 3] in [0, 1].
        background: The same places without the subject [N, H, W, 3].
        model: The network.

    Returns:
        Alpha [N, H, W, 1].
    """
    height, width = image.shape[1:3]
    multiple = 4 if model.refine else 1
    image, background = (pad_to_multiple(x, multiple) for x in (image, background))
    return apply("alpha", image=image, background=background)[:, :height, :width]


NETWORK = Network(BGMv2, predict, foreground="foreground")
