"""GFM (Li et al., IJCV 2022): glance at the whole, focus on the transition, merge both to alpha.

An encoder and two decoders: the glance decoder classifies background, transition and foreground,
the focus decoder predicts alpha in the transition. Source: JizhiziLi/GFM, core/gfm.py and
core/test.py. The paper adds the pyramid's features to those of each stage of the glance decoder;
the released network, the default here, concatenates them.
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
from matting_jax.image.geometry import resize_smooth, upsample
from matting_jax.models.backbones.densenet import DenseNet121
from matting_jax.models.backbones.resnet import ResNet
from matting_jax.models.backbones.resnet34_2b import DeeperLayers, Stem
from matting_jax.models.layers.activations import probability
from matting_jax.models.layers.context import PyramidPooling, SEBlock
from matting_jax.models.layers.convolutions import Conv, conv3
from matting_jax.models.layers.dtypes import as_dtype, at_least_float32
from matting_jax.models.layers.initialisers import uniform_of_fan_in
from matting_jax.models.layers.norms import batch_norm
from matting_jax.models.layers.pooling import max_pool_2x2
from matting_jax.models.network import Network, Sizes, TrimapRule
from matting_jax.models.sides import check_sides

Array = jax.Array
Outputs = dict[str, Array]

# Classes of the glance decoder by representation: background, transition and foreground; the eroded
# foreground and the rest; the dilated foreground and the rest.
CLASSES = {"tt": 3, "ft": 2, "bt": 2}
ROSTAS = (*CLASSES, "rim")
PYRAMIDS = ("concatenate", "sum")

# Channels of the convolutions of each decoder block, by its official number. One more
# convolution of block 0 yields the classes or the focus.
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
    """3x3 convolutions with bias, each followed by `norm` and ReLU; except the last if `bare`.

    x [B, H, W, C] -> [B, factor * H, factor * W, features[-1]], enlarged at the end. The layers are
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


class Reduction(nn.Module):
    """Reduces the last features of DenseNet-121: [B, h, w, C] -> [B, h/2, w/2, 512]."""

    norm: Any
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = conv3(512, x, self.dtype, name="encoder4_1")
        return max_pool_2x2(nn.relu(self.norm(name="encoder4_2")(x)))


class Glance(nn.Module):
    """The semantic decoder, whose blocks also get the enlarged features of the pyramid.

    deepest [B, H/32, W/32, C] -> {head: logits [B, H, W, n]} for `heads` {head: n}.
    """

    backbone: str
    heads: Mapping[str, int]
    block: Any
    pyramid_pooling: bool = True
    pyramid: str = "concatenate"
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

        def join(k: int, x: Array) -> Array:
            if k not in skips:
                return x
            if self.pyramid == "sum":
                return skips[k] + x
            return jnp.concatenate([skips[k], x], axis=-1)

        return decode(self, deepest, join, "g")


class Focus(nn.Module):
    """The detail decoder, whose blocks also get the encoder's features of their size.

    taps, largest first -> {head: logits [B, H, W, n]} for `heads` {head: n}.
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

        def join(k: int, x: Array) -> Array:
            return jnp.concatenate([x, skips[k]], axis=-1) if k in skips else x

        return decode(self, x, join, "f")


def decode(
    decoder: Glance | Focus, x: Array, join: Callable[[int, Array], Array], letter: str
) -> Outputs:
    """Applies the blocks of a decoder, and one last block for each of its heads.

    Args:
        decoder: the module whose blocks these are.
        x: input of the first block.
        join: maps the number of a block and x to the input of that block.
        letter: ending of the names of the blocks.

    Returns:
        Logits by head.
    """
    *blocks, (_, last) = DECODERS[decoder.backbone].items()
    # r34_2b has two blocks more and reaches full size two blocks before the end.
    last_enlarged = 2 if decoder.backbone == "resnet34_2b" else 0
    for k, features in blocks:
        factor = 2 if k >= last_enlarged else 1
        block = decoder.block(features, factor=factor, name=f"decoder{k}_{letter}")
        x = block(join(k, x))
    x = join(0, x)
    factor = 1 if last_enlarged else 2
    return {
        head: decoder.block((*last, n), bare=True, factor=factor, name=f"decoder0_{head}")(x)
        for head, n in decoder.heads.items()
    }


def fuse(rosta: str, glance: Array, focus: Array) -> Array:
    """Merges glance [B, H, W, n] and focus [B, H, W, 1], both in [0, 1], to alpha [B, H, W, 1].

    Of equal scores of the glance the first counts; the glance receives no gradient. The focus
    receives none where alpha is clipped at 0 or 1.
    """
    label = jnp.argmax(glance, -1, keepdims=True)
    if rosta == "tt":
        return jnp.where(label == 1, focus, (label == 2).astype(focus.dtype))
    alpha = label + focus if rosta == "ft" else label - focus
    return jnp.where(alpha > 1, 1, jnp.where(alpha < 0, 0, alpha))


class Integration(nn.Module):
    """RoSTa integration, RIM: three alphas [B, H, W, 3] -> one [B, H, W, 1], not clipped."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = uniform_of_fan_in(x.shape[-1])
        x = Conv(16, 1, kernel_init=init, bias_init=init, name="0")(x)
        x = SEBlock(name="1")(x)
        init = uniform_of_fan_in(x.shape[-1])
        return Conv(1, 1, kernel_init=init, bias_init=init, name="2")(x)


