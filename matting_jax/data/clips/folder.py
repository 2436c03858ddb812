"""A folder of numbered frames as a clip."""

from __future__ import annotations

import re
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

from matting_jax.data.clips.clip import Clip, Frame
from matting_jax.data.files.images import read_header, read_photo
from matting_jax.data.files.walk import images_in


def open_frames(folder: Path, rate: Fraction, profile: str = "srgb") -> Clip:
    """Returns the images of a folder as a clip, in the order of the last number of their names.

    A missing number lasts as long as a frame. An image that cannot be read or has another size than
    the first is reported and skipped.

    Args:
        folder: the folder.
        rate: frames a second.
        profile: config.data.colour_profile.

    Raises:
        ValueError: if an image has no number, if two have the same, or if the first cannot be read.
        FileNotFoundError: if there is no image.
    """
    numbered: dict[int, Path] = {}
    for path in images_in(folder):
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise ValueError(f"{path} has no number: frames are NAME0001.png, NAME0002.png, ...")
        number = int(digits[-1])
        if number in numbered:
            raise ValueError(f"{numbered[number]} and {path} have the same number: remove one")
        numbered[number] = path
    if not numbered:
        raise FileNotFoundError(f"{folder} has no images")
    first = min(numbered)
    header = read_header(numbered[first])
    problems: list[str] = []

    def read() -> Generator[Frame, None, None]:
        for number, path in sorted(numbered.items()):
            try:
                photo = read_photo(path, profile)
            except ValueError as error:
                problems.append(str(error))
                continue
            height, width = photo.image.shape[:2]
            if (width, height) != (header.width, header.height):
                problems.append(f"{path} has {width} x {height} pixels, the first frame {header}")
                continue
            yield Frame(photo.image, photo.opacity, number - first)

    return Clip(
        str(folder),
        header.width,
        header.height,
        1 / rate,
        rate,
        len(numbered),
        read,
        problems=problems,
    )
