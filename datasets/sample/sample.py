"""The sample data set: drawn foregrounds of the kinds that make matting hard, with backgrounds."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from . import drawing
from .backgrounds import SCENES
from .drawing import Array, Rng
from .foregrounds import KINDS

SEED = 20240
SIZE = 384
SPLITS = {"train": 160, "test": 24}
WORKERS = 2


class Sample(tfds.core.GeneratorBasedBuilder):
    """Drawn foregrounds with exact alpha, each with its own background."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        """Describes the features of the data set."""
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "foreground": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
                    "alpha": tfds.features.Image(shape=(SIZE, SIZE, 1), encoding_format="png"),
                    "background": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
                    "kind": tfds.features.Text(),
                    "name": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Returns the two splits, which differ in their seeds."""
        del dl_manager
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields pairs of index and encoded example, in order."""
        with ThreadPoolExecutor(WORKERS) as pool:
            indices = range(SPLITS[split])
            yield from enumerate(pool.map(lambda index: _encode_example(split, index), indices))


def draw_example(split: str, index: int, size: int = SIZE) -> dict[str, Any]:
    """Draws an example: foreground and background uint8 [H, W, 3], alpha uint8 [H, W, 1], names."""
    rng = np.random.default_rng([SEED, list(SPLITS).index(split), index])
    kind = list(KINDS)[index % len(KINDS)]
    # Each cycle through the kinds shifts the scenes by one, so that all pairs of the two occur.
    scene = list(SCENES)[(index + index // len(KINDS) + 3 * (split == "test")) % len(SCENES)]
    for _ in range(8):
        foreground, alpha = _draw_subject(rng, kind, size)
        foreground, background = photograph(rng, foreground, alpha, SCENES[scene](rng, size))
        if _stands_out(foreground, alpha, background):
            break
    return {
        "foreground": _to_bytes(foreground),
        "alpha": _to_bytes(alpha)[..., None],
        "background": _to_bytes(background),
        "kind": kind,
        "name": f"{split}_{kind}_{index:03d}",
    }


def _draw_subject(rng: Rng, kind: str, size: int) -> tuple[Array, Array]:
    """Draws a foreground [H, W, 3] and alpha [H, W] that cover enough of the frame."""
    while True:
        foreground, alpha = KINDS[kind](rng, size)
        if alpha.mean() >= 0.08:
            return foreground, alpha


def photograph(rng: Rng, foreground: Array, alpha: Array, background: Array) -> tuple[Array, Array]:
    """Makes both layers [H, W, 3] look like one photo: shared light, tone, vignette and grain."""
    size = alpha.shape[0]
    weight = alpha / (alpha.sum() + 1e-6)
    subject = (foreground * weight[..., None]).sum((0, 1))
    surround = background.mean((0, 1))
    if rng.random() < 0.5:
        pull = rng.uniform(0.1, 0.3) * (subject - surround)
        background = background + pull * 3.0 * background * (1.0 - background)
    ambience = surround / max(float(surround.mean()), 0.05)
    ambience = 1.0 + rng.uniform(0.15, 0.4) * (np.clip(ambience, 0.4, 1.8) - 1.0)
    exposure = np.clip((surround.mean() / 0.42) ** 0.3, 0.6, 1.2)
    layers = np.stack([foreground * ambience * exposure, background])

    x, y = drawing.grid(size)
    corner = np.hypot(x - size / 2, y - size / 2) / (0.71 * size)
    vignette = 1.0 - rng.uniform(0.0, 0.35) * corner**2
    balance = 1.0 + rng.normal(0.0, 0.04, 3)
    gamma = rng.uniform(0.8, 1.15)
    layers = np.clip(layers * vignette[..., None] * balance, 0.0, 1.0) ** gamma
    # Both layers share one grain, so that their composite has it for any alpha.
    grain = drawing.blur(rng.standard_normal((size, size, 3), dtype=np.float32), 0.5)
    grain = 0.6 * grain.mean(-1, keepdims=True) + 0.4 * grain
    layers = layers + rng.uniform(0.006, 0.035) * grain
    return tuple(np.clip(layers, 0.0, 1.0).astype(np.float32))


def _stands_out(foreground: Array, alpha: Array, background: Array) -> bool:
    """Returns whether the subject differs enough from the background."""
    # Blurred, because a difference of texture only does not set the subject apart.
    contrast = np.abs(drawing.blur(foreground - background, alpha.shape[0] / 48)).mean(-1)
    return bool((contrast * alpha).sum() > 0.1 * alpha.sum())


def _to_bytes(image: Array) -> np.ndarray:
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _encode_example(split: str, index: int) -> dict[str, Any]:
    """Draws an example and encodes its images as PNG files, in the drawing thread."""
    example = draw_example(split, index)
    for key in ("foreground", "alpha", "background"):
        stream = io.BytesIO()
        image = Image.fromarray(np.squeeze(example[key]))
        image.save(stream, "png", compress_level=4)
        example[key] = stream.getvalue()
    return example
