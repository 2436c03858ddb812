"""Handles results that exist already (--existing)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matting_jax.choices import one_of
from matting_jax.prediction.jobs import Job, sort_jobs
from matting_jax.prediction.record import complete_lines
from matting_jax.prediction.shards import Shard

EXISTING = ("error", "keep", "overwrite")
ALL = Shard()
END_OF_PNG = b"IEND\xaeB`\x82"


def remaining_jobs(
    jobs: Sequence[Job], output: Path, existing: str, shard: Shard = ALL
) -> list[Job]:
    """Returns the photos of a share to predict: all, or with "keep" those without whole results.

    Args:
        jobs: the photos and the files of their results.
        output: folder of the results, in whose record kept photos get their missing lines.
        existing: one of EXISTING.
        shard: which share of all `jobs`, so that it does not depend on what others have written.

    Raises:
        ValueError: for another value of `existing`.
        FileExistsError: if results exist with "error".
    """
    if shard.count > 1:
        jobs = shard.of(sort_jobs(jobs))
        if not jobs:
            print(f"share {shard} has no photo: there are fewer photos than shares")
    if one_of(existing, EXISTING, "--existing") == "keep":
        kept = [job for job in jobs if all(map(is_whole, job.results.values()))]
        if kept:
            print(f"{len(kept)} of {len(jobs)} photos have their results already: {output}")
            complete_lines(output, [job.photo for job in kept])
        done = {id(job) for job in kept}
        return [job for job in jobs if id(job) not in done]
    files = [path for job in jobs for path in job.results.values()]
    # Unlike Path.exists, this is False for names that are too long.
    found = [path for path in files if os.path.exists(path)]
    if found and existing == "error":
        raise FileExistsError(
            f"{len(found)} results exist already, {found[0]} first: pass --existing keep to "
            "predict only photos without results, --existing overwrite or --overwrite to replace "
            "them"
        )
    return list(jobs)


def is_whole(path: Path) -> bool:
    """Returns whether a PNG file exists and has its end."""
    try:
        with path.open("rb") as file:
            file.seek(-len(END_OF_PNG), os.SEEK_END)
            return file.read() == END_OF_PNG
    except OSError:
        return False
