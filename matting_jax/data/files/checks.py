"""Which files can be read: looked at once, then remembered by size and date."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from matting_jax.data.files.images import Header, read_header
from matting_jax.files import written_whole


def identity(path: Path) -> str:
    """What changes when a file does: its path, size and time of change."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def check_files(
    paths: Sequence[Path], cache: Path | None, workers: int
) -> dict[Path, Header | str]:
    """Each file's header, or the sentence that says why it cannot be read.

    Files found good are remembered under `cache` if given, so that only new ones cost time.
    """
    if not paths:
        return {}
    memory = cache and _memory(paths, cache)
    try:
        known = json.loads(memory.read_text()) if memory else {}
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
    if memory and not good.keys() <= known.keys():
        with written_whole(memory) as file:
            file.write_text(json.dumps(known | good))
    return {path: result for path, (_, result) in zip(paths, checked, strict=True)}


def _memory(paths: Sequence[Path], cache: Path) -> Path:
    folder = os.path.commonpath([path.resolve().parent for path in paths])
    return cache / "checked" / f"{hashlib.sha256(folder.encode()).hexdigest()[:16]}.json"
