"""Converts decoded frames to upright RGB.

The colours follow what the frame says of its matrix and its range. Frames that say nothing are read
as BT.709 from 720 rows on and as BT.601 below, as players do. High dynamic range and wide gamut are
converted to BT.709.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from matting_jax.data.clips.library import exact
from matting_jax.data.clips.standard import UNSPECIFIED, to_standard
from matting_jax.data.files.images import NEUTRAL

HD_ROWS = 720


def upright_size(frame: Any) -> tuple[int, int]:
    """Returns height and width of a frame as displayed."""
    turned = frame.rotation % 180 == 90
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def convert(frame: Any, height: int, width: int, turn: int) -> tuple[np.ndarray, Any]:
    """Returns the colours uint8 [height, width, 3] and the opacity uint8 or None of a frame.

    Args:
        frame: a frame of PyAV.
        height: of the upright result; a frame of another size is resized.
        width: of the upright result.
        turn: degrees by which the frame is turned anticlockwise.
    """
    frame = to_standard(frame)
    transparent = has_alpha(frame)
    stored = (width, height) if turn % 180 == 90 else (height, width)
    untagged = int(frame.colorspace) == UNSPECIFIED and not frame.format.is_rgb
    rgb = frame.reformat(
        width=stored[1],
        height=stored[0],
        format="rgba" if transparent else "rgb24",
        src_colorspace="ITU709" if untagged and frame.height >= HD_ROWS else None,
        interpolation=exact(),
        threads=1,
    )
    image = np.rot90(rgb.to_ndarray(), turn // 90)
    if not transparent or image[..., 3].min() == 255:
        return np.ascontiguousarray(image[..., :3]), None
    opacity = np.ascontiguousarray(image[..., 3])
    return np.where(opacity[..., None] > 0, image[..., :3], np.uint8(NEUTRAL)), opacity


def has_alpha(frame: Any) -> bool:
    """Returns whether the pixels of a frame may be transparent."""
    name = frame.format.name
    return name == "pal8" or any(x.is_alpha for x in frame.format.components)
