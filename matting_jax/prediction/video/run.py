"""Decodes, predicts and encodes a clip, each while the others are in progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from matting_jax.data.clips.clip import Clip
from matting_jax.overlap import overlap
from matting_jax.prediction.video.frames import Drawn, FramePredictor
from matting_jax.prediction.video.writers import Writer
from matting_jax.stopping import stop_signal


class Done(NamedTuple):
    """The number of frames written of a clip, and the signal that stopped it, or 0."""

    frames: int
    signal: int


class Batch(NamedTuple):
    """Frames that are computed together."""

    times: Sequence[int]
    inputs: Sequence[Mapping[str, np.ndarray]]


class Loader:
    """Decodes the next batch of frames, with their new backgrounds."""

    def __init__(self, clip: Clip, size: int, backdrop: Iterator[np.ndarray] | None):
        self.clip, self.size, self.backdrop = clip.read(), size, backdrop
        self.has_opacity = False  # of a frame so far: then all frames have it

    def __call__(self, _: int) -> Batch:
        """Returns the next frames; none at the end."""
        frames = list(islice(self.clip, self.size))
        self.has_opacity |= any(frame.opacity is not None for frame in frames)
        return Batch([frame.time for frame in frames], [self.inputs(x) for x in frames])

    def close(self) -> None:
        """Closes the clip."""
        self.clip.close()

    def inputs(self, frame: Any) -> dict[str, np.ndarray]:
        """Returns the inputs of the predictor for a frame."""
        inputs = {"image": frame.image}
        if self.has_opacity:
            opaque = np.full(frame.image.shape[:2], 255, np.uint8)
            inputs["opacity"] = (opaque if frame.opacity is None else frame.opacity)[..., None]
        if self.backdrop is not None:
            inputs["backdrop"] = next(self.backdrop)
        return inputs


def write_clip(
    clip: Clip,
    predictor: FramePredictor,
    writers: Sequence[Writer],
    backdrop: Iterator[np.ndarray] | None = None,
) -> Done:
    """Predicts all frames of a clip and writes them.

    SIGTERM or Ctrl-C ends the clip after the frame that is being written; results then hold what
    came before.

    Args:
        clip: the clip.
        predictor: computes the images that the writers need.
        writers: what writes them; they are closed, or left as they are after an error.
        backdrop: the new background of each frame, if the predictor draws composites.

    Raises:
        OSError: if a result cannot be written.
    """
    times: list[int] = []

    def compute(_: int, batch: Batch) -> tuple[bool, list[tuple[int, Drawn]]]:
        times.extend(batch.times)
        drawn = predictor.push(batch.inputs) if batch.inputs else predictor.flush()
        return not batch.inputs, [(times[x.number], x) for x in drawn]

    written, stopped = 0, 0
    bar = tqdm(total=clip.count or None, desc="predict", unit="frame", disable=None)
    load = Loader(clip, predictor.batch, backdrop)
    stages = (load, compute, partial(prepare, writers))
    try:
        with (
            stop_signal() as asked,
            bar,
            closing(load),
            closing(overlap(count(), *stages)) as results,
        ):
            for _, result in results:
                ended, frames = result.result()
                for time, prepared in frames:
                    for writer, frame in zip(writers, prepared, strict=True):
                        writer.write(frame, time)
                    written += 1
                    bar.update()
                stopped = asked(written)
                if ended or stopped:
                    break
            for writer in writers:
                writer.close(complete=not stopped)
    except BaseException:
        for writer in writers:
            writer.finish()
        raise
    return Done(written, stopped)


def prepare(
    writers: Sequence[Writer], _: int, computed: tuple[bool, list[tuple[int, Drawn]]]
) -> tuple[bool, list[tuple[int, list[Any]]]]:
    """Fetches what was computed, and converts it to what each writer takes."""
    ended, frames = computed
    prepared = []
    for time, drawn in frames:
        images = {name: np.asarray(x) for name, x in drawn.images.items()}
        prepared.append((time, [writer.prepare(images) for writer in writers]))
    return ended, prepared
