"""Opens the file of a clip and decodes its frames."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from matting_jax.data.clips.clip import Clip, Frame, increasing
from matting_jax.data.clips.library import pyav, reason_of
from matting_jax.data.clips.pixels import convert, upright_size
from matting_jax.data.files.images import check_regular

# Extensions of clips, without .gif, which may also be a photo: the user says which it is.
SUFFIXES = frozenset(
    ".mp4 .m4v .mov .webm .mkv .avi .mpg .mpeg .ts .mts .m2ts .3gp .wmv .flv .ogv".split()
)
DEFAULT_RATE = Fraction(25)  # where neither the file nor the user tells
# Seconds, and frames, by which a whole clip may end before its declared end.
LATE = Fraction(1, 2), 3
# FFmpeg's own decoders drop the alpha of these.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

EARLY = "the file ends early"

Report = Callable[[str], None]


def open_clip(path: str | Path) -> Clip:
    """Opens a clip and decodes its first frame.

    Raises ValueError, with the file's name, if it holds no frame that can be decoded, and
    FileNotFoundError if there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no clip {path}")
    try:
        check_regular(path)
    except ValueError as error:
        raise ValueError(f"cannot read the clip {path}: {error}") from error
    return describe(str(path), partial(open_container, str(path)), sound=path)


def open_container(name: str, format: str | None = None) -> Any:
    """Opens a file or a device."""
    # Tags that are not UTF-8 are no reason to refuse a clip.
    return pyav().open(name, format=format, metadata_errors="replace")


def describe(name: str, open_input: Callable[[], Any], sound: Path | None = None) -> Clip:
    """Returns the clip of what `open_input` opens.

    Args:
        name: for messages.
        open_input: opens a container of PyAV.
        sound: the file, if its sound belongs to the clip.
    """
    av = pyav()
    problems: list[str] = []
    try:
        with open_input() as container:
            if not container.streams.video:
                raise ValueError("it has no pictures")
            stream = container.streams.video[0]
            first = next(decode(container, stream, lambda message: None), None)
            if first is None:
                raise ValueError("no frame can be decoded")
            height, width = upright_size(first)
            has_sound = sound is not None and bool(container.streams.audio)
            rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            time_base, count = stream.time_base, count_frames(container, stream, rate)
            declared = declared_end(container, stream)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            aspect = 1 / aspect if first.rotation % 180 == 90 else aspect
    except (av.FFmpegError, ValueError) as error:
        if name in str(error) and not isinstance(error, av.FFmpegError):
            raise
        raise ValueError(f"cannot read the clip {name}: {reason_of(error)}") from error

    def read() -> Generator[Frame, None, None]:
        report = problems.append
        with open_input() as container:
            stream = container.streams.video[0]
            time, step, origin, end = 0, max(round(1 / (rate * time_base)), 1), None, Fraction(0)
            for frame in decode(container, stream, report):
                time = time if frame.pts is None else frame.pts
                if origin is None:  # a camera counts from its start, a file with its sound
                    origin = time if sound is None else 0
                if frame.is_corrupt:
                    report(f"the frame at {float((time - origin) * time_base):.3f} s is damaged")
                yield Frame(*convert(frame, height, width, first.rotation), time - origin)
                end = (time + max(frame.duration or 0, step)) * time_base
                time += step
        if (
            declared
            and declared - end > max(LATE[0], LATE[1] / rate)
            and not any(EARLY in x for x in problems)
        ):
            report(f"{EARLY}: at {float(end):.3f} of {float(declared):.3f} s")

    return Clip(
        name,
        width,
        height,
        time_base,
        rate,
        count,
        lambda: increasing(read()),
        sound if has_sound else None,
        aspect,
        problems,
    )


def decode(container: Any, stream: Any, report: Report) -> Iterator[Any]:
    """Yields the frames of a stream; packets that cannot be decoded are reported and skipped."""
    av = pyav()
    decoder = decoder_of(stream)
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if error.errno == errno.EAGAIN:  # a camera that has no frame yet
                continue
            report(f"{EARLY}: {reason_of(error)}")
            packet = None
        place = "at an unknown time"
        if packet is not None and packet.pts is not None:
            place = f"at {float(packet.pts * stream.time_base):.3f} s"
        try:
            yield from decoder.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError as error:
            report(f"a frame {place} cannot be decoded: {reason_of(error)}")
        if packet is None:
            return


def decoder_of(stream: Any) -> Any:
    """Returns the decoder of a stream, one that knows transparency if the stream has it."""
    context = stream.codec_context
    name = ALPHA_DECODERS.get(context.name)
    if name and stream.metadata.get("alpha_mode") == "1":
        other = pyav().CodecContext.create(name, "r")
        other.extradata = context.extradata
        return other
    # Threads by frame would report a damaged frame several frames late.
    context.thread_type = "SLICE"
    return context


def declared_end(container: Any, stream: Any) -> Fraction | None:
    """Returns when the pictures end, in seconds, as the file declares it; None if it does not."""
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    tags = (x for name, x in stream.metadata.items() if name.startswith("DURATION"))
    if found := re.fullmatch(r"(\d+):(\d+):([\d.]+)", next(tags, "")):
        return 3600 * int(found[1]) + 60 * int(found[2]) + Fraction(found[3])
    # The longest stream counts for the file: the sound may go on after the pictures.
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration + max(container.start_time or 0, 0), 1_000_000)
    return None


def count_frames(container: Any, stream: Any, rate: Fraction) -> int:
    """Returns the number of frames, or an estimate by the duration; 0 if both are unknown."""
    if stream.frames:
        return stream.frames
    if stream.duration:
        return round(stream.duration * stream.time_base * rate)
    return round(container.duration / 1_000_000 * rate) if container.duration else 0
