"""Draws pictures by which a person can judge a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from matting_jax.image.composite import composite

NEW_COLOUR = np.array([0.16, 0.55, 0.35], np.float32)  # new background of the cut-out
TILE = 192  # longest side of a picture, px
HEADER = 18  # height of the names, px


def draw_row(
    image: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    heads: Mapping[str, np.ndarray],
    alpha: np.ndarray,
    truth: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Returns the pictures of one photo.

    Args:
        image: uint8 [H, W, 3].
        inputs: the network's other inputs by name, uint8 [H, W] or [H, W, 3].
        heads: the network's outputs by name, [h, w, 1 or 3] float in [0, 1].
        alpha: [H, W] float in [0, 1].
        truth: [H, W] float in [0, 1], or None.

    Returns:
        {name: picture [h, w, 3] float in [0, 1]}: photo, inputs, heads from coarse to fine, alpha,
        truth, cut-out.
    """
    pictures = {}
    for name, picture in {"photo": image, **inputs}.items():
        picture = picture.astype(np.float32) / 255
        pictures[name] = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    image = pictures["photo"]
    for name, head in sorted(heads.items(), key=lambda item: item[1].size):
        if name != "alpha" and head.shape[-1] in (1, 3):  # 3: colours or class probabilities
            pictures[name] = np.broadcast_to(head.astype(np.float32), (*head.shape[:2], 3))
    pictures["alpha"] = np.repeat(alpha[..., None], 3, -1)
    if truth is not None:
        pictures["truth"] = np.repeat(truth[..., None], 3, -1)
    # For a quick look it keeps the photo's colours; `predict` estimates the foreground colours.
    pictures["cut-out"] = composite(image, alpha[..., None], NEW_COLOUR)
    return pictures


def draw_grid(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Returns rows of pictures below their names as one image [H, W, 3] uint8.

    All pictures of a row get the size of its first, the photo, so that they line up: networks
    round the sides of what they see.
    """
    names = list(rows[0])
    sizes = [tile_size(*pictures[names[0]].shape[:2]) for pictures in rows]
    height = HEADER + sum(height for _, height in sizes)
    sheet = Image.new("RGB", (TILE * len(names), height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        draw.text((TILE * column + 4, 3), name, fill="black")
        top = HEADER
        for pictures, size in zip(rows, sizes, strict=True):
            tile = Image.fromarray(to_bytes(pictures[name]))
            tile = tile.resize(size, Image.Resampling.BILINEAR)
            sheet.paste(tile, (TILE * column + (TILE - size[0]) // 2, top))
            top += size[1]
    return np.asarray(sheet)


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Returns a picture, float in [0, 1], as uint8; values outside are clipped."""
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Returns the width and height of a photo's pictures in the grid."""
    scale = TILE / max(height, width)
    return max(round(width * scale), 1), max(round(height * scale), 1)
