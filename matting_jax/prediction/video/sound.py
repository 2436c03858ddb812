"""The sound of a clip, copied into a result without decoding where its container bears it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matting_jax.data.clips.library import pyav
from matting_jax.data.clips.reader import open_container

# What sound is converted to where a container cannot hold it as it is, with the sample rate.
CONVERTED = {".webm": ("libopus", 48_000), ".mp4": ("aac", 48_000), ".mov": ("aac", 48_000)}

logger = logging.getLogger("matting_jax")


class Sound:
    """Copies the sound of a file into a container that is being written."""

    def __init__(self, file: Path, output: Any, suffix: str):
        """Adds a stream to `output` for each sound of `file`; `suffix` is that of the result."""
        self.input, self.output = open_container(str(file)), output
        self.targets: dict[int, Any] = {}
        self.encoders: dict[int, Any] = {}
        for stream in self.input.streams.audio:
            try:
                self.targets[stream.index] = output.add_stream_from_template(stream)
            except ValueError:
                codec, rate = CONVERTED[suffix]
                logger.info(
                    "%s cannot hold %s: the sound is converted to %s",
                    suffix,
                    stream.codec_context.name,
                    codec,
                )
                target = output.add_stream(codec, rate=rate, layout=stream.layout.name)
                self.targets[stream.index] = self.encoders[stream.index] = target
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
            packet.stream = self.targets[index]
            self.output.mux(packet)

    def close(self) -> None:
        """Writes what the encoders still hold."""
        for encoder in self.encoders.values():
            self.output.mux(encoder.encode(None))
        self.input.close()
