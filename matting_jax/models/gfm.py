"""GFM (Li et al., IJCV 2022): glance at the whole, focus on the transition, merge both to alpha.

One encoder, two decoders: the glance decoder says where background, transition and foreground are,
the focus decoder what alpha is in the transition. Source: JizhiziLi/GFM, core/gfm.py and
core/test.py. The paper draws the pyramid's features as added to the glance decoder's; the released
network, and this, concatenates them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from matting_jax.choices import one_of
from matting_jax.image.geometry import resize_aligned, resize_area, resize_smooth, upsample
from matting_jax.models.backbones.densenet import DenseNet121
from matting_jax.models.backbones.resnet import BasicBlock, ResNet
from matting_jax.models.layers.activations import probability
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.initialisers import uniform_of_fan_in
from matting_jax.models.layers.norms import BatchNorm
from matting_jax.models.modnet import SEBlock
from matting_jax.models.network import Network, TrimapRule

Array = jax.Array
Outputs = dict[str, Array]

# Classes of the glance decoder, by what it represents: background, transition and foreground;
# the eroded foreground, or the dilated one, against all else.
CLASSES = {"tt": 3, "ft": 2, "bt": 2}
ROSTAS = (*CLASSES, "rim")

# Channels of the three convolutions of each decoder block, by the number of its official name; the
# last of block 0 gives the classes, or the focus.
SMALL = {4: (512, 512, 256), 3: (256, 256, 128), 2: (128, 128, 64), 1: (64, 64, 64), 0: (64, 64)}
DECODERS = {
    "resnet34": SMALL,
    "resnet34_2b": {6: (512, 512, 512), 5: (512, 512, 512), **SMALL, 0: ()},
    "densenet121": SMALL,
    "resnet101": {
        4: (2048, 1024, 1024),
        3: (1024, 512, 512),
        2: (512, 256, 256),
        1: (256, 128, 64),
        0: (64, 64),
    },
}


class ConvBlock(nn.Module):
    """3x3 convolutions with bias, each before `norm` and ReLU; the last without these if `bare`.

    x [B, H, W, C] -> [B, factor * H, factor * W, features[-1]], enlarged at the end. The parts are
    numbered as in the official `nn.Sequential`.
    """

    features: tuple[int, ...]
    norm: Any
    dtype: Any = None
    dilation: int = 1
    bare: bool = False
    factor: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, features in enumerate(self.features):
            x = conv3(features, x, self.dtype, self.dilation, name=f"{3 * i}")
            if not self.bare or i < len(self.features) - 1:
                x = nn.relu(self.norm(name=f"{3 * i + 1}")(x))
        return upsample(x, self.factor) if self.factor > 1 else x


def conv3(features: int, x: Array, dtype: Any, dilation: int = 1, *, name: str) -> Array:
    """3x3 convolution of x with bias, drawn as PyTorch draws it by default."""
    init = uniform_of_fan_in(9 * x.shape[-1])
    return Conv(
        features, 3, dtype=dtype, kernel_init=init, dilation=dilation, bias_init=init, name=name
    )(x)


class PyramidPooling(nn.Module):
    """x [B, h, w, C] beside its means over 1, 3 x 3 and 5 x 5 parts, fused to [B, h, w, C]."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        _, height, width, channels = x.shape
        scales = []
        for i, size in enumerate((1, 3, 5)):
            prior = Conv(
                channels,
                1,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=uniform_of_fan_in(channels),
                name=f"stages_{i}_1",
            )(resize_area(x, size, size))
            scales.append(resize_aligned(prior, height, width))
        init = uniform_of_fan_in(4 * channels)
        fuse = Conv(
            channels, 1, dtype=self.dtype, kernel_init=init, bias_init=init, name="bottleneck"
        )
        return nn.relu(fuse(jnp.concatenate([*scales, x], axis=-1)))


