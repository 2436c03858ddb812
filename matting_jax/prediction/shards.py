"""Shares of the photos, for the processes of a job and for programs started independently."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax

T = TypeVar("T")


class Shard(NamedTuple):
    """Share `index` of `count`, counted from 0."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        """Returns the share as the flag --shard has it, counted from 1."""
        return f"{self.index + 1}/{self.count}"

    def range(self, number: int) -> tuple[int, int]:
        """Returns start and end of this share of `number` items; sizes differ by at most one."""
        return number * self.index // self.count, number * (self.index + 1) // self.count

    def of(self, items: Sequence[T]) -> list[T]:
        """Returns the share of `items`."""
        start, end = self.range(len(items))
        return list(items[start:end])


def find_shard(given: str | None) -> Shard:
    """Returns the share of this process: that of --shard, shared out among those of the job.

    Raises ValueError if `given` is not INDEX/COUNT, with an index from 1 to COUNT.
    """
    shard = Shard() if given is None else parse_shard(given)
    processes = jax.process_count()
    return Shard(shard.index * processes + jax.process_index(), shard.count * processes)


def parse_shard(text: str) -> Shard:
    """Returns the share of a flag INDEX/COUNT; raises ValueError for another text."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(
            f"--shard must be INDEX/COUNT with an index from 1 to COUNT, as 3/16, got {text!r}"
        )
    return Shard(index - 1, count)
