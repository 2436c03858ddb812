"""Decoded images of a run, kept in a file on disk of bounded size."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

# An image [H, W, ...], or several that belong together, uint8.
Arrays = np.ndarray | tuple[np.ndarray, ...]

FREE = 2e9  # bytes of the disk that stay free


class DiskImages:
    """A file without a name for decoded images, which disappears when the program ends.

    Images are read as memory maps: a window reads its own part, and what the system has in its
    cache is not read again.
    """

    def __init__(self, folder: Path, limit: float):
        """Creates the file in `folder`, for at most `limit` bytes."""
        self.file = tempfile.TemporaryFile(dir=folder)
        self.folder, self.limit, self.used = folder, limit, 0
        self.lock = threading.Lock()

    def reserve(self, size: int) -> int | None:
        """Returns the position for `size` more bytes, or None if the limit or the disk is full."""
        with self.lock:
            free = shutil.disk_usage(self.folder).free
            if self.used + size > self.limit or free - size < FREE:
                return None
            self.used += size
            return self.used - size

    def write(self, array: np.ndarray, position: int) -> None:
        """Writes an array at its position."""
        data = memoryview(np.ascontiguousarray(array)).cast("B")
        while data:
            written = os.pwrite(self.file.fileno(), data, position)
            data, position = data[written:], position + written

    def read(self, shape: tuple[int, ...], position: int) -> np.ndarray:
        """Returns the array uint8 of a shape at a position, as a memory map."""
        return np.memmap(self.file, np.uint8, "r", position, shape).view(np.ndarray)


class DiskDict:
    """A dictionary of images in a file that several of them share; it forgets what does not fit."""

    def __init__(self, images: DiskImages):
        self.images = images
        self.places: dict[int, list[tuple[tuple[int, ...], int]]] = {}

    def get(self, number: int) -> Arrays | None:
        """Returns the images of a number, or None if they are not there."""
        places = self.places.get(number)
        if places is None:
            return None
        arrays = tuple(self.images.read(*place) for place in places)
        return arrays if len(arrays) > 1 else arrays[0]

    def __setitem__(self, number: int, arrays: Arrays) -> None:
        """Keeps the images of a number, if they fit."""
        arrays = arrays if isinstance(arrays, tuple) else (arrays,)
        position = self.images.reserve(sum(array.nbytes for array in arrays))
        if position is None:
            return
        places = []
        for array in arrays:
            places.append((array.shape, position))
            self.images.write(array, position)
            position += array.nbytes
        # Only now, so that other threads never read what is not written yet.
        self.places[number] = places