class Encoder(nn.Module):
    """What GFM adds to a backbone: r34_2b two layers, d121 the reduction of its last features.

    `taps`, the backbone's features from large to small -> GFM's, the last at 1/32 of the size.
    """

    backbone: str
    norm: Any
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, taps: list[Array]) -> list[Array]:
        if self.backbone == "densenet121":
            *taps, x = taps
            x = nn.relu(self.norm(name="encoder4_2")(conv3(512, x, self.dtype, name="encoder4_1")))
            return [*taps, halve(x)]
        for layer in (5, 6):
            x = halve(taps[-1])
            for i in (1, 2, 3):
                name = f"encoder{layer}_{i}"
                x = BasicBlock(512, 1, self.norm, self.dtype, self.form, name=name)(x)
            taps = [*taps, x]
        return taps


def halve(x: Array) -> Array:
    """The largest of each 2x2 places of x."""
    return nn.max_pool(x, (2, 2), (2, 2))


class Stem(nn.Module):
    """The first features of r34_2b, at the photo's size: [B, H, W, 3] -> [B, H, W, 64]."""

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.relu(self.norm(name="1")(conv3(64, x, self.dtype, name="0")))


class Glance(nn.Module):
    """The decoder that looks at the whole: each block also sees the pyramid's features, enlarged.

    deepest [B, H/32, W/32, C] -> logits [B, H, W, n] under the names of `heads`, which says each n.
    """

    backbone: str
    heads: Mapping[str, int]
    block: Any
    pyramid_pooling: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, deepest: Array) -> Outputs:
        blocks, skips = DECODERS[self.backbone], {}
        top = max(blocks)
        if self.pyramid_pooling:
            psp = PyramidPooling(self.dtype, name="psp_module")(deepest)
            skips[top] = psp
            for k in range(top, 1 if self.backbone == "resnet34_2b" else 0, -1):
                features, factor = (blocks[k][-1],), 2 ** (top + 1 - k)
                skips[k - 1] = self.block(features, factor=factor, name=f"psp{k}")(psp)

        def beside(k: int, x: Array) -> Array:
            return jnp.concatenate([skips[k], x], axis=-1) if k in skips else x

        return decode(self, deepest, beside, "g")


class Focus(nn.Module):
    """The decoder that looks closely: each block also sees the encoder's features of its size.

    taps, from large to small -> logits [B, H, W, 1] under the names of `heads`.
    """

    backbone: str
    heads: Mapping[str, int]
    block: Any
    bridge_block: bool = True

    @nn.compact
    def __call__(self, taps: list[Array]) -> Outputs:
        deepest = taps[-1]
        skips = dict(enumerate(taps))
        if self.bridge_block:
            features = (deepest.shape[-1],) * 3
            x = self.block(features, dilation=2, name="bridge_block")(deepest)
        else:
            x = skips.pop(len(taps) - 1)
        if self.backbone == "resnet34_2b":
            del skips[0]

        def beside(k: int, x: Array) -> Array:
            return jnp.concatenate([x, skips[k]], axis=-1) if k in skips else x

        return decode(self, x, beside, "f")


def decode(decoder: Glance | Focus, x: Array, beside: Any, letter: str) -> Outputs:
    """The blocks of `decoder` one after the other, and one last block for each of its heads.

    beside(k, x) is what block k takes: x and what lies beside it.
    """
    *blocks, (_, last) = DECODERS[decoder.backbone].items()
    # Two blocks more, and the photo's size is reached two blocks before the end.
    smallest_enlarged = 2 if decoder.backbone == "resnet34_2b" else 0
    for k, features in blocks:
        factor = 2 if k >= smallest_enlarged else 1
        block = decoder.block(features, factor=factor, name=f"decoder{k}_{letter}")
        x = block(beside(k, x))
    x = beside(0, x)
    factor = 1 if smallest_enlarged else 2
    return {
        head: decoder.block((*last, n), bare=True, factor=factor, name=f"decoder0_{head}")(x)
        for head, n in decoder.heads.items()
    }


