"""Pictures a person can judge a network by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from matting_jax.image.composite import composite

NEW_COLOUR = np.array([0.16, 0.55, 0.35], np.float32)  # of the cut-out's new background
TILE = 192


def row(
    image: np.ndarray,
    beside: Mapping[str, np.ndarray],
    heads: Mapping[str, np.ndarray],
    alpha: np.ndarray,
    truth: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """The pictures of one photo by name: photo, what the network takes beside it, heads from coarse
    to fine, alpha, truth, cut-out.

    image [H, W, 3] and the pictures in `beside` [H, W] or [H, W, 3] uint8, heads [h, w, 1 or 3]
    and alpha, truth [H, W] float in [0, 1]; all are returned [h, w, 3] float in [0, 1].
    """
    pictures = {}
    for name, picture in {"photo": image, **beside}.items():
        picture = picture.astype(np.float32) / 255
        pictures[name] = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, -1)
    image = pictures["photo"]
    for name, head in sorted(heads.items(), key=lambda item: item[1].size):
        if name != "alpha" and head.shape[-1] in (1, 3):  # 3: colours, or a class for each
            pictures[name] = np.broadcast_to(head.astype(np.float32), (*head.shape[:2], 3))
    pictures["alpha"] = np.repeat(alpha[..., None], 3, -1)
    if truth is not None:
        pictures["truth"] = np.repeat(truth[..., None], 3, -1)
    # With the photo's own colours, as a quick look; `predict` estimates the foreground's.
    pictures["cut-out"] = composite(image, alpha[..., None], NEW_COLOUR)
    return pictures


def colours_of_classes(label: np.ndarray, classes: int) -> np.ndarray:
    """A picture float32 [H, W, 3] of integers [H, W]: greys from black to white of up to three
    classes, else a colour for each; what is none of them is black."""
    if classes <= 3:
        colours = np.repeat(np.linspace(0, 1, classes, dtype=np.float32)[:, None], 3, -1)
    else:
        colours = np.random.default_rng(0).uniform(0.2, 1, (classes, 3)).astype(np.float32)
    picture = colours[np.minimum(label, classes - 1)]
    return np.where((label < classes)[..., None], picture, np.float32(0))


def grid(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Rows of pictures under their names as one image [H, W, 3] uint8."""
    header = 18
    names = list(rows[0])
    sheet = Image.new("RGB", (TILE * len(names), header + TILE * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        draw.text((TILE * column + 4, 3), name, fill="black")
        for line, pictures in enumerate(rows):
            tile = Image.fromarray(np.rint(255 * np.clip(pictures[name], 0, 1)).astype(np.uint8))
            scale = TILE / max(tile.size)
            size = [max(round(side * scale), 1) for side in tile.size]
            tile = tile.resize(size, Image.Resampling.BILINEAR)
            left, top = TILE * column, header + TILE * line
            sheet.paste(tile, (left + (TILE - size[0]) // 2, top + (TILE - size[1]) // 2))
    return np.asarray(sheet)
