"""Checks which files can be read; results are cached by size and modification time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from matting_jax.data.files.images import Header, read_header
from matting_jax.files import write_atomically


def identity(path: Path) -> str:
    """Returns a key that changes when the file does: its path, size and modification time."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def check_files(
    paths: Sequence[Path], cache: Path | None, workers: int
) -> dict[Path, Header | str]:
    """Returns the header of each file, or the error message if it cannot be read.

    Readable files are recorded in the folder `cache`, if given, and not checked again.
    """
    if not paths:
        return {}
    record = cache and record_file(paths, cache)
    try:
        known = json.loads(record.read_text()) if record else {}
    except (OSError, ValueError):
        known = {}

    def check(path: Path) -> tuple[str, Header | str]:
        try:
            key = identity(path)
            return key, Header(*known[key]) if key in known else read_header(path)
        except (OSError, ValueError) as error:
            return "", str(error)

    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(check, paths)
        checked = list(tqdm(results, "checking images", len(paths), disable=None, leave=False))
    good = {key: header for key, header in checked if key}
    if record and not good.keys() <= known.keys():
        with write_atomically(record) as file:
            file.write_text(json.dumps(known | good))
    return {path: result for path, (_, result) in zip(paths, checked, strict=True)}


def record_file(paths: Sequence[Path], cache: Path) -> Path:
    """Returns the file that records which of the paths are readable, one for each folder."""
    folder = os.path.commonpath([path.resolve().parent for path in paths])
    return cache / "checked" / f"{hashlib.sha256(folder.encode()).hexdigest()[:16]}.json"
