"""The record of a clip: frames of one size, each with its time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Frame(NamedTuple):
    """One upright frame.

    Attributes:
        image: its colours, uint8 [H, W, 3], neutral grey where it is wholly transparent.
        opacity: its own transparency, uint8 [H, W]; None if it is opaque everywhere.
        time: its time in ticks of the clip's time base.
    """

    image: np.ndarray
    opacity: np.ndarray | None
    time: int


@dataclass(frozen=True)
class Clip:
    """Describes a clip and reads its frames.

    Attributes:
        name: its file, folder or camera.
        width: width of the upright frames.
        height: height of the upright frames.
        time_base: seconds of one tick.
        rate: frames a second on average.
        count: number of frames as the file tells it, or an estimate; 0 if unknown.
        read: yields the frames; each call starts at the first one. A generator, so that closing it
            closes the file.
        sound: file that holds the sound, if there is any.
        pixel_aspect: width of a pixel of the upright frames as a multiple of its height.
        problems: what was wrong with the frames that were read so far.
    """

    name: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    count: int
    read: Callable[[], Generator[Frame, None, None]]
    sound: Path | None = None
    pixel_aspect: Fraction = Fraction(1)
    problems: list[str] = field(default_factory=list)

    def ticks(self) -> int:
        """Returns the ticks of one frame at the average rate, at least 1."""
        return max(round(1 / (self.rate * self.time_base)), 1)


def increasing(frames: Generator[Frame, None, None]) -> Generator[Frame]:
    """Yields frames whose times increase, as containers demand."""
    last = None
    with closing(frames):
        for frame in frames:
            time = frame.time if last is None else max(frame.time, last + 1)
            last = time
            yield frame._replace(time=time)
