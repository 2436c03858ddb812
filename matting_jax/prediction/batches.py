"""How many photos pass through the devices of this process at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from matting_jax.data.files.sizes import read_size
from matting_jax.overlap import MOST_PIXELS
from matting_jax.parallel import on_accelerator
from matting_jax.prediction.programs import Needed

# Pixels of network inputs in a batch of one accelerator; larger batches are not faster per photo.
PIXELS_A_DEVICE = 2**21
MOST_A_DEVICE = 16

Groups = Sequence[tuple[tuple[Needed, ...], Sequence[Any]]]


@dataclass(frozen=True)
class Batch:
    """Photos that pass through the network together.

    Attributes:
        items: the photos, as jobs or numbers.
        size: number of samples of the network's programs, at least that of the photos.
    """

    items: Sequence[Any]
    size: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def batch_groups(
    groups: Groups, photo: Callable[[Any], Path]
) -> list[tuple[tuple[Needed, ...], list[Batch]]]:
    """Returns groups of photos that need the same programs as batches, with their programs.

    All batches of a group have one size, so that each of its programs is compiled once.

    Args:
        groups: programs, and the items that need them.
        photo: returns the file of an item.
    """
    batched = []
    for programs, items in groups:
        size = batch_size(programs, [photo(item) for item in items])
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        batched.append(
            (tuple(x.with_count(size) for x in programs), [Batch(chunk, size) for chunk in chunks])
        )
    return batched


def largest_batch(groups: Sequence[tuple[Any, Sequence[Batch]]]) -> int:
    """Returns the largest size of a batch."""
    return max((batch.size for _, batches in groups for batch in batches), default=1)


def batch_size(programs: Sequence[Needed], photos: Sequence[Path]) -> int:
    """Returns the number of photos in a batch of a group.

    There is one for each device, on accelerators more, limited by the number of photos and by the
    host's memory, which holds them at full size. It is 1 if their headers cannot be read.
    """
    devices = jax.local_devices()
    most = len(devices) * photos_a_device(devices[0].platform, programs)
    if most == 1 or len(photos) == 1:
        return 1
    try:
        size = min(most, len(photos), max(MOST_PIXELS // largest(photos), 1))
    except ValueError:
        return 1
    return size - size % len(devices) if size > len(devices) else size


def batches_at_a_time() -> int:
    """Returns how many batches are computed at a time: on accelerators two.

    One is prepared and resized on the host while the other is on the device. On CPU both would
    share the cores.
    """
    return 2 if on_accelerator() else 1


def photos_a_device(platform: str, programs: Sequence[Needed]) -> int:
    """Returns how many samples one device computes at a time.

    One on CPU, where a batch takes as long as its photos one by one.
    """
    if platform == "cpu" or not programs:
        return 1
    pixels = max(needed.pixels for needed in programs)
    return min(max(PIXELS_A_DEVICE // pixels, 1), MOST_A_DEVICE)


def largest(photos: Sequence[Path]) -> int:
    """Returns the number of pixels of the largest photo."""
    return max(height * width for height, width in map(read_size, photos))
