"""Writes the frames of a result, into the file of a clip or a folder of PNG files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from matting_jax.data.clips.clip import Clip
from matting_jax.data.clips.library import pyav, reason_of
from matting_jax.data.clips.reader import open_clip
from matting_jax.files import WriteError, no_room
from matting_jax.prediction.run import encode, make_folder, write_files
from matting_jax.prediction.video.encodings import Encoding
from matting_jax.prediction.video.sound import Sound

# Such a file plays up to the last fragment while it is written, and is an ordinary one once closed.
# The delayed header knows how far the first frame and the first sound are from the start.
FRAGMENTED = {"movflags": "hybrid_fragmented+frag_keyframe+delay_moov", "flush_packets": "1"}
CONTAINERS = {
    ".mp4": FRAGMENTED,
    ".mov": FRAGMENTED,
    ".mkv": {"flush_packets": "1"},
    ".webm": {"flush_packets": "1"},
}

Images = Mapping[str, np.ndarray]


class FileWriter:
    """Writes one clip, as NAME.part.EXTENSION until it is closed.

    Attributes:
        images: the images that it needs of each frame.
    """

    def __init__(self, path: Path, encoding: Encoding, clip: Clip):
        """Opens the file. Raises OSError if that fails."""
        self.path, self.encoding, self.clip = path, encoding, clip
        self.part = part_of(path)
        self.images = (encoding.image,)
        suffix = path.suffix.lower()
        make_folder(path.parent)
        self.sound, self.last, self.count, self.failed = None, None, 0, False
        with self.reported():
            self.container = pyav().open(str(self.part), "w", container_options=CONTAINERS[suffix])
            self.stream = self.open_stream()
            if clip.sound:
                self.sound = Sound(clip.sound, self.container, suffix)

    def open_stream(self) -> Any:
        """Adds the stream of pictures, with the times of the clip."""
        encoding, clip = self.encoding, self.clip
        stream = self.container.add_stream(
            encoding.codec, rate=clip.rate.limit_denominator(100_000), options=encoding.options
        )
        odd = (clip.width % 2, clip.height % 2) if encoding.even else (0, 0)
        stream.width, stream.height = clip.width + odd[0], clip.height + odd[1]
        stream.pix_fmt = encoding.pixels
        stream.codec_context.time_base = clip.time_base
        stream.codec_context.sample_aspect_ratio = clip.pixel_aspect
        encoding.tag(stream.codec_context)
        return stream

    def prepare(self, images: Images) -> Any:
        """Converts the image of a frame to what the codec takes; may be called in any thread."""
        return self.encoding.to_frame(images[self.encoding.image])

    def write(self, frame: Any, time: int) -> None:
        """Writes a prepared frame. Raises OSError if that fails."""
        frame.pts, frame.time_base = time, self.clip.time_base
        with self.reported():
            self.container.mux(self.stream.encode(frame))
            if self.sound:
                self.sound.copy_until(float(time * self.clip.time_base))
        self.last = time
        self.count += 1

    def close(self, complete: bool = True) -> None:
        """Completes the file; without `complete` the sound ends with the last frame.

        After an error, and without a frame, the file stays as it is. Raises OSError if that fails.
        """
        if self.failed or self.last is None:
            self.abandon()
            return
        with self.reported():
            self.container.mux(self.stream.encode(None))
            if self.sound:
                end = (self.last + self.clip.ticks()) * self.clip.time_base
                self.sound.copy_until(float("inf") if complete else float(end))
                self.sound.close()
            self.container.close()
        os.replace(self.part, self.path)

    def abandon(self) -> None:
        """Leaves what can be played of the file after an error: all up to its last fragment."""
        self.container = self.stream = self.sound = None
        if not self.part.exists():
            return
        if self.last is not None and can_be_played(self.part):
            os.replace(self.part, self.path)
        else:
            self.part.unlink()

    def finish(self) -> None:
        """Completes the file after an error elsewhere, or leaves it as it is."""
        try:
            self.close(complete=False)
        except OSError:
            self.abandon()

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Raises errors of PyAV as WriteError, and leaves what the file holds."""
        try:
            yield
        except pyav().FFmpegError as error:
            self.failed = True
            self.abandon()
            kept = f"; what it holds of the first {self.count} frames can be played"
            reason = (no_room(error) or reason_of(error)) + kept * self.path.exists()
            raise WriteError(self.path, reason) from error


def part_of(path: Path) -> Path:
    """Returns the name of a file while it is written."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def can_be_played(path: Path) -> bool:
    """Returns whether the first frame of a clip can be decoded."""
    try:
        open_clip(path)
    except ValueError:
        return False
    return True


class FolderWriter:
    """Writes NUMBER_alpha.png and NUMBER_cutout.png for each frame.

    Attributes:
        images: the images that it needs of each frame.
    """

    SUFFIXES = {"alpha": "_alpha", "cutout": "_cutout", "composite": "_composite"}
    NAMES = re.compile(r"(\d{6,})(_alpha|_cutout|_composite)\.png")

    def __init__(self, path: Path, images: tuple[str, ...]):
        self.path, self.images, self.number = path, images, 0
        make_folder(path)

    def prepare(self, images: Images) -> dict[str, bytes]:
        """Encodes the images of a frame; may be called in any thread."""
        return {
            self.SUFFIXES[name.rstrip("0123456789")]: encode(images[name]) for name in self.images
        }

    def write(self, files: Mapping[str, bytes], time: int) -> None:
        """Writes the files of a frame. Raises OSError if that fails."""
        stem = f"{self.number:06d}"
        write_files({self.path / f"{stem}{x}.png": content for x, content in files.items()})
        self.number += 1

    def close(self, complete: bool = True) -> None:
        """Removes frames of an earlier clip, which would continue this one."""
        written = {self.SUFFIXES[name.rstrip("0123456789")] for name in self.images}
        for path in list(self.path.iterdir()) if self.number else ():
            name = self.NAMES.fullmatch(path.name)
            if name and not (int(name[1]) < self.number and name[2] in written):
                path.unlink()

    finish = abandon = close


Writer = FileWriter | FolderWriter
