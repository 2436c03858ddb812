"""Trimaps: 0 background, 0.5 unknown, 1 foreground.

The functions named after code bases make a trimap from alpha [H, W, 1] in [0, 1] of one sample, on
the device. Sizes and iteration counts may be traced, so that each sample of a batch has its own.
`from_masks`, `quantise` and `to_bytes` take and return NumPy arrays [H, W] on the host.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from matting_jax.image.morphology import (
    dilate_mask,
    disc,
    ellipse,
    erode_by_distance,
    square,
)

Array = jax.Array


def modnet(alpha: Array, dilation: Array | int, erosion: Array | int, largest: int) -> Array:
    """Builds the trimap of MODNet from alpha [H, W, 1].

    Unknown is where a square of size `dilation` overlaps any alpha above 0 or one of size `erosion`
    overlaps any below 0.9. Source: the author's recipe, ZHKKKe/MODNet issue 108.

    Args:
        alpha: [H, W, 1] in [0, 1].
        dilation: size from 1 to `largest`.
        erosion: size from 1 to `largest`.
        largest: upper limit of both sizes.
    """
    check_size(dilation, largest, "size")
    check_size(erosion, largest, "size")
    foreground, sizes = alpha >= 0.9, range(1, largest + 1)
    # The two squares of an even size are off-centre on opposite sides, as SciPy's.
    subject = dilate_mask(alpha > 0, [square(k, mirrored=True) for k in sizes], dilation - 1)
    hole = dilate_mask(~foreground, [square(k) for k in sizes], erosion - 1)
    return jnp.where(subject & hole, 0.5, foreground).astype(alpha.dtype)


def paddleseg(alpha: Array, size: Array | int, times: Array | int = 1, largest: int = 4) -> Array:
    """Builds the trimap of PaddleSeg: byte 255 and byte 0, both eroded by an ellipse.

    Training uses sizes 2 to 4, 5 to 14 times; evaluation size 25, once. Source:
    PaddlePaddle/PaddleSeg, Matting/ppmatting/datasets/matting_dataset.py, gen_trimap.

    Args:
        alpha: [H, W, 1] in [0, 1].
        size: size of the ellipse, from 1 to `largest`.
        times: number of erosions.
        largest: upper limit of `size`.
    """
    subject = dilate_by_ellipse(alpha > 0.5 / 255, size, largest, times)
    hole = dilate_by_ellipse(alpha < 254.5 / 255, size, largest, times)
    return merge_masks(subject, hole, alpha.dtype)


def gca(
    alpha: Array, foreground_size: Array | int, background_size: Array | int, largest: int = 29
) -> Array:
    """Builds the trimap of GCA: alpha 1 and alpha 0, up to 1e-5, each eroded by an ellipse.

    Source: Yaoyi-Li/GCA-Matting, dataloader/data_generator.py, GenTrimap.

    Args:
        alpha: [H, W, 1] in [0, 1].
        foreground_size: size of the foreground's ellipse, from 1 to `largest`.
        background_size: size of the background's ellipse, from 1 to `largest`; independent.
        largest: upper limit of both sizes.
    """
    subject = dilate_by_ellipse(alpha > 1e-5, background_size, largest)
    hole = dilate_by_ellipse(alpha < 1 - 1e-5, foreground_size, largest)
    return merge_masks(subject, hole, alpha.dtype)


def mmagic(
    alpha: Array,
    erosion: Array | int,
    dilation: Array | int,
    erosions: Array | int = 1,
    dilations: Array | int = 1,
    largest: int = 29,
) -> Array:
    """Builds the trimap of mmagic: alpha exactly 1 and exactly 0, each eroded by an ellipse.

    DIM, GCA and IndexNet draw both sizes from 1 to 29. Source: open-mmlab/mmagic,
    datasets/transforms/trimap.py, GenerateTrimap.

    Args:
        alpha: [H, W, 1] in [0, 1].
        erosion: size of the ellipse that erodes the foreground, from 1 to `largest`.
        dilation: size of the ellipse that dilates the subject, from 1 to `largest`.
        erosions: number of erosions.
        dilations: number of dilations.
        largest: upper limit of both sizes.
    """
    subject = dilate_by_ellipse(alpha > 0, dilation, largest, dilations)
    hole = dilate_by_ellipse(alpha < 1, erosion, largest, erosions)
    return merge_masks(subject, hole, alpha.dtype)


def mmagic_distance(alpha: Array, distance: Array | int, largest: int = 19) -> Array:
    """Builds the trimap of IndexNet: unknown within `distance` pixels of alpha between 0 and 1.

    Distances are Euclidean and exact, integers from 1 to `largest`; an edge without soft alpha
    stays known. Source: open-mmlab/mmagic, datasets/transforms/trimap.py,
    GenerateTrimapWithDistTransform.
    """
    check_size(distance, largest, "distance")
    discs = [disc(radius) for radius in range(1, largest + 1)]
    unknown = dilate_mask((alpha > 0) & (alpha < 1), discs, distance - 1)
    return jnp.where(unknown, 0.5, alpha >= 1).astype(alpha.dtype)


def dim(alpha: Array, size: Array | int, times: Array | int = 1, largest: int = 29) -> Array:
    """Builds the trimap of DIM: unknown is alpha between 0 and 1, dilated by an ellipse.

    An edge without soft alpha stays known. Source: Xu et al., 2017, section 3.1, which gives no
    sizes.

    Args:
        alpha: [H, W, 1] in [0, 1].
        size: size of the ellipse, from 1 to `largest`.
        times: number of dilations.
        largest: upper limit of `size`.
    """
    unknown = dilate_by_ellipse((alpha > 0) & (alpha < 1), size, largest, times)
    return jnp.where(unknown, 0.5, alpha >= 1).astype(alpha.dtype)


def foamliu_keras(alpha: Array, times: Array | int) -> Array:
    """Builds the trimap of foamliu's Keras code from alpha [H, W, 1].

    Foreground is alpha 1, not eroded; background is alpha 0, eroded `times` times by a cross.
    Training uses 1 to 19 times. Source: foamliu/Deep-Image-Matting, data_generator.py.
    """
    return merge_masks(dilate_by_ellipse(alpha > 0, 3, 3, times), alpha < 1, alpha.dtype)


def foamliu_pytorch(alpha: Array, size: Array | int, largest: int = 4) -> Array:
    """Builds the trimap of foamliu's PyTorch code: alpha 1 and 0, both eroded by an ellipse.

    `size` is from 1 to `largest`. It erodes once: the number of iterations that the source draws
    has no effect. Source: foamliu/Deep-Image-Matting-PyTorch, data_gen.py.
    """
    return mmagic(alpha, size, size, largest=largest)


def gfm(alpha: Array, size: Array | int = 25, largest: int = 25) -> Array:
    """Builds the target of the glance decoder for GFM's TT: alpha 1 and 0, both eroded.

    `size` is from 1 to `largest`. Source: JizhiziLi/GFM, core/util.py, gen_trimap_with_dilate.
    """
    return mmagic(alpha, size, size, largest=largest)


def gfm_foreground(alpha: Array, size: Array | int = 50, largest: int = 50) -> Array:
    """Builds the target of the glance decoder for GFM's FT: 1 for alpha 1, eroded, otherwise 0.

    The focus decoder learns alpha minus this target. `size` is from 1 to `largest`. Source:
    JizhiziLi/GFM, core/util.py, gen_erosion.
    """
    return (~dilate_by_ellipse(alpha < 1, size, largest)).astype(alpha.dtype)


def gfm_subject(alpha: Array, size: Array | int = 50, largest: int = 50) -> Array:
    """Builds the target of the glance decoder for GFM's BT: 0 for alpha 0, eroded, otherwise 1.

    The focus decoder learns this target minus alpha. `size` is from 1 to `largest`. Source:
    JizhiziLi/GFM, core/util.py, gen_dilate.
    """
    return dilate_by_ellipse(alpha > 0, size, largest).astype(alpha.dtype)


def bgmv2(alpha: Array, times: Array | int = 10) -> Array:
    """Builds the trimap of BackgroundMattingV2's evaluation from alpha [H, W, 1].

    Unknown is alpha from 0.06 to 0.96, `times` times dilated by a cross and as often eroded.
    Source: the paper's supplement, as we read it; its code was not published
    (PeterL1n/BackgroundMattingV2 issue 143).
    """
    unknown = dilate_by_ellipse((alpha >= 0.06) & (alpha <= 0.96), 3, 3, times)
    unknown = ~dilate_by_ellipse(~unknown, 3, 3, times)
    return jnp.where(unknown, 0.5, alpha > 0.96).astype(alpha.dtype)


def dilate_by_ellipse(x: Array, size: Array | int, largest: int, times: Array | int = 1) -> Array:
    """Dilates a mask, bool [H, W, 1], by OpenCV's ellipse.

    Args:
        x: mask, bool [H, W, 1].
        size: size of the ellipse, from 1 to `largest`.
        largest: upper limit of `size`.
        times: number of dilations.
    """
    check_size(size, largest, "size")
    ellipses = [ellipse(k) for k in range(1, largest + 1)]
    return dilate_mask(x, ellipses, size - 1, times)


def check_size(value: Array | int, largest: int, name: str) -> None:
    """Raises ValueError for an int outside 1 to `largest`; arrays are not checked."""
    if isinstance(value, int) and not 1 <= value <= largest:
        raise ValueError(
            f"{name} must be from 1 to {largest}, got {value}: for a larger {name} pass a larger "
            "`largest`"
        )


def merge_masks(subject: Array, hole: Array, dtype: jnp.dtype) -> Array:
    """Builds a trimap from masks, bool [H, W, 1]: 0 outside `subject`, 0.5 in `hole`, else 1."""
    return jnp.where(subject, jnp.where(hole, 0.5, 1), 0).astype(dtype)


def from_masks(foreground: np.ndarray, background: np.ndarray, distance: float) -> np.ndarray:
    """Builds a trimap float32 [H, W] from two masks bool [H, W].

    Both are eroded by the Euclidean `distance` in pixels; what is in neither is unknown.
    """
    background = erode_by_distance(background, distance)
    not_foreground = np.where(background, np.float32(0), np.float32(0.5))
    return np.where(erode_by_distance(foreground, distance), np.float32(1), not_foreground)


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
