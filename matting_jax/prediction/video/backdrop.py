"""The new background of a composite: a colour, a photo or another clip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

from matting_jax.data.clips.clip import Clip, Frame
from matting_jax.data.clips.reader import SUFFIXES, open_clip
from matting_jax.data.files.images import read_visible


def open_backdrop(text: str, height: int, width: int, profile: str) -> Iterator[np.ndarray]:
    """Yields the new background uint8 [height, width, 3] of each frame, without end.

    A photo or a clip is resized to cover the frame, and its middle is taken. A clip starts anew at
    its end; its frames are taken one by one.

    Args:
        text: a colour (green, #RRGGBB), the file of a photo, or that of a clip.
        height: of the frames.
        width: of the frames.
        profile: config.data.colour_profile.

    Raises:
        ValueError: if it is neither a colour nor a file that can be read.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() in SUFFIXES and path.exists():
        clip = open_clip(path)
        return (cover(frame.image, height, width) for frame in play_again(clip))
    if path.exists() and not path.is_dir():
        return repeat(cover(read_visible(path, profile), height, width))
    try:
        colour = ImageColor.getrgb(text)[:3]
        if max(colour) > 255:
            raise ValueError("values of a colour are from 0 to 255")
    except ValueError as error:
        raise ValueError(
            f"--composite {text!r} is no colour and no file: write green, #RRGGBB, or the name of "
            "a photo or a clip"
        ) from error
    return repeat(np.full((height, width, 3), colour, np.uint8))


def play_again(clip: Clip) -> Iterator[Frame]:
    """Yields the frames of a clip, again and again; raises ValueError if there are none."""
    while True:
        frame = None
        for frame in clip.read():
            yield frame
        if frame is None:
            raise ValueError(f"{clip.name} has no frame that can be decoded")


def cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image to cover height x width, and crops its middle."""
    return np.asarray(
        ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.LANCZOS)
    )
