"""Cameras: `camera:N` is the N-th of this machine."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import Any

from matting_jax.data.clips.clip import Clip
from matting_jax.data.clips.library import pyav, reason_of
from matting_jax.data.clips.reader import describe, open_container

# By the platform: the device of FFmpeg, and how it names the camera N.
DEVICES = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}


def is_camera(name: str) -> bool:
    """Returns whether an input is a camera."""
    return name.startswith("camera:")


def open_camera(name: str) -> Clip:
    """Opens `camera:N`; its clip ends when the program is stopped.

    Raises ValueError for another name, and FileNotFoundError if there is no such camera.
    """
    number = re.fullmatch(r"camera:(\d+)", name)
    if not number:
        raise ValueError(f"{name} is no camera: write camera:0 for the first one")
    if sys.platform not in DEVICES:
        raise ValueError(f"cameras are not supported on {sys.platform}")
    device, pattern = DEVICES[sys.platform]
    path = pattern.format(number[1])
    try:
        open_device(path, device).close()
    except pyav().FFmpegError as error:
        raise FileNotFoundError(
            f"{name}: cannot open {path}, {reason_of(error)}: connect a camera, take another "
            "number, or close the program that uses it"
        ) from error
    return describe(name, partial(open_device, path, device))


def open_device(path: str, device: str) -> Any:
    """Opens a device of FFmpeg."""
    return open_container(path, device)