class GFM(nn.Module):
    """Predicts semantics, detail of the transition and alpha of the subject of a photo.

    image [B, H, W, 3] float RGB in [0, 1], H and W multiples of 32. Returns a dict: glance
    [B, H, W, 3 or 2], scores of the classes of `rosta`, focus and alpha [B, H, W, 1]; all in
    [0, 1], float32 (float64 for float64 input). RIM has glance_tt, focus_tt, alpha_tt, the same for
    ft and bt, and an alpha, made of the three, that may leave [0, 1]. In training also the logits
    of each glance, glance_logits or glance_logits_tt and so on.

    Attributes:
        backbone: "resnet34", "resnet34_2b" (with features at full size), "densenet121" or
            "resnet101".
        rosta: classes of the glance: "tt" (background, transition, foreground), "ft" (rest, eroded
            foreground) or "bt" (rest, dilated foreground); "rim" integrates all three.
        pyramid_pooling: False: the glance decoder gets only the encoder's last features.
        pyramid: how the features of the pyramid join those of the glance decoder: "concatenate",
            as in the released checkpoints, or "sum", element by element, as in the paper.
        bridge_block: False: the focus decoder starts from the encoder's last features.
        dtype: dtype of the activations; None: that of the image.
        axis_name: mapped axis over whose devices batch statistics are taken.
        frozen_statistics: training uses and keeps the running statistics.
        form: form of the backbone, see `layers.forms`.
    """

    backbone: str = "resnet34"
    rosta: str = "tt"
    pyramid_pooling: bool = True
    pyramid: str = "concatenate"
    bridge_block: bool = True
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, image: Array, *, train: bool = False) -> Outputs:
        one_of(self.backbone, DECODERS, "backbone of gfm")
        one_of(self.rosta, ROSTAS, "rosta of gfm")
        one_of(self.pyramid, PYRAMIDS, "pyramid of gfm")
        check_sides("GFM", *image.shape[1:3])
        norm = batch_norm(self, train)
        taps = self.encode(255 * image, norm)
        block = partial(ConvBlock, norm=norm, dtype=self.dtype)
        # The representations share all but the last block of each decoder.
        rostas = CLASSES if self.rosta == "rim" else (self.rosta,)
        suffix = {rosta: f"_{rosta}" if self.rosta == "rim" else "" for rosta in rostas}
        glance_heads = {f"g{suffix[rosta]}": CLASSES[rosta] for rosta in rostas}
        focus_heads = {f"f{suffix[rosta]}": 1 for rosta in rostas}
        glance = partial(Glance, self.backbone, glance_heads, block, dtype=self.dtype)
        glance = glance(self.pyramid_pooling, self.pyramid, name="glance")(taps[-1])
        focus = Focus(self.backbone, focus_heads, block, self.bridge_block, name="focus")(taps)

        outputs = {}
        for rosta in rostas:
            end = suffix[rosta]
            outputs[f"glance{end}"] = probability(glance[f"g{end}"])
            if train:
                outputs[f"glance_logits{end}"] = at_least_float32(glance[f"g{end}"])
            outputs[f"focus{end}"] = probability(focus[f"f{end}"])
            outputs[f"alpha{end}"] = fuse(rosta, outputs[f"glance{end}"], outputs[f"focus{end}"])
        if self.rosta == "rim":
            alphas = jnp.concatenate([outputs[f"alpha_{rosta}"] for rosta in rostas], axis=-1)
            outputs["alpha"] = Integration(name="rim")(alphas)
        return outputs

    def encode(self, x: Array, norm: Any) -> list[Array]:
        """Returns the features of the encoder, largest first, for an image in [0, 255]."""
        x = as_dtype(x, self.dtype)
        if self.backbone == "densenet121":
            *taps, x = DenseNet121(norm, self.dtype, name="backbone")(x)
            return [*taps, Reduction(norm, self.dtype, name="encoder")(x)]
        resnet = partial(ResNet, norm=norm, dtype=self.dtype, form=self.form, name="backbone")
        if self.backbone == "resnet34_2b":
            x = Stem(norm, self.dtype, name="encoder0")(x)
            taps = [x, *resnet("resnet34", stem=False)(x)]
            return [*taps, *DeeperLayers(norm, self.dtype, self.form, name="encoder")(taps[-1])]
        return resnet(self.backbone)(x)


