"""How each kind of result is stored in each kind of file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from matting_jax.data.clips.library import exact, pyav

# FFmpeg's numbers: BT.709, and luma from 16 to 235.
BT709, LIMITED = 1, 1


@dataclass(frozen=True)
class Encoding:
    """A codec and how its frames are made.

    Attributes:
        image: the image that is stored, a name of `layers.IMAGES`.
        given: FFmpeg's pixel format of that image.
        codec: FFmpeg's encoder.
        pixels: the stored pixel format.
        options: of the encoder.
        even: whether both sides must be even; a row or column is then repeated.
        colours: whether the frames have colours, which are stored as BT.709 in limited range.
    """

    image: str
    given: str
    codec: str
    pixels: str
    options: Mapping[str, str]
    even: bool = False
    colours: bool = True

    def to_frame(self, image: np.ndarray) -> Any:
        """Returns a frame of PyAV of an image [H, W] or [H, W, C]."""
        if self.even:
            image = pad_to_even(image)
        frame = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(image), format=self.given)
        if self.given == self.pixels:
            return frame
        return frame.reformat(
            format=self.pixels,
            dst_colorspace="ITU709" if self.colours else None,
            dst_color_range="MPEG" if self.colours else None,
            interpolation=exact(),
            threads=1,
        )

    def tag(self, context: Any) -> None:
        """Writes the colour space into the header of a stream."""
        if self.codec == "ffv1":
            return
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED


# Grey in full range is read back as limited range by most programs, so alpha is stored as the luma
# of colours. The first frames of a torn file are lost up to the last key frame before the tear.
H264 = {"preset": "veryfast", "g": "50"}
# A quarter of the time of "veryfast" with crf 10, and errors up to 7 instead of 32, for files twice
# as large.
FAST = {**H264, "preset": "ultrafast", "crf": "14"}
ALPHA = Encoding("alpha8", "gray", "libx264", "yuv420p", FAST, even=True, colours=False)
EXACT_ALPHA = Encoding("alpha16", "gray16le", "ffv1", "gray16le", {"g": "25"}, colours=False)
COMPOSITE = Encoding("composite8", "rgb24", "libx264", "yuv420p", {**H264, "crf": "18"}, even=True)
VP9 = Encoding(
    "cutout8",
    "rgba",
    "libvpx-vp9",
    "yuva420p",
    {
        "crf": "20",
        "b": "0",
        "deadline": "realtime",
        "cpu-used": "6",
        "row-mt": "1",
        "auto-alt-ref": "0",  # the encoder refuses it with alpha
        "g": "50",
    },
)
PRORES = Encoding(
    "cutout16",
    "rgba64le",
    "prores_ks",
    "yuva444p10le",
    {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"},
)

ENCODINGS = {
    ("alpha", ".mp4"): ALPHA,
    ("alpha", ".mov"): ALPHA,
    ("alpha", ".mkv"): EXACT_ALPHA,
    ("cutout", ".webm"): VP9,
    ("cutout", ".mov"): PRORES,
    ("composite", ".mp4"): COMPOSITE,
    ("composite", ".mkv"): COMPOSITE,
}


def pad_to_even(image: np.ndarray) -> np.ndarray:
    """Repeats the last row and column of an image whose sides are odd."""
    height, width = image.shape[:2]
    if height % 2 == width % 2 == 0:
        return image
    more = ((0, height % 2), (0, width % 2)) + ((0, 0),) * (image.ndim - 2)
    return np.pad(image, more, mode="edge")
