"""The sound of a clip, copied into a result without decoding where its container bears it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from matting_jax.data.clips.library import pyav
from matting_jax.data.clips.reader import open_container

# FFmpeg's names of the containers, and what sound is converted to that they cannot hold.
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
CONVERTED = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}
RATE = 48_000  # samples a second of converted sound
LAYOUTS = {1: "mono", 6: "5.1"}  # by the number of channels; others become stereo

logger = logging.getLogger("matting_jax")


class Sound:
    """Copies the sound of a file into a container that is being written."""

    def __init__(self, file: Path, output: Any, suffix: str):
        """Adds a stream to `output` for each sound of `file`; `suffix` is that of the result."""
        self.input, self.output = open_container(str(file)), output
        self.targets: dict[int, Any] = {}
        self.encoders: dict[int, Any] = {}
        self.filters: dict[int, Any] = {}
        for stream in self.input.streams.audio:
            if can_hold(suffix, stream):
                target = output.add_stream_from_template(stream)
                if has_adts_headers(stream):
                    self.filters[stream.index] = filter_of("aac_adtstoasc", stream)
            else:
                name, codec = stream.codec_context.name, CONVERTED[suffix]
                logger.info(f"{suffix} cannot hold {name}: the sound is converted to {codec}")
                layout = LAYOUTS.get(stream.codec_context.channels, "stereo")
                target = output.add_stream(codec, rate=RATE, layout=layout)
                self.encoders[stream.index] = target
            self.targets[stream.index] = target
        self.packets = self.read()
        self.next = next(self.packets, None)

    def read(self) -> Iterator[Any]:
        """Yields the packets of all sounds; a damaged file ends the sound."""
        try:
            yield from self.input.demux(*self.input.streams.audio)
        except pyav().FFmpegError as error:
            logger.warning("the sound of %s ends early: %s", self.input.name, error)

    def copy_until(self, seconds: float) -> None:
        """Copies what lies before a time of the clip."""
        while self.next is not None:
            packet = self.next
            if packet.dts is not None and packet.dts * packet.time_base >= seconds:
                return
            self.copy(packet)
            self.next = next(self.packets, None)

    def copy(self, packet: Any) -> None:
        """Copies one packet, or decodes and encodes it again."""
        index = packet.stream.index
        if index in self.encoders:
            try:
                frames = packet.decode()
            except pyav().FFmpegError:  # silence for a few milliseconds
                return
            for frame in frames:
                self.output.mux(self.encoders[index].encode(frame))
        elif packet.dts is not None:  # the last, empty packet has none
            filtered = self.filters[index].filter(packet) if index in self.filters else [packet]
            for copied in filtered:
                copied.stream = self.targets[index]
                self.output.mux(copied)

    def close(self) -> None:
        """Writes what the encoders still hold."""
        for encoder in self.encoders.values():
            self.output.mux(encoder.encode(None))
        self.input.close()


def can_hold(suffix: str, stream: Any) -> bool:
    """Returns whether a container can hold a sound as it is; tried in memory."""
    av = pyav()
    try:
        with av.open(BytesIO(), "w", format=CONTAINERS[suffix]) as container:
            container.add_stream_from_template(stream)
            container.start_encoding()  # some containers refuse a codec only here
    except (av.FFmpegError, ValueError):
        return False
    return True


def has_adts_headers(stream: Any) -> bool:
    """Returns whether each packet of AAC has a header, as in MPEG transport streams."""
    return stream.codec_context.name == "aac" and not stream.codec_context.extradata


def filter_of(name: str, stream: Any) -> Any:
    """Returns a filter of FFmpeg for the packets of a stream."""
    from av.bitstream import BitStreamFilterContext

    return BitStreamFilterContext(name, stream)
