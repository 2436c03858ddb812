"""Passes test images through a network in batches, with reading and scoring in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import jax
from tqdm import tqdm

from matting_jax.data import EvaluationImage, photo_files
from matting_jax.data.files.sizes import read_size
from matting_jax.overlap import cores, overlap_batches
from matting_jax.prediction.batches import Batch, batch_groups, batches_at_a_time, largest_batch
from matting_jax.prediction.jobs import ListPrograms, compile_ahead
from matting_jax.prediction.programs import Needed
from matting_jax.prediction.together import compute_batch


def compute_images(
    images: Sequence[EvaluationImage],
    list_programs: ListPrograms,
    load: Callable[[int], Any],
    compute: Callable[[int, Any], Any],
    finish: Callable[[int, Any], Any],
    pixels: Callable[[Any], int],
) -> Iterator[tuple[int, Future]]:
    """Yields number and future result of each image, those of one network size together.

    The next images are loaded meanwhile, and the programs of the next sizes are compiled.

    Args:
        images: the images, of which only the files are read here.
        list_programs: returns the programs that a photo of a size needs.
        load: takes the number of an image; called in threads.
        compute: takes the number and what was loaded, and runs a network.
        finish: takes the number and what was computed; called in threads.
        pixels: size of what was computed.
    """
    groups = group_images(images, list_programs)
    with ExitStack() as stack:
        batches = stack.enter_context(
            closing(compile_ahead(groups, unfinished=batches_at_a_time()))
        )
        stages = load, partial(compute_batch, compute), finish, pixels
        readers = min(largest_batch(groups), cores())
        results = stack.enter_context(
            closing(overlap_batches(batches, *stages, readers, batches_at_a_time()))
        )
        yield from tqdm(results, "evaluate", len(images), unit="image", leave=False, disable=None)


def group_images(
    images: Sequence[EvaluationImage], list_programs: ListPrograms
) -> list[tuple[tuple[Needed, ...], list[Batch]]]:
    """Returns the numbers of the images in batches that need the same programs, with these.

    Images that do not come from files are read in order, as many at a time as there are devices.
    Where the programs are not known, those of one size are a group.
    """
    files = photo_files(images)
    if not files:
        size = max(min(len(jax.local_devices()), len(images)), 1)
        starts = range(0, len(images), size)
        return [((), [Batch(range(len(images))[start : start + size], size) for start in starts])]
    groups: dict[Any, list[int]] = {}
    for number, file in enumerate(files):
        size = read_size(file)
        programs = tuple(list_programs(*size))
        groups.setdefault((programs, None if programs else size), []).append(number)
    return batch_groups([(x, group) for (x, _), group in groups.items()], files.__getitem__)
