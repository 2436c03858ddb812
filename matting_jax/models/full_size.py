"""The test-time rule of networks that take a photo at its own size, beside its trimap."""

from __future__ import annotations

import numpy as np
from flax import linen as nn

from matting_jax.image.geometry import pad_to_multiple


def prepare(model: nn.Module, image: np.ndarray, trimap: np.ndarray) -> dict[str, np.ndarray]:
    """A photo [H, W, 3] float32 in [0, 1] and its trimap [H, W, 1] as the inputs of `model`: both
    reflected below and on the right up to multiples of 32.

    Sources: open-mmlab/mmagic, `resize_method="pad"`; Yaoyi-Li/GCA-Matting, OriginScale in
    dataloader/data_generator.py, the rule of the published figures.
    """
    return {
        "image": pad_to_multiple(image, 32)[None],
        "trimap": pad_to_multiple(trimap, 32)[None],
    }


def restore(model: nn.Module, alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """The network's alpha [1, h, w, 1] without the padding of `prepare`: [height, width]."""
    return alpha[0, :height, :width, 0]
