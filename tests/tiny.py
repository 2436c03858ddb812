"""Small networks that compile in a second, and configs that train them."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from matting_jax import convert
from matting_jax.config import load_config
from matting_jax.image.geometry import upsample
from matting_jax.models import NETWORKS, gca, modnet
from matting_jax.models.layers.convolutions import Conv
from matting_jax.models.layers.depthwise import DepthwiseConv
from matting_jax.models.layers.dtypes import as_dtype
from matting_jax.models.layers.norms import batch_norm, instance_norm
from matting_jax.models.layers.spectral import SpectralConv
from matting_jax.models.network import Network
from matting_jax.models.sides import check_sides
from tests.helpers import CONFIGS, MODNET, MODNET_SOC, ROOT, use_folders

NAMES = str(ROOT / "tests" / "names")  # tables of their official names


class Part(nn.Module):
    """One convolution with both normalisations."""

    norm: Any
    stride: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        x = Conv(8, 3, self.stride, dtype=self.dtype, name="conv")(x)
        batch, instance = jnp.split(self.norm(name="norm")(x), 2, axis=-1)
        return nn.relu(jnp.concatenate([batch, instance_norm(instance)], axis=-1))


class Backbone(nn.Module):
    """Features at a quarter of the image's size, with a depth-wise convolution."""

    norm: Any
    dtype: Any = None
    form: str = "auto"

    @nn.compact
    def __call__(self, x):
        x = Part(self.norm, 2, self.dtype, name="stem")(x)
        return DepthwiseConv(2, self.dtype, form=self.form, name="depthwise")(x)


class Tiny(nn.Module):
    """A network with MODNet's interface and module names, which compiles in a second."""

    flavour: str = "official"
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False
    form: str = "auto"

    @nn.compact
    def __call__(self, image, *, train=False):
        check_sides("tiny", *image.shape[1:3])
        norm = batch_norm(self, train)
        x = as_dtype(2 * image - 1, self.dtype)
        enc4x = Backbone(norm, self.dtype, self.form, name="backbone")(x)
        lr8x = Part(norm, 2, self.dtype, name="lr_branch")(enc4x)
        semantic = nn.sigmoid(lr8x[:, ::2, ::2, 1:2])
        hr = Part(norm, 1, self.dtype, name="hr_branch")(upsample(enc4x, 4))
        both = jnp.concatenate([hr, upsample(lr8x, 8).astype(hr.dtype)], axis=-1)
        alpha = Conv(1, 1, dtype=self.dtype, name="f_branch")(both)
        outputs = {"alpha": alpha, "detail": hr[..., :1], "semantic": semantic}
        return {
            name: y.astype(image.dtype) if name == "semantic" else nn.sigmoid(y).astype(image.dtype)
            for name, y in outputs.items()
        }


class TinyTrimap(nn.Module):
    """A network that takes a trimap. Its statistics have other names: the vectors of a spectral
    normalisation, and the number of steps."""

    refine: bool = True
    dtype: Any = None
    axis_name: str | None = None
    frozen_statistics: bool = False

    @nn.compact
    def __call__(self, image, trimap, *, train=False):
        check_sides("tiny_trimap", *image.shape[1:3])
        count = self.variable("counter", "count", jnp.zeros, (1,))
        if train and not self.is_initializing():
            count.value = count.value + 1
        x = jnp.concatenate([image, trimap], axis=-1)
        x = nn.relu(SpectralConv(4, 3, update=train, dtype=self.dtype, name="backbone")(x))
        coarse = nn.sigmoid(Conv(1, 1, dtype=self.dtype, name="decoder")(x))
        if not self.refine:
            return {"alpha": coarse}
        refined = Conv(1, 3, dtype=self.dtype, name="refiner")(jnp.concatenate([x, coarse], -1))
        return {"alpha": nn.sigmoid(refined), "coarse_alpha": coarse}


class TinyBackground(nn.Module):
    """A network that takes a captured background: alpha is how much the photo differs from it.

    Its foreground colours are those of the photo without red.
    """

    @nn.compact
    def __call__(self, image, background, *, train=False):
        gain = self.param("gain", nn.initializers.ones, (1,))
        difference = jnp.max(jnp.abs(image - background), axis=-1, keepdims=True)
        foreground = image * jnp.array([0, 1, 1], image.dtype)
        return {"alpha": jnp.clip(gain * difference, 0, 1), "foreground": foreground}


def predict_background(apply, image, background, *, model):
    return apply("alpha", image=image, background=background)


# A recipe file of the tiny network, for programs that tests start: format folders and cache.
RECIPE = """
from pathlib import Path

from tests.helpers import use_folders
from tests.tiny import register_tiny, tiny_config

register_tiny()


def get_config():
    return use_folders(tiny_config(), Path({folders!r}), {cache!r})
"""

TINY = {
    "tiny": Network(Tiny, modnet.predict),
    "tiny_trimap": Network(TinyTrimap, gca.predict),
    "tiny_background": Network(
        TinyBackground, predict_background, foreground="foreground", batch_norm=False
    ),
}


def register_tiny() -> None:
    """Adds the tiny networks to those of the library."""
    for name, network in TINY.items():
        register(name, network)


def register(name: str, network: Network) -> None:
    """Adds a network to those of the library; its table of names is a file of tests/names."""
    NETWORKS[name] = network
    if NAMES not in convert.__path__:
        convert.__path__.append(NAMES)


def tiny_config():
    """configs/modnet.py for the tiny network: no data, a constant rate, few and small samples."""
    config = load_config(MODNET, "")
    config.task.update(form="official", boundary_weight=4.0)
    config.task.update(semantic_weight=10.0, detail_weight=10.0, matte_weight=1.0)
    config.ema_decay = 0.75
    config.optimizer.update(dict(name="sgd", learning_rate=0.02, momentum=0.9))
    config.optimizer.module_rates.lr_branch = 0.0
    return shrink(config)


def tiny_soc_config():
    """configs/modnet_soc.py for the tiny network, at a rate that moves it in a few steps."""
    config = load_config(MODNET_SOC, "")
    config.optimizer.learning_rate = 0.01
    return shrink(config)


def tiny_trimap_config(folders, cache):
    """DIM's recipe for the tiny network that takes a trimap and counts its steps."""
    config = load_config(CONFIGS / "dim.py", "finetune")
    config.name, config.steps, config.batch_size = "tiny_trimap", 4, 2
    config.model = {"refine": True}
    config.optimizer.learning_rate = 0.01
    config.data.crop.size, config.data.crop.windows = 32, (32, 48, 56)
    config.data.test.trimap_distance = 2
    config.synthesis.trimap_kernel = (1, 5)
    config.log_every = config.evaluate_every = 2
    config.save_every, config.preview_images = 1, 2
    config.allocator = False
    return use_folders(config, folders, cache)


def shrink(config):
    """Changes a config to the tiny network, a constant rate, and few small samples."""
    config.name = "tiny"
    config.model = {}
    config.steps = 4
    config.batch_size = 2
    config.seed = 3
    config.optimizer.schedule.update(dict(name="constant", warmup_steps=0))
    config.data.crop.update(dict(size=32, rescale=(40, 60), around="anywhere"))
    config.test_time.reference_size = 32
    config.log_every = config.evaluate_every = 2
    config.evaluate_first = "all"
    config.save_every = 1
    config.preview_images = 2
    config.allocator = False
    config.compilation_cache = ""
    return config
