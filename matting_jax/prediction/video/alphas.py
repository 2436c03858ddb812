"""Alphas of frames that are in memory, or come from anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from numbers import Integral, Real

import jax
import numpy as np

from matting_jax.choices import refuse_input, require_input
from matting_jax.prediction.inputs import size_of
from matting_jax.prediction.video.frames import Drawn, FramePredictor, Layers, Matter


def predict_frames(
    matter: Matter,
    frames: Iterable[np.ndarray],
    *,
    background: np.ndarray | None = None,
    smooth: float | None = None,
    batch: int = 1,
) -> Iterator[np.ndarray]:
    """Yields alphas; see `Matter.video`, which also says what is checked."""
    if matter.network.output != "alpha":
        raise ValueError(f"{matter.name} predicts classes, not an alpha")
    if "trimap" in matter.needs:
        raise ValueError(f"{matter.name} needs a trimap of each frame: pass trimap_from=")
    if background is not None:
        refuse_input("background", matter.takes, matter.name, "background=")
        background = check_frame(background, "background")
    if "background" in matter.needs:
        given = [] if background is None else ["background"]
        require_input("background", given, matter.name, "pass background=")
    if not isinstance(batch, Integral) or batch < 1:
        raise ValueError(f"batch must be at least 1, a whole number, got {batch}")
    if smooth is not None and not (isinstance(smooth, Real) and 0 <= smooth <= 1):
        raise ValueError(f"smooth must be None or a number in [0, 1], got {smooth!r}")
    predictor = FramePredictor(
        matter, select_alpha, background=background, threshold=smooth, batch=batch
    )
    return compute_ahead(predictor, check_frames(frames, background))


def compute_ahead(predictor: FramePredictor, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the alphas of checked frames; the next ones are computed meanwhile."""
    waiting: deque[Drawn] = deque()
    while images := [{"image": frame} for frame in islice(frames, predictor.batch)]:
        ready = len(waiting)
        waiting.extend(predictor.push(images))
        for _ in range(ready):
            yield np.asarray(waiting.popleft().images["alpha"])
    waiting.extend(predictor.flush())
    for drawn in waiting:
        yield np.asarray(drawn.images["alpha"])


def select_alpha(layers: Layers) -> dict[str, jax.Array]:
    """Returns the alpha [N, H, W] of layers."""
    return {"alpha": layers["alpha"][..., 0]}


def check_frames(
    frames: Iterable[np.ndarray], background: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Yields the frames, checked; raises ValueError unless all are uint8 [H, W, 3] of one size."""
    first = background
    for number, frame in enumerate(frames):
        frame = check_frame(frame, f"frame {number}")
        first = frame if first is None else first
        if frame.shape != np.shape(first):
            raise ValueError(
                f"frame {number} has the size {size_of(frame)}, the frames before, or the "
                f"background, {size_of(np.asarray(first))}: they must be equal"
            )
        yield frame


def check_frame(frame: np.ndarray, name: str) -> np.ndarray:
    """Returns a frame as an array; raises ValueError, with its name, unless uint8 [H, W, 3]."""
    frame = np.asarray(frame)
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise ValueError(f"{name} must be uint8 [H, W, 3], got {frame.dtype} {frame.shape}")
    return frame
