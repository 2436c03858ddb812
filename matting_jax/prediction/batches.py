"""How many photos pass through the devices of this process at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax

from matting_jax.data.files.sizes import read_size
from matting_jax.overlap import MOST_PIXELS
from matting_jax.prediction.jobs import Job
from matting_jax.prediction.programs import Needed

# Pixels of network inputs in a batch of one accelerator. More of them fill it no better.
PIXELS_A_DEVICE = 2**21
MOST_A_DEVICE = 16

Groups = Sequence[tuple[tuple[Needed, ...], Sequence[Job]]]


@dataclass(frozen=True)
class Batch:
    """Photos that pass through the network together.

    Attributes:
        jobs: the photos.
        size: number of samples of the network's programs, at least that of the photos.
    """

    jobs: Sequence[Job]
    size: int

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


def batch_groups(groups: Groups) -> list[tuple[tuple[Needed, ...], list[Batch]]]:
    """Returns groups of photos that need the same programs as batches, with their programs.

    All batches of a group have one size, so that each of its programs is compiled once.
    """
    batched = []
    for programs, jobs in groups:
        size = batch_size(programs, jobs)
        chunks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        batched.append(
            (tuple(x.with_count(size) for x in programs), [Batch(chunk, size) for chunk in chunks])
        )
    return batched


def batch_size(programs: Sequence[Needed], jobs: Sequence[Job]) -> int:
    """Returns the number of photos in a batch of a group.

    One for each device, and more on accelerators, but no more than there are, and than fit in the
    host's memory at full size. One if their headers cannot be read.
    """
    devices = jax.local_devices()
    most = len(devices) * photos_a_device(devices[0].platform, programs)
    if most == 1 or len(jobs) == 1:
        return 1
    try:
        size = min(most, len(jobs), max(MOST_PIXELS // largest(jobs), 1))
    except ValueError:
        return 1
    return size - size % len(devices) if size > len(devices) else size


def photos_a_device(platform: str, programs: Sequence[Needed]) -> int:
    """Returns how many samples one device computes at a time.

    One on CPU, where a batch takes as long as its photos one by one.
    """
    if platform == "cpu" or not programs:
        return 1
    pixels = max(height * width for height, width in (x.program.size for x in programs))
    return min(max(PIXELS_A_DEVICE // pixels, 1), MOST_A_DEVICE)


def largest(jobs: Sequence[Job]) -> int:
    """Returns the number of pixels of the largest photo."""
    return max(height * width for height, width in (read_size(job.photo) for job in jobs))
