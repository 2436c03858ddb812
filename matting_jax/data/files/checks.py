"""Checks which files can be read; results are cached by size and modification time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from matting_jax.data.files.images import Header, read_header
from matting_jax.data.files.values import CHECKED, check_values
from matting_jax.data.files.walk import real
from matting_jax.files import write_atomically

RULES = 3  # changes with the rules, so that files are checked again

logger = logging.getLogger("matting_jax")


class Checked(Header):
    """The header of a file that can be read, and what is wrong with its values."""

    fault = ""


def identity(path: Path) -> str:
    """Returns a key that changes when the file does: its path, size and modification time."""
    status = path.stat()
    return f"{real(path)} {status.st_size} {status.st_mtime_ns}"


def check_files(
    roles: Mapping[Path, str], cache: Path | None, workers: int
) -> dict[Path, Header | str]:
    """Returns the header of each file, or the error message if it cannot be read.

    Values that cannot be meant are the `fault` of a header; others that are rare are reported as
    warnings, see `values`.

    Args:
        roles: what each file is used as, one of `values.ROLES`.
        cache: folder that records the files without a fault or warning, which are not checked
            again; None for no record.
        workers: number of threads.
    """
    paths = list(roles)
    if not paths:
        return {}
    record = cache and record_file(paths, cache)
    try:
        known = json.loads(record.read_text()) if record else {}
    except (OSError, ValueError):
        known = {}

    warnings = defaultdict(list)

    def check(path: Path) -> tuple[str, Header | str]:
        role = roles[path]
        try:
            key = f"{identity(path)} {role if role in CHECKED else ''} {RULES}"
            if key in known:
                return key, Checked(*known[key])
            header = Checked(*read_header(path))
        except (OSError, ValueError) as error:
            return "", str(error)
        try:
            warning = check_values(path, role)
        except ValueError as error:
            header.fault = str(error)
            return "", header
        if warning:
            warnings[warning].append(path)
        return "" if warning else key, header

    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(check, paths)
        checked = list(tqdm(results, "checking images", len(paths), disable=None, leave=False))
    for warning, files in warnings.items():
        others = f" (and {len(files) - 1} others)" if len(files) > 1 else ""
        logger.warning("%s%s: %s", min(files), others, warning)
    good = {key: header for key, header in checked if key}
    if record and not good.keys() <= known.keys():
        with write_atomically(record) as file:
            file.write_text(json.dumps(known | good))
    return {path: result for path, (_, result) in zip(paths, checked, strict=True)}


def value_faults(headers: Iterable[Header]) -> list[str]:
    """Returns what is wrong with the values of files."""
    return [header.fault for header in headers if getattr(header, "fault", "")]


def record_file(paths: Sequence[Path], cache: Path) -> Path:
    """Returns the file that records which of the paths are readable, one for each folder."""
    folder = os.path.commonpath([real(path).parent for path in paths])
    return cache / "checked" / f"{hashlib.sha256(folder.encode()).hexdigest()[:16]}.json"
