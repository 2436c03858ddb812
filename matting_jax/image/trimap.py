"""Trimaps: 0 background, 0.5 unknown, 1 foreground.

The functions named after code bases make a trimap from alpha [H, W, 1] in [0, 1] of one sample, on
the device. Sizes and iteration counts may be traced, so that each sample of a batch has its own.
`from_masks`, `quantise` and `to_bytes` take and return NumPy arrays [H, W] on the host.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.image.morphology import all_within, dilate, dilate_set, disc, ellipse, erode

Array = jax.Array


def modnet(alpha: Array, dilation: Array | int, erosion: Array | int, largest: int) -> Array:
    """Trimap of alpha [H, W, 1]: unknown where a square of side `dilation` touches any subject or
    one of side `erosion` touches what is not surely subject (alpha below 0.9).

    Sides are integers from 1 to `largest`. Source: the author's recipe, ZHKKKe/MODNet issue 108.
    """
    check(dilation, largest, "size")
    check(erosion, largest, "size")
    foreground = (alpha >= 0.9).astype(alpha.dtype)
    subject = (alpha > 0).astype(alpha.dtype)
    unknown = dilate(subject, dilation, largest) != erode(foreground, erosion, largest)
    return jnp.where(unknown, 0.5, foreground)


def paddleseg(alpha: Array, size: Array | int, times: Array | int = 1, largest: int = 4) -> Array:
    """Trimap of alpha [H, W, 1]: known what an ellipse of `size`, dilating `times` times, does not
    bring into touch with anything of another kind (alpha that in bytes is not 0, or not 255).

    `size` is from 1 to `largest`. Trained with sizes 2 to 4, 5 to 14 times; evaluated with
    size 25, once. Source: PaddlePaddle/PaddleSeg, Matting/ppmatting/datasets/matting_dataset.py,
    gen_trimap.
    """
    subject = grow(alpha > 0.5 / 255, size, largest, times)
    hole = grow(alpha < 254.5 / 255, size, largest, times)
    return codes(subject, hole, alpha.dtype)


def gca(
    alpha: Array, foreground_size: Array | int, background_size: Array | int, largest: int = 29
) -> Array:
    """Trimap of alpha [H, W, 1]: foreground and background, to 1e-5, each eroded by an ellipse.

    Sizes are from 1 to `largest`, drawn apart. Source: Yaoyi-Li/GCA-Matting,
    dataloader/data_generator.py, GenTrimap.
    """
    subject = grow(alpha > 1e-5, background_size, largest)
    hole = grow(alpha < 1 - 1e-5, foreground_size, largest)
    return codes(subject, hole, alpha.dtype)


def mmagic(
    alpha: Array,
    erosion: Array | int,
    dilation: Array | int,
    erosions: Array | int = 1,
    dilations: Array | int = 1,
    largest: int = 29,
) -> Array:
    """Trimap of alpha [H, W, 1]: what is exactly 1 after `erosions` erosions by an ellipse of size
    `erosion`, and exactly 0 after `dilations` dilations by one of size `dilation`.

    Sizes are from 1 to `largest`; DIM, GCA and IndexNet draw both from 1 to 29. Source:
    open-mmlab/mmagic, datasets/transforms/trimap.py, GenerateTrimap.
    """
    subject = grow(alpha > 0, dilation, largest, dilations)
    hole = grow(alpha < 1, erosion, largest, erosions)
    return codes(subject, hole, alpha.dtype)


def mmagic_distance(alpha: Array, distance: Array | int, largest: int = 19) -> Array:
    """Trimap of alpha [H, W, 1]: unknown within `distance` pixels of any alpha between 0 and 1.

    Distances are Euclidean and exact, whole numbers from 1 to `largest`; an edge without such alpha
    stays known. Source: open-mmlab/mmagic, datasets/transforms/trimap.py,
    GenerateTrimapWithDistTransform (IndexNet).
    """
    check(distance, largest, "distance")
    discs = [disc(radius) for radius in range(1, largest + 1)]
    unknown = dilate_set((alpha > 0) & (alpha < 1), discs, distance - 1)
    return jnp.where(unknown, 0.5, alpha >= 1).astype(alpha.dtype)


def dim(alpha: Array, size: Array | int, times: Array | int = 1, largest: int = 29) -> Array:
    """Trimap of alpha [H, W, 1]: unknown what an ellipse of `size`, dilating `times` times, makes
    of all alpha between 0 and 1; an edge without such alpha stays known.

    `size` is from 1 to `largest`. Source: Xu et al., 2017, section 3.1, which gives no sizes.
    """
    unknown = grow((alpha > 0) & (alpha < 1), size, largest, times)
    return jnp.where(unknown, 0.5, alpha >= 1).astype(alpha.dtype)


def foamliu_keras(alpha: Array, times: Array | int) -> Array:
    """Trimap of alpha [H, W, 1]: foreground where alpha is 1, not eroded; background what a cross,
    dilating `times` times, does not reach. Trained with 1 to 19 times.

    Source: foamliu/Deep-Image-Matting, data_generator.py.
    """
    return codes(grow(alpha > 0, 3, 3, times), alpha < 1, alpha.dtype)


def foamliu_pytorch(alpha: Array, size: Array | int, largest: int = 4) -> Array:
    """Trimap of alpha [H, W, 1]: foreground and background, both eroded once by an ellipse of
    `size`, from 1 to `largest`.

    The number of times that the source draws has no effect there. Source:
    foamliu/Deep-Image-Matting-PyTorch, data_gen.py.
    """
    return mmagic(alpha, size, size, largest=largest)


def gfm(alpha: Array, size: Array | int = 25, largest: int = 25) -> Array:
    """Trimap of alpha [H, W, 1] that the glance decoder of GFM's TT learns: both sides eroded.

    `size` is from 1 to `largest`. Source: JizhiziLi/GFM, core/util.py, gen_trimap_with_dilate.
    """
    return mmagic(alpha, size, size, largest=largest)


def gfm_foreground(alpha: Array, size: Array | int = 50, largest: int = 50) -> Array:
    """1 where alpha [H, W, 1] is 1 also after an erosion, else 0: what the glance decoder of GFM's
    FT learns. Alpha less this is left to the focus decoder.

    `size` is from 1 to `largest`. Source: JizhiziLi/GFM, core/util.py, gen_erosion.
    """
    return (~grow(alpha < 1, size, largest)).astype(alpha.dtype)


def gfm_subject(alpha: Array, size: Array | int = 50, largest: int = 50) -> Array:
    """0 where alpha [H, W, 1] is 0 also after a dilation, else 1: what the glance decoder of GFM's
    BT learns. This less alpha is left to the focus decoder.

    `size` is from 1 to `largest`. Source: JizhiziLi/GFM, core/util.py, gen_dilate.
    """
    return grow(alpha > 0, size, largest).astype(alpha.dtype)


def bgmv2(alpha: Array, times: Array | int = 10) -> Array:
    """Trimap of alpha [H, W, 1]: unknown is alpha from 0.06 to 0.96, `times` dilated by a cross and
    as often eroded. The evaluation of BackgroundMattingV2.

    Source: the paper's supplement; its code was not published (PeterL1n/BackgroundMattingV2 issue
    143), this is how its words read.
    """
    unknown = grow((alpha >= 0.06) & (alpha <= 0.96), 3, 3, times)
    unknown = ~grow(~unknown, 3, 3, times)
    return jnp.where(unknown, 0.5, alpha > 0.96).astype(alpha.dtype)


def grow(x: Array, size: Array | int, largest: int, times: Array | int = 1) -> Array:
    """The set x, bool [H, W, 1], dilated by OpenCV's ellipse of `size`, from 1 to `largest`."""
    check(size, largest, "size")
    ellipses = [ellipse(k) for k in range(1, largest + 1)]
    return dilate_set(x, ellipses, size - 1, times)


