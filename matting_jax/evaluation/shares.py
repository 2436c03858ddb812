"""Shares of an evaluation: each is measured by one process, and the last one writes the report."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from matting_jax.evaluation.measure import (
    Numbered,
    measure_cases,
    print_results,
    write_report,
)
from matting_jax.evaluation.scores import Row, mean_scores
from matting_jax.files import write_folder_atomically
from matting_jax.prediction.shards import Shard

ROWS = "rows.json"


def identify(variables: Any, facts: Mapping[str, Any]) -> str:
    """Returns a digest of weights and of what else the scores depend on.

    Shares of one report have the same. `facts` has a JSON form.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


class Shares(NamedTuple):
    """The shares of one report, which lie in FOLDER_shares until all are measured.

    Attributes:
        folder: where the report is written.
        shard: the share of this process.
        identity: tells shares of one report from others.
    """

    folder: Path
    shard: Shard
    identity: str

    @property
    def place(self) -> Path:
        """The folder that holds a folder of each share that is measured."""
        name = f"{self.folder.name}_shares"
        return self.folder.with_name(name) / f"{self.identity}_{self.shard.count}"

    def write(self) -> AbstractContextManager[Path]:
        """Yields the folder of this share to fill, which replaces an earlier one."""
        return write_folder_atomically(self.place / str(self.shard.index))

    @contextmanager
    def complete(self) -> Iterator[list[Path]]:
        """Yields the folders of all shares if this process is to write the report, else none.

        They are removed afterwards.
        """
        claimed = claim_complete(self.place, self.shard.count)
        if claimed is None:
            print(
                f"share {self.shard} is measured; the last of them writes the report: {self.folder}"
            )
            yield []
            return
        try:
            yield [claimed / str(index) for index in range(self.shard.count)]
        finally:
            shutil.rmtree(claimed, ignore_errors=True)
            if not any(self.place.parent.iterdir()):
                self.place.parent.rmdir()


def measure_share(
    cases: Iterable[Numbered],
    count: int,
    title: str,
    convention: str,
    *,
    save: bool,
    shares: Shares,
) -> dict[str, float]:
    """Measures a share; the process that completes them writes what `measure` does.

    A share that is measured again replaces itself.

    Args:
        cases: number of each image of the share in the whole table, and its case.
        count: number of images of the share.
        title: what is measured, the page's title.
        convention: definition of the metrics, a key of CONVENTIONS.
        save: write the alphas as well.
        shares: the share, and the folder of the report.

    Returns:
        The mean scores of all images if the report was written, else those of the share.
    """
    with shares.write() as temporary:
        rows = measure_cases(cases, count, temporary, convention, save)
        (temporary / ROWS).write_text(json.dumps(rows, default=float))
    with shares.complete() as folders:
        if folders:
            with write_folder_atomically(shares.folder) as temporary:
                rows = merge(folders, temporary)
                lines = write_report(temporary, title, convention, rows)
            print_results(lines, shares.folder)
    return mean_scores([row for _, row in rows]) if rows else {}


def claim_complete(place: Path, count: int) -> Path | None:
    """Returns a folder of all shares that no other process has, or None if not all are measured."""
    if not all((place / str(index)).is_dir() for index in range(count)):
        return None
    claimed = place.with_name(f".{uuid.uuid4().hex}")
    try:
        place.rename(claimed)
    except FileNotFoundError:  # another process was faster
        return None
    return claimed


def merge(shares: Sequence[Path], folder: Path) -> list[tuple[int, Row]]:
    """Moves the pictures of all shares into `folder`, and returns their rows, sorted."""
    rows = []
    for share in shares:
        rows += [(number, row) for number, row in json.loads((share / ROWS).read_text())]
        for file in [*share.glob("tiles/*"), *share.rglob("alphas/**/*")]:
            if file.is_file():
                target = folder / file.relative_to(share)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
    return sorted(rows, key=lambda numbered: numbered[0])
