"""Shares of an evaluation: each is measured by one process, and the last one writes the report."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def measure_share(
    cases: Iterable[Numbered],
    count: int,
    folder: Path,
    title: str,
    convention: str,
    *,
    save: bool,
    shard: Shard,
    identity: str,
) -> dict[str, float]:
    """Measures a share; the process that completes them writes what `measure` does into `folder`.

    Until then they lie in FOLDER_shares. A share that is measured again replaces itself.

    Args:
        cases: number of each image of the share in the whole table, and its case.
        count: number of images of the share.
        folder: where the results are written.
        title: what is measured, the page's title.
        convention: definition of the metrics, a key of CONVENTIONS.
        save: write the alphas as well.
        shard: which share it is.
        identity: tells shares of one report from others.

    Returns:
        The mean scores of all images if the report was written, else those of the share.
    """
    shares = folder.with_name(f"{folder.name}_shares") / f"{identity}_{shard.count}"
    with write_folder_atomically(shares / str(shard.index)) as temporary:
        rows = measure_cases(cases, count, temporary, convention, save)
        (temporary / ROWS).write_text(json.dumps(rows, default=float))
    claimed = claim_complete(shares, shard.count)
    if claimed is None:
        print(f"share {shard} is measured; the last of them writes the report: {folder}")
        return mean_scores([row for _, row in rows]) if rows else {}
    try:
        with write_folder_atomically(folder) as temporary:
            rows = merge(claimed, shard.count, temporary)
            lines = write_report(temporary, title, convention, rows)
    finally:
        shutil.rmtree(claimed, ignore_errors=True)
        if not any(shares.parent.iterdir()):
            shares.parent.rmdir()
    print_results(lines, folder)
    return mean_scores([row for _, row in rows])


def claim_complete(shares: Path, count: int) -> Path | None:
    """Returns a folder of all shares that no other process has, or None if not all are measured."""
    if not all((shares / str(index) / ROWS).is_file() for index in range(count)):
        return None
    claimed = shares.with_name(f".{uuid.uuid4().hex}")
    try:
        shares.rename(claimed)
    except FileNotFoundError:  # another process was faster
        return None
    return claimed


def merge(shares: Path, count: int, folder: Path) -> list[tuple[int, Row]]:
    """Moves the pictures of all shares into `folder`, and returns their rows, sorted."""
    rows = []
    for index in range(count):
        share = shares / str(index)
        rows += [(number, row) for number, row in json.loads((share / ROWS).read_text())]
        for file in [*share.glob("tiles/*"), *share.rglob("alphas/**/*")]:
            if file.is_file():
                target = folder / file.relative_to(share)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
    return sorted(rows, key=lambda numbered: numbered[0])
