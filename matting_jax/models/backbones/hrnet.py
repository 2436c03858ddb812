"""HRNet (Wang et al., 2020) without its classifier, as PP-Matting uses it.

Up to four parallel branches, each at half the size of the previous one, exchange their features.
The modules are named as in the source, and convolutions are padded as in TensorFlow.
Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/models/backbone/hrnet.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from flax import linen as nn

from matting_jax.image.geometry import upsample
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.forms import relu_once, rematerialise
from matting_jax.models.layers.initialisers import normal

Array = jax.Array

# Channels of the first branch; each further branch has twice as many as the previous one.
WIDTHS = {"hrnet_w18": 18, "hrnet_w48": 48}
BLOCKS = 4  # in the first layer, and in each branch of a module
MODULES = {2: 1, 3: 4, 4: 3}  # number of modules by stage; stage n has n branches


class ConvNorm(nn.Module):
    """Convolution, normalisation and, if `relu`, ReLU."""

    features: int
    kernel_size: int
    norm: Any
    conv: Any = Conv
    stride: int = 1
    relu: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = self.conv(self.features, self.kernel_size, self.stride, name="_conv")(x)
        x = self.norm(name="_batch_norm")(x)
        return nn.relu(x) if self.relu else x


class Bottleneck(nn.Module):
    """Three convolutions to 256 channels plus the input, which the `first` block convolves too."""

    layer: Any
    first: bool
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = self.layer(64, 1, name="conv1")(x)
        y = self.layer(64, 3, name="conv2")(y)
        y = self.layer(256, 1, relu=False, name="conv3")(y)
        if self.first:
            x = self.layer(256, 1, relu=False, name="conv_down")(x)
        return relu_once(x + y, self.form)


class FirstLayer(nn.Module):
    """The bottlenecks before the first branches."""

    layer: Any
    form: str = "auto"
    rematerialise: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        bottleneck = rematerialise(Bottleneck, self.rematerialise)
        for block in range(1, BLOCKS + 1):
            x = bottleneck(self.layer, block == 1, self.form, name=f"bb_layer2_{block}")(x)
        return x


class BasicBlock(nn.Module):
    """Two convolutions plus the input, with the same channels."""

    layer: Any
    form: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = self.layer(x.shape[-1], 3, name="conv1")(x)
        y = self.layer(x.shape[-1], 3, relu=False, name="conv2")(y)
        return relu_once(x + y, self.form)


class Branches(nn.Module):
    """The blocks of each branch. `label` is the module's part of the names."""

    layer: Any
    label: str
    form: str = "auto"

    @nn.compact
    def __call__(self, maps: list[Array]) -> list[Array]:
        results = []
        for branch, x in enumerate(maps, 1):
            for block in range(1, BLOCKS + 1):
                name = f"bb_{self.label}_branch_layer_{branch}_{block}"
                x = BasicBlock(self.layer, self.form, name=name)(x)
            results.append(x)
        return results


class Exchange(nn.Module):
    """Adds to each branch all others, resized to its size and channels."""

    layer: Any
    label: str
    form: str = "auto"

    @nn.compact
    def __call__(self, maps: list[Array]) -> list[Array]:
        results = []
        for to, own in enumerate(maps, 1):
            total = own
            for source, x in enumerate(maps, 1):
                name = f"residual_{self.label}_layer_{to}_{source}"
                if source > to:
                    x = self.layer(own.shape[-1], 1, relu=False, name=name)(x)
                    total += upsample(x, 2 ** (source - to))
                elif source < to:
                    total += self.reduce(x, own.shape[-1], to - source, name)
            results.append(relu_once(total, self.form))
        return results

    def reduce(self, x: Array, features: int, times: int, name: str) -> Array:
        """Halves x `times` times by convolutions.

        Only the last one changes the channels to `features`, without ReLU.
        """
        for step in range(1, times):
            x = self.layer(x.shape[-1], 3, stride=2, name=f"{name}_{step}")(x)
        return self.layer(features, 3, stride=2, relu=False, name=f"{name}_{times}")(x)


class ExchangeModule(nn.Module):
    """The blocks of each branch, then the exchange between branches."""

    layer: Any
    label: str
    form: str = "auto"

    @nn.compact
    def __call__(self, maps: list[Array]) -> list[Array]:
        maps = Branches(self.layer, self.label, self.form, name="branches_func")(maps)
        return Exchange(self.layer, self.label, self.form, name="fuse_func")(maps)


class Stage(nn.Module):
    """Modules with `number` branches each."""

    layer: Any
    number: int
    form: str = "auto"
    rematerialise: bool = False

    @nn.compact
    def __call__(self, maps: list[Array]) -> list[Array]:
        exchange = rematerialise(ExchangeModule, self.rematerialise)
        for module in range(1, MODULES[self.number] + 1):
            label = f"st{self.number}_{module}"
            maps = exchange(self.layer, label, self.form, name=f"stage_{label}")(maps)
        return maps


class FirstTransition(nn.Module):
    """Makes the first two branches: `width` channels, and 2 * `width` at half the size."""

    layer: Any
    width: int

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        first = self.layer(self.width, 3, name="transition_tr1_layer_1")(x)
        second = self.layer(2 * self.width, 3, stride=2, name="transition_tr1_layer_2")(x)
        return [first, second]


class Transition(nn.Module):
    """Adds a branch with half the size and twice the channels of the last one."""

    layer: Any
    label: str

    @nn.compact
    def __call__(self, maps: list[Array]) -> list[Array]:
        name = f"transition_{self.label}_layer_{len(maps) + 1}"
        smaller = self.layer(2 * maps[-1].shape[-1], 3, stride=2, name=name)(maps[-1])
        return [*maps, smaller]


class HRNet(nn.Module):
    """Features of an image at 1/2, 1/4, 1/8, 1/16 and 1/32 of its size.

    image [B, H, W, 3] in [-1, 1] -> a list of features with 64, `width`, 2, 4 and 8 times `width`
    channels. `rematerialise` recomputes the activations of bottlenecks and modules in the backward
    pass.
    """

    width: int
    norm: Any
    dtype: Any = None
    form: str = "auto"
    rematerialise: bool = False

    @nn.compact
    def __call__(self, image: Array) -> list[Array]:
        conv = partial(
            Conv,
            padding="SAME",
            use_bias=False,
            dtype=self.dtype,
            kernel_init=normal(0.001),
        )
        layer = partial(ConvNorm, norm=self.norm, conv=conv)
        half = layer(64, 3, stride=2, name="conv_layer1_1")(image)
        x = layer(64, 3, stride=2, name="conv_layer1_2")(half)
        x = FirstLayer(layer, self.form, self.rematerialise, name="la1")(x)
        maps = FirstTransition(layer, self.width, name="tr1")(x)
        maps = Stage(layer, 2, self.form, self.rematerialise, name="st2")(maps)
        for number in (3, 4):
            maps = Transition(layer, f"tr{number - 1}", name=f"tr{number - 1}")(maps)
            name = f"st{number}"
            maps = Stage(layer, number, self.form, self.rematerialise, name=name)(maps)
        return [half, *maps]
