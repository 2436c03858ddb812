"""The photos to predict: their files, and the order that compiles least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from matting_jax.data.files.sizes import read_size
from matting_jax.data.files.walk import real
from matting_jax.prediction.programs import Needed, expect

T = TypeVar("T")

# list_programs(height, width) returns the programs that a photo needs.
ListPrograms = Callable[[int, int], Sequence[Needed]]
AHEAD = 2  # groups of photos whose programs are compiled ahead


@dataclass(frozen=True)
class Job:
    """A photo, the files of the network's other inputs, and the files to write, by kind."""

    photo: Path
    inputs: Mapping[str, Path]
    results: Mapping[str, Path]


def plan_jobs(
    root: Path,
    paths: Sequence[Path],
    inputs: Mapping[str, Mapping[Path, Path]],
    output: Path,
    suffixes: Mapping[str, str],
    kinds: Sequence[str],
) -> list[Job]:
    """Returns what to do for each photo that has all inputs.

    Results of an earlier run that lie among the photos are not photos.

    Args:
        root: folder that the photos share; subfolders are kept below `output`.
        paths: the photos.
        inputs: {kind: {photo: file}} of the network's other inputs.
        output: folder of the results.
        suffixes: {kind: what follows the photo's name} of all results that this program writes.
        kinds: those to write now.

    Raises:
        ValueError: if two photos would write the same files, or a result would replace its photo.
    """
    stems = {}
    for path in paths:
        if all(path in files for files in inputs.values()):
            stem = (output / path.relative_to(root)).with_suffix("")
            if stem in stems:
                raise ValueError(f"{stems[stem]} and {path} would write the same files: rename one")
            stems[stem] = path
    results = {
        path: {kind: stem.with_name(f"{stem.name}{x}.png") for kind, x in suffixes.items()}
        for stem, path in stems.items()
    }
    for path, files in results.items():
        if real(path) in {real(file) for file in files.values()}:
            raise ValueError(f"the result of {path} would replace it: choose another --output")
    earlier = {real(file) for files in results.values() for file in files.values()}
    return [
        Job(
            path,
            {kind: files[path] for kind, files in inputs.items()},
            {kind: files[kind] for kind in kinds},
        )
        for path, files in results.items()
        if real(path) not in earlier
    ]


def sort_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Returns the jobs with photos of one shape, and then of one size, next to one another.

    Neighbours then share programs, also of networks that see all photos at a size of their own.
    """

    def key(job: Job) -> tuple[float, int]:
        try:
            height, width = read_size(job.photo)
        except ValueError:
            return 0.0, 0
        return height / width, height

    return sorted(jobs, key=key)


def group_jobs(
    jobs: Sequence[Job], list_programs: ListPrograms
) -> list[tuple[tuple[Needed, ...], list[Job]]]:
    """Returns the jobs that need the same programs, with these, ordered by their first photo.

    Photos whose header cannot be read need none. Where the programs are not known, those of one
    size are a group.
    """
    list_once, groups = cache(lambda *size: tuple(list_programs(*size))), {}
    for job in jobs:
        try:
            size = read_size(job.photo)
            programs = list_once(*size)
        except ValueError:
            size, programs = None, ()
        groups.setdefault((programs, None if programs else size), []).append(job)
    return [(programs, group) for (programs, _), group in groups.items()]


def compile_ahead(
    groups: Sequence[tuple[Sequence[Needed], Sequence[T]]],
    *,
    keep: bool = False,
    unfinished: int = 1,
) -> Iterator[T]:
    """Yields the items of all groups, and compiles the programs of the next ones in a thread.

    Args:
        groups: programs, and the items that need them.
        keep: keep all programs; else each is freed once no item that needs it is computed.
        unfinished: items before the one that is read whose computation may not have ended.
    """
    expect(program for programs, _ in groups for program in programs)
    last = {x: number for number, (programs, _) in enumerate(groups) for x in programs}
    begun, pool = set(), ThreadPoolExecutor(1)
    try:
        for number, (_, items) in enumerate(groups):
            for programs, _ in groups[number : number + 1 + AHEAD]:
                for program in programs:
                    if program not in begun:
                        begun.add(program)
                        pool.submit(program.compile)
            for program in [x for x in last if last[x] < number - unfinished and not keep]:
                program.drop()
                del last[program]
            yield from items
    finally:
        pool.shutdown(cancel_futures=True)