def check(value: Array | int, largest: int, name: str) -> None:
    """ValueError for a number not from 1 to `largest`; an array's is taken as it is."""
    if isinstance(value, int) and not 1 <= value <= largest:
        raise ValueError(
            f"{name} must be from 1 to {largest}, got {value}; "
            "for larger ones pass a larger `largest`"
        )


def codes(subject: Array, hole: Array, dtype: jnp.dtype) -> Array:
    """0 where there is no subject, 1 where it has no hole, else 0.5; bool [H, W, 1]."""
    return jnp.where(subject, jnp.where(hole, 0.5, 1), 0).astype(dtype)


def from_masks(foreground: np.ndarray, background: np.ndarray, distance: float) -> np.ndarray:
    """Builds a trimap float32 [H, W] from two masks bool [H, W].

    A pixel is foreground or background if all pixels within `distance` (Euclidean) belong to that
    mask, and unknown otherwise.
    """
    return np.where(
        all_within(foreground, distance),
        np.float32(1),
        np.where(all_within(background, distance), np.float32(0), np.float32(0.5)),
    )


def quantise(trimap: np.ndarray) -> np.ndarray:
    """Rounds a trimap, uint8 or float in [0, 1], to float32 with the values 0, 0.5 and 1.

    Values below a third (85 of 255) are background, from two thirds (170) on foreground.
    """
    low, high = (85, 170) if trimap.dtype == np.uint8 else (1 / 3, 2 / 3)
    unknown_or_foreground = np.where(trimap < high, np.float32(0.5), np.float32(1))
    return np.where(trimap < low, np.float32(0), unknown_or_foreground)


def to_bytes(trimap: np.ndarray) -> np.ndarray:
    """Converts a trimap with the values 0, 0.5 and 1 to uint8: 0, 128 and 255."""
    return np.rint(255 * trimap).astype(np.uint8)
