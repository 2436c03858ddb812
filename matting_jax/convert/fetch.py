"""Downloads files of weights: resumes interrupted downloads and compares checksums.

FILE.json is the record of FILE and has its SHA-256, which later uses compare. During a download,
FILE.part holds the downloaded bytes and FILE.part.json the version of the file. FILE is created
only when it is complete.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matting_jax
from matting_jax.caches import one_at_a_time
from matting_jax.convert.contents import check_content
from matting_jax.convert.files import suffix_of
from matting_jax.convert.identity import KEY, read_record, sha256_of, side_car, write_record
from matting_jax.files import writing

CHUNK = 2**16  # bytes that are written at a time

logger = logging.getLogger("matting_jax")


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str = "",
    licence: str = "",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Returns `path`, fetched from `address` if it does not exist.

    Args:
        address: of the file, http or https.
        path: the file to write.
        sha256: the published SHA-256 or its first digits; without one the file is compared to what
            it was when it was first fetched.
        licence: shown once, when the file is fetched.
        facts: further entries of the file's record.

    Raises:
        ValueError: if the file is not the published one, or not the one that was first fetched.
        FileNotFoundError: if the address has no such file or cannot be reached; says which file to
            put where.
        WriteError: if the file cannot be written.
    """
    with one_at_a_time(path.with_name(f"{path.name}.lock"), f"fetches {path.name}"):
        if path.exists():
            return check_file(path, sha256=sha256, licence=licence, facts=facts)
        part = path.with_name(f"{path.name}.part")
        logger.info(f"fetching {address}")
        with writing(path):  # what has arrived is kept on a full disk too
            path.parent.mkdir(parents=True, exist_ok=True)
            download(address, part, path)
            accept(part, path, address, sha256=sha256, licence=licence, facts=facts)
        version_file(part).unlink(missing_ok=True)
    return path


def accept(
    part: Path,
    path: Path,
    address: str,
    *,
    sha256: str = "",
    licence: str = "",
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Renames the complete download `part` to `path`, and writes its record.

    Raises ValueError, and deletes the file, if it is a web page or another file; see `fetch`.
    """
    try:
        check_content(part, suffix_of(path))
        record = checked_record(part, path, address, sha256, facts or {})
    except ValueError:
        discard(part)
        raise
    # The record first: without it a file that was replaced later would not be noticed.
    write_record(path, record)
    os.replace(part, path)
    show_licence(path, licence)


def check_file(
    path: Path,
    *,
    sha256: str = "",
    licence: str = "",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Returns `path`, compared to its record, or recorded if it has none yet; see `fetch`."""
    record = checked_record(path, path, "", sha256, facts or {})
    if read_record(path) is None:
        write_record(path, record)
        show_licence(path, licence)
    return path


def checked_record(
    content: Path, path: Path, address: str, sha256: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the record of a file, checked against the published SHA-256 and the earlier record.

    Args:
        content: the file to check.
        path: the file that it is or becomes.
        address: where it comes from, "" if that is unknown.
        sha256: the published SHA-256 or its first digits, or "".
        facts: further entries of the record.

    Raises:
        ValueError: if it is another file.
    """
    found = sha256_of(content)
    if not found.startswith(sha256):
        raise ValueError(
            f"{address or path} is not the published file: its SHA-256 is {found}, the published "
            f"one {'begins with ' * (len(sha256) < 64)}{sha256}; it is damaged or was replaced"
        )
    before = (read_record(path) or {}).get("sha256", found)
    if found != before:
        raise ValueError(
            f"{address or path} is not the file that was first used under this name: its SHA-256 "
            f"is {found}, and was {before}; delete {side_car(path)} to accept the new one"
            + f", and {path} to fetch it again"
            * (not address)
        )
    source = {"address": address} if address else {}
    origin = {"file": path.name, **source, **facts.get("origin", {})}
    return {KEY: matting_jax.__version__, **facts, "origin": origin, "sha256": found}


def download(address: str, part: Path, path: Path) -> None:
    """Downloads `address` to `part`, which keeps the downloaded bytes if the connection breaks.

    An interrupted download is resumed as long as it makes progress. Raises FileNotFoundError if
    the file does not exist or cannot be reached; the message says where to save it by hand.
    """
    import requests

    remedy = f"download it by other means and save it as {path}"
    while True:
        before = size_of(part)
        try:
            return download_rest(address, part)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status != 416 or not before:  # 416: the part is not of this file
                message = f"{address} is answered by {status} {error.response.reason}: {remedy}"
                raise FileNotFoundError(message) from error
            discard(part)
        except requests.RequestException as error:
            if size_of(part) <= before:
                kept = " (the downloaded part is kept and resumed)" * bool(before)
                raise FileNotFoundError(
                    f"{address} cannot be fetched ({type(error).__name__}): run the command again"
                    f"{kept}, or {remedy}"
                ) from error
            logger.info(
                f"the download was interrupted at {size_of(part) / 1e6:.1f} MB: resuming it"
            )


def download_rest(address: str, part: Path) -> None:
    """Downloads the rest of `address` to `part`, or all of it if the file has changed."""
    from pooch import HTTPDownloader
    from requests import ConnectionError
    from tqdm import tqdm

    headers = {"Accept-Encoding": "identity"}  # lengths are those of the file
    size, version = size_of(part), read_version(part)
    if size and version:
        headers |= {"Range": f"bytes={size}-", "If-Range": version}
    expected = None

    # pooch sets the total, and ignores a bar that has none yet.
    bar = {"total": 1, "unit": "B", "unit_scale": True, "disable": None}
    with part.open("ab") as file, tqdm(**bar) as progress:

        def start(response: Any, **_: Any) -> None:
            """Empties the file unless the response is its rest."""
            nonlocal expected
            if response.status_code == 206:
                numbers = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers["Content-Range"])
                if not numbers or int(numbers[1]) != size:
                    raise ConnectionError(f"{address} answers with another part of the file")
                expected = int(numbers[2])
            elif response.status_code == 200:
                file.seek(0)
                file.truncate()
                write_version(part, response.headers)
                expected = int(response.headers.get("Content-Length", 0)) or None

        fetch_rest = HTTPDownloader(progress, CHUNK, headers=headers, hooks={"response": start})
        fetch_rest(address, file, None)
    if expected not in (None, size_of(part)):
        raise ConnectionError(f"{size_of(part)} of {expected} bytes of {address} have arrived")


def size_of(path: Path) -> int:
    """Returns the size of a file in bytes, 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def version_file(part: Path) -> Path:
    """Returns the file that says of which version of a file `part` is."""
    return part.with_name(f"{part.name}.json")


def read_version(part: Path) -> str:
    """Returns the version of which `part` is, "" if it is unknown."""
    try:
        return json.loads(version_file(part).read_text())["version"]
    except (OSError, ValueError, KeyError):
        return ""


def write_version(part: Path, headers: Mapping[str, str]) -> None:
    """Writes the version of a file by its server's headers: a strong entity tag, or a date."""
    tag = headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    version_file(part).write_text(json.dumps({"version": version}))


def discard(part: Path) -> None:
    """Deletes the partial download of a file."""
    part.unlink(missing_ok=True)
    version_file(part).unlink(missing_ok=True)


def show_licence(path: Path, licence: str) -> None:
    """Logs the licence of a file as a warning, so that it is also visible in Python."""
    if licence:
        logger.warning(f"{path.name}: its licence is {licence}")
