"""Puts four frames of each clip into one picture, a row for each clip.

python docs/clips_side_by_side.py CLIP [CLIP ...] PICTURE

A CLIP is a file or a folder of numbered frames. The frames are evenly spaced.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from matting_jax.data.clips.folder import open_frames
from matting_jax.data.clips.reader import DEFAULT_RATE, open_clip

TILE = (240, 156)  # width, height
COLUMNS = 4


def row_of(clip: Path) -> list[Image.Image]:
    """Returns evenly spaced frames of a clip, as RGB images of the size TILE."""
    opened = open_frames(clip, DEFAULT_RATE) if clip.is_dir() else open_clip(clip)
    frames = [ImageOps.fit(Image.fromarray(frame.image), TILE) for frame in opened.read()]
    shown = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
    return [frames[i] for i in shown]


def main(clips: list[str], picture: str) -> None:
    """Writes one row of tiles for each clip."""
    width, height = TILE
    sheet = Image.new("RGB", (COLUMNS * width, len(clips) * height))
    for i, clip in enumerate(clips):
        for j, tile in enumerate(row_of(Path(clip))):
            sheet.paste(tile, (j * width, i * height))
    Path(picture).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture, quality=90)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:-1], sys.argv[-1])
