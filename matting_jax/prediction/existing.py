"""Handles results that exist already (--existing)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matting_jax.choices import one_of
from matting_jax.prediction.jobs import Job, sort_jobs
from matting_jax.prediction.record import complete_lines, read_lines
from matting_jax.prediction.shards import Shard

EXISTING = ("error", "keep", "overwrite")
ALL = Shard()
END_OF_PNG = b"IEND\xaeB`\x82"


def remaining_jobs(
    jobs: Sequence[Job],
    output: Path,
    existing: str,
    shard: Shard = ALL,
    options: Mapping[str, Any] | None = None,
) -> list[Job]:
    """Returns the photos of a share to predict: all, or with "keep" those without whole results.

    Args:
        jobs: the photos and the files of their results.
        output: folder of the results, in whose record kept photos get their missing lines.
        existing: one of EXISTING.
        shard: which share of all `jobs`, so that it does not depend on what others have written.
        options: those that change the results, which kept ones must have been made with.

    Raises:
        ValueError: for another value of `existing`, or if "keep" would keep results of other
            options.
        FileExistsError: if results exist with "error".
    """
    if one_of(existing, EXISTING, "--existing") == "keep":
        check_same_options(jobs, output, options or {})
    if shard.count > 1:
        jobs = shard.of(sort_jobs(jobs))
        if not jobs:
            print(f"share {shard} has no photo: there are fewer photos than shares")
    if existing == "keep":
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


def check_same_options(jobs: Sequence[Job], output: Path, options: Mapping[str, Any]) -> None:
    """Raises ValueError if whole results were made with other options than now.

    Those without a line in the record are not known, and an option that is None has no effect now.
    All photos count, so that the programs of a job with a share each all stop.
    """
    now = {name: x for name, x in json.loads(json.dumps(options)).items() if x is not None}
    lines = {os.path.abspath(name): line for name, line in read_lines(output).items()}
    for job in jobs:
        before = lines.get(os.path.abspath(job.photo), {}).get("options") or {}
        changed = [name for name, x in now.items() if before.get(name, x) != x]
        if changed and all(map(is_whole, job.results.values())):
            pairs = (f"{name} {before[name]}, now {now[name]}" for name in changed)
            raise ValueError(
                f"--existing keep: the results of {job.photo} in {output} were made with "
                f"{'; '.join(pairs)}: give the same options, another --output, or --existing "
                "overwrite to replace them"
            )


def is_whole(path: Path) -> bool:
    """Returns whether a PNG file exists and has its end."""
    try:
        with path.open("rb") as file:
            file.seek(-len(END_OF_PNG), os.SEEK_END)
            return file.read() == END_OF_PNG
    except OSError:
        return False
