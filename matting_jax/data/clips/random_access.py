"""Single frames of clips, in any order, as photos to train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from matting_jax.data.clips.library import pyav, reason_of
from matting_jax.data.clips.pixels import convert, upright_size
from matting_jax.data.clips.reader import SUFFIXES, decode, open_container
from matting_jax.data.files.folders import Found, find_backgrounds
from matting_jax.data.files.walk import images_below, is_skipped


class ClipFrame(NamedTuple):
    """A frame of a clip: the file, and its time in ticks of the file."""

    path: Path
    time: int


def clips_below(folder: Path) -> list[Path]:
    """Returns the clips of a tree of folders, sorted; hidden ones are skipped."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(is_skipped(part) for part in path.relative_to(folder).parts)
    )


def list_frames(path: Path) -> list[ClipFrame]:
    """Returns all frames of a clip in the order of their times, without decoding them.

    Raises ValueError, with the file's name, if it holds no frame that can be read.
    """
    av = pyav()
    try:
        with open_container(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it has no pictures")
            packets = container.demux(container.streams.video[0])
            times = {x.pts for x in packets if x.size and x.pts is not None}
        if not times:
            raise ValueError("it has no frames with times")
        first = ClipFrame(path, min(times))
        read_frame(first)
    except (av.FFmpegError, ValueError) as error:
        if str(path) in str(error) and not isinstance(error, av.FFmpegError):
            raise
        raise ValueError(f"cannot read the clip {path}: {reason_of(error)}") from error
    return [ClipFrame(path, time) for time in sorted(times)]


def read_frame(wanted: ClipFrame) -> np.ndarray:
    """Returns the colours uint8 [H, W, 3] of a frame, or of the next one that can be decoded.

    Raises ValueError, with the file's name, if there is none.
    """
    with open_container(str(wanted.path)) as container:
        stream = container.streams.video[0]
        container.seek(wanted.time, stream=stream)  # to the key frame before it
        for frame in decode(container, stream, lambda problem: None):
            if frame.pts is not None and frame.pts >= wanted.time:
                return convert(frame, *upright_size(frame), frame.rotation)[0]
    raise ValueError(f"cannot read the clip {wanted.path}: it has no frame at {wanted.time}")


def find_photos(folder: str | Path, field: str, cache: Path, workers: int) -> Found:
    """Finds every image and every frame of a clip in a tree of folders.

    Items are paths of images, then frames of clips.

    Args:
        folder: the folder.
        field: the config field that names it, for errors.
        cache: folder of file checks.
        workers: number of threads.

    Raises:
        ValueError: the folder is missing or has neither an image nor a clip.
    """
    clips = clips_below(Path(folder)) if Path(folder).is_dir() else []
    if not clips:
        return find_backgrounds(folder, field, cache, workers)
    found = Found(field, Path(folder), [], [])
    if any(images_below(Path(folder))):
        found = find_backgrounds(folder, field, cache, workers)
    frames, faults = [], list(found.faults)
    for clip in clips:
        try:
            frames += list_frames(clip)
        except ValueError as error:
            faults.append(str(error))
    return replace(found, items=[*found.items, *frames], faults=faults)