def fuse(rosta: str, glance: Array, focus: Array) -> Array:
    """Alpha [B, H, W, 1] from the scores glance [B, H, W, n] and focus [B, H, W, 1], in [0, 1].

    The first of equal scores counts, and none has a gradient; that of focus is 0 where alpha is cut
    off at 0 or 1.
    """
    label = jnp.argmax(glance, -1, keepdims=True)
    if rosta == "tt":
        return jnp.where(label == 1, focus, (label == 2).astype(focus.dtype))
    alpha = label + focus if rosta == "ft" else label - focus
    return jnp.where(alpha > 1, 1, jnp.where(alpha < 0, 0, alpha))


class Integration(nn.Module):
    """RoSTa integration, RIM: three alphas [B, H, W, 3] -> one [B, H, W, 1], not held in [0, 1]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = Conv(16, 1, kernel_init=uniform_of_fan_in(3), bias_init=uniform_of_fan_in(3), name="0")(
            x
        )
        x = SEBlock(name="1")(x)
        return Conv(
            1, 1, kernel_init=uniform_of_fan_in(16), bias_init=uniform_of_fan_in(16), name="2"
        )(x)


class GFM(nn.Module):
    """Semantics, detail of the transition, and alpha of the subject of one photo.

    image [B, H, W, 3] float RGB in [0, 1]; H and W multiples of 32, else ValueError.
    Returns a dict: glance [B, H, W, 3 or 2], scores of the classes of `rosta` ("tt": background,
    transition, foreground; "ft": rest, eroded foreground; "bt": rest, dilated foreground), focus
    and alpha [B, H, W, 1]; all in [0, 1], float32 (float64 for float64 input). `rosta` "rim" has
    glance_tt, focus_tt, alpha_tt and so for ft and bt, and an alpha made of the three that may
    leave [0, 1]. `backbone` is "resnet34", "resnet34_2b" (the photo's size from first to last),
    "densenet121" or "resnet101". Without `pyramid_pooling` the blocks of the glance decoder see one
    another's features alone, the first the encoder's; without `bridge_block` the focus decoder
    starts from the encoder's features. `train` takes batch statistics unless `frozen_statistics`,
    over all devices of `axis_name`; `form` is that of the pooling, see `layers`.
    """

    backbone: str = "resnet34"
    rosta: str = "tt"
    pyramid_pooling: bool = True
    bridge_block: bool = True
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, image: Array, *, train: bool = False) -> Outputs:
        one_of(self.backbone, DECODERS, "backbone of gfm")
        one_of(self.rosta, ROSTAS, "rosta of gfm")
        height, width = image.shape[1:3]
        if height % 32 or width % 32 or 0 in (height, width):
            raise ValueError(f"GFM needs sides that are multiples of 32, got {height}x{width}")
        norm = partial(
            BatchNorm,
            use_running_average=not train or self.frozen_statistics,
            axis_name=self.axis_name,
        )
        taps = self.encode(255 * image, norm)
        block = partial(ConvBlock, norm=norm, dtype=self.dtype)
        # Each representation has decoders of its own in the end, the rest is shared.
        rostas = CLASSES if self.rosta == "rim" else (self.rosta,)
        suffix = {rosta: f"_{rosta}" if self.rosta == "rim" else "" for rosta in rostas}
        glance_heads = {f"g{suffix[rosta]}": CLASSES[rosta] for rosta in rostas}
        focus_heads = {f"f{suffix[rosta]}": 1 for rosta in rostas}
        glance = Glance(
            self.backbone, glance_heads, block, self.pyramid_pooling, self.dtype, name="glance"
        )(taps[-1])
        focus = Focus(self.backbone, focus_heads, block, self.bridge_block, name="focus")(taps)

        outputs = {}
        for rosta in rostas:
            end = suffix[rosta]
            outputs[f"glance{end}"] = probability(glance[f"g{end}"])
            outputs[f"focus{end}"] = probability(focus[f"f{end}"])
            outputs[f"alpha{end}"] = fuse(rosta, outputs[f"glance{end}"], outputs[f"focus{end}"])
        if self.rosta == "rim":
            alphas = jnp.concatenate([outputs[f"alpha_{rosta}"] for rosta in rostas], axis=-1)
            outputs["alpha"] = Integration(name="rim")(alphas)
        return outputs

    def encode(self, x: Array, norm: Any) -> list[Array]:
        """Features of the encoder from large to small, of an image in [0, 255]."""
        if self.dtype is not None:
            x = x.astype(self.dtype)
        if self.backbone == "densenet121":
            taps = DenseNet121(norm, self.dtype, name="backbone")(x)
        elif self.backbone == "resnet34_2b":
            x = Stem(norm, self.dtype, name="encoder0")(x)
            backbone = ResNet("resnet34", norm, self.dtype, False, self.form, name="backbone")
            taps = [x, *backbone(x)]
        else:
            return ResNet(self.backbone, norm, self.dtype, form=self.form, name="backbone")(x)
        return Encoder(self.backbone, norm, self.dtype, self.form, name="encoder")(taps)


STRATEGIES = ("hybrid", "resize")
SCALES = (1 / 3, 1 / 2)  # of the glance and of the focus


def network_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """The size that the published rule gives the network for a photo of height x width, `scale`
    times as large: whole multiples of 32, 1600 at most; at least 32, where the rule fails."""
    sides = [int(side * scale) // 32 * 32 for side in (height, width)]
    return tuple(min(max(side, 32), 1600) for side in sides)


def predict(
    apply: Callable[..., Array],
    image: Array,
    *,
    model: GFM,
    strategy: str = "hybrid",
    scales: tuple[float, float] = SCALES,
    exact: bool = False,
) -> Array:
    """Predicts alpha by a published rule, HYBRID or RESIZE. Source: JizhiziLi/GFM, core/test.py.

    HYBRID, the rule of the published results, glances at the photo at a third of its size and
    focuses at a half. RESIZE takes the network's alpha at a half, RIM at a third.

    Args:
        apply: Runs the network, see `network.Network`.
        image: Photos [N, H, W, 3] in [0, 1].
        model: The network.
        strategy: "hybrid" or "resize"; RIM has one rule, its alpha.
        scales: Sizes of the glance and of the focus, as fractions of the photo's.
        exact: HYBRID takes a pixel for known where all labels around it are equal. The published
            rule, `exact`, asks for the enlarged labels to be whole numbers to the last bit, which
            leaves single pixels of plain foreground to the focus.

    Returns:
        Alpha [N, H, W, 1].
    """
    one_of(strategy, STRATEGIES, "strategy of gfm")
    height, width = image.shape[1:3]
    glance_size, focus_size = (network_size(height, width, scale) for scale in scales)
    if model.rosta == "rim" or strategy == "resize":
        size = glance_size if model.rosta == "rim" else focus_size
        small = resize_smooth(image, *size).astype(np.float32)
        return resize_smooth(apply("alpha", image=small), height, width).astype(np.float32)

    small = resize_smooth(image, *glance_size).astype(np.float32)
    label = apply("glance", image=small).argmax(-1)[..., None]
    levels = np.array([0, 128, 255] if model.rosta == "tt" else [0, 255]) / 255
    xp = image.__array_namespace__()
    glance = 255 * resize_smooth(xp.asarray(levels)[label], height, width)
    small = resize_smooth(image, *focus_size).astype(np.float32)
    focus = resize_smooth(apply("focus", image=small), height, width)
    if model.rosta == "ft":
        alpha = xp.minimum(glance / 255 + focus, 1)
    elif model.rosta == "bt":
        alpha = xp.maximum(glance / 255 - focus, 0)
    else:
        tolerance = 0 if exact else 0.01
        known = (glance <= tolerance) | (glance >= 255 - tolerance)
        alpha = xp.where(known, xp.rint(glance / 255), focus)
    return alpha.astype(np.float32)


NETWORK = Network(
    GFM,
    predict,
    trimap=TrimapRule("glance", 0.8, 0.0, {"glance": (2, 0), "alpha": (0,)}),
)
