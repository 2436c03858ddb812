"""Writes each TensorBoard event completely before it returns.

The writers of libraries use a thread: if the disk is full it ends, and the run would wait for
it forever.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from matting_jax.files import append, writing

VERSION = "brain.Event:2"


class Events:
    """One more file of events in a folder. Those of others from `first_step` on are hidden."""

    def __init__(self, folder: Path, first_step: int):
        """Creates the file. Raises WriteError if that fails, as all methods do."""
        now = time.time()
        self.path = folder / f"events.out.tfevents.{now:.0f}.{socket.gethostname()}"
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
        start = SessionLog(status=SessionLog.START)
        self.add(
            Event(wall_time=now, file_version=VERSION),
            Event(wall_time=now, step=first_step, session_log=start),
        )

    def scalars(self, step: int, values: Mapping[str, float], now: float) -> None:
        """Writes values by tag, at the time `now` in seconds since 1970."""
        parts = (summary.scalar(tag, value) for tag, value in values.items())
        self.add(*(Event(wall_time=now, step=step, summary=part) for part in parts))

    def image(self, step: int, tag: str, picture: np.ndarray) -> None:
        """Writes a picture [H, W, 3] uint8."""
        part = summary.image(tag, picture, dataformats="HWC")
        self.add(Event(wall_time=time.time(), step=step, summary=part))

    def add(self, *events: Event) -> None:
        """Appends events to the file."""
        append(self.path, b"".join(framed(event.SerializeToString()) for event in events))


def framed(record: bytes) -> bytes:
    """Returns a record as it stands in a TFRecord file: with its length and checksums."""
    length = struct.pack("<Q", len(record))
    checksums = (struct.pack("<I", masked_crc32c(x)) for x in (length, record))
    return length + next(checksums) + record + next(checksums)
