"""Converts frames of high dynamic range or wide gamut to BT.709, by filters of FFmpeg.

Networks have learnt photos of standard range, in which white is the brightest value.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any, NamedTuple

from matting_jax.data.clips.library import pyav

# FFmpeg's numbers: of the curves PQ and HLG, and of the primaries and the matrix of BT.2020.
HDR, BT2020, UNSPECIFIED = (16, 18), 9, 2

# Reference white (203 cd/m2) becomes white, what is brighter is clipped.
TONE_MAP = (
    "scale",
    "out_range=full:out_primaries=bt709:out_transfer=bt709:intent=relative_colorimetric",
)
NARROW = ("colorspace", "iall=bt2020:all=bt709:range=tv:format=yuv444p10")

LOCK = threading.Lock()  # a graph takes one frame at a time


class Kind(NamedTuple):
    """Properties that frames of one graph of filters share, colours by FFmpeg's numbers."""

    width: int
    height: int
    pixels: str
    matrix: int
    range: int
    filter: tuple[str, str]
    result: str


def to_standard(frame: Any) -> Any:
    """Returns a frame of PyAV in BT.709; others than PQ, HLG and BT.2020 are returned as they are.

    The first frame of high dynamic range takes 2 s, the next ones of its kind 0.07 s at 1080p.
    """
    hdr = int(frame.color_trc) in HDR
    alpha = any(x.is_alpha for x in frame.format.components)
    # The filter for standard range takes neither RGB nor alpha.
    wide = int(frame.color_primaries) == BT2020 and not (frame.format.is_rgb or alpha)
    if not (hdr or wide):
        return frame
    for name in ("colorspace", "color_primaries"):
        if int(getattr(frame, name)) == UNSPECIFIED and not frame.format.is_rgb:
            setattr(frame, name, BT2020)
    kind = Kind(
        frame.width,
        frame.height,
        frame.format.name,
        int(frame.colorspace),
        int(frame.color_range),
        TONE_MAP if hdr else NARROW,
        ("rgba" if alpha else "rgb24") if hdr else "yuv444p10le",
    )
    with LOCK:
        _, source, sink = graph_of(kind)
        source.push(frame)
        return sink.pull()


@lru_cache(maxsize=4)
def graph_of(kind: Kind) -> tuple[Any, Any, Any]:
    """Returns a graph of filters, its source and its sink."""
    graph = pyav().filter.Graph()
    given = (
        f"video_size={kind.width}x{kind.height}:pix_fmt={kind.pixels}:time_base=1/25:"
        f"colorspace={kind.matrix}:range={kind.range}"
    )
    steps = [
        graph.add("buffer", given),
        graph.add(*kind.filter),
        graph.add("format", kind.result),
        graph.add("buffersink"),
    ]
    for step, following in zip(steps, steps[1:], strict=False):
        step.link_to(following)
    graph.configure()
    return graph, steps[0], steps[-1]