STRATEGIES = ("hybrid", "resize")
SCALES = (1 / 3, 1 / 2)  # sizes of the glance and of the focus as fractions of the photo's


def network_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Returns the network's size for a photo of height x width, `scale` times as large.

    Both sides are rounded down to multiples of 32, at most 1600. The published rule fails below 32.
    """
    sides = [int(side * scale) // 32 * 32 for side in (height, width)]
    return tuple(min(max(side, 32), 1600) for side in sides)


def passes(height: int, width: int, *, model: GFM, strategy="hybrid", scales=SCALES, **_) -> Sizes:
    """Returns the network's sizes for a photo of height x width by `predict`."""
    glance, focus = (network_size(height, width, scale) for scale in scales)
    if model.rosta == "rim":
        return {"alpha": glance}
    return {"alpha": focus} if strategy == "resize" else {"glance": glance, "focus": focus}


DEFAULT = GFM()


def predict(
    apply: Callable[..., Array],
    image: Array,
    *,
    model: GFM = DEFAULT,
    strategy: str = "hybrid",
    scales: tuple[float, float] = SCALES,
    exact: bool = False,
) -> Array:
    """Predicts alpha by a published rule, HYBRID or RESIZE.

    HYBRID, the rule of the published results, takes the glance at a third of the photo's size and
    the focus at a half. RESIZE takes the network's alpha at a half, RIM at a third.
    Source: JizhiziLi/GFM, core/test.py.

    Args:
        apply: runs the network, see `network.Network`.
        image: photos [N, H, W, 3] in [0, 1].
        model: the network, for what its keywords change in the rule.
        strategy: "hybrid" or "resize"; ignored for RIM.
        scales: sizes of the glance and of the focus, as fractions of the photo's.
        exact: HYBRID sets pixels around which all labels are equal. The published rule tests this
            to the last bit, which leaves single pixels of plain foreground to the focus. True: as
            published; False: with a tolerance.

    Returns:
        Alpha [N, H, W, 1].
    """
    one_of(strategy, STRATEGIES, "strategy of gfm")
    height, width = image.shape[1:3]
    sizes = passes(height, width, model=model, strategy=strategy, scales=scales)
    if "alpha" in sizes:
        small = resize_smooth(image, *sizes["alpha"]).astype(np.float32)
        return resize_smooth(apply("alpha", image=small), height, width).astype(np.float32)

    small = resize_smooth(image, *sizes["glance"]).astype(np.float32)
    label = apply("glance", image=small).argmax(-1)[..., None]
    levels = np.array([0, 128, 255] if model.rosta == "tt" else [0, 255]) / 255
    xp = image.__array_namespace__()
    glance = 255 * resize_smooth(xp.asarray(levels)[label], height, width)
    small = resize_smooth(image, *sizes["focus"]).astype(np.float32)
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
    passes=passes,
    trimap=TrimapRule(head="glance", sure=0.8, margin=0.0, heads={"glance": (2, 0), "alpha": (0,)}),
    ranges={"test_time.scales": "(0, inf)"},
    choices={"test_time.strategy": STRATEGIES},
)
