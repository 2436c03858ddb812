"""Cache folders: fallbacks where they cannot be written, and locks between programs."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("matting_jax")

# Options of JAX's compilation cache. A network takes 0.2 to 1 MB for each size of photos, a
# training step 1 to 5 MB: 1 GiB holds what a user of several networks needs at a time.
OPTIONS = {
    "jax_compilation_cache_max_size": 2**30,
    "jax_persistent_cache_min_compile_time_secs": 0.1,
}


@cache
def writable_folder(folder: Path) -> Path:
    """Returns `folder`, created if needed, or a temporary one if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        logger.warning(
            f"the cache {folder} cannot be written ({error.strerror}): a temporary one is used"
        )
        return temporary_folder()
    return folder


def cache_path(folder: str) -> Path:
    """Returns the path of a cache, whose leading ~/.cache is XDG_CACHE_HOME where that is set."""
    path, home = Path(folder), os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home) and path.parts[:2] == ("~", ".cache"):
        return Path(home, *path.parts[2:])
    return path.expanduser()


@cache
def temporary_folder() -> Path:
    """Returns a folder that is removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="matting_jax_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def njit(function: Callable) -> Callable:
    """Compiles a function by numba, which caches it, to run without Python's lock.

    Numba refuses to decorate a function if neither the folder of its source nor the user's folder
    of caches can be written. A temporary folder is used then.
    """
    import numba

    compile = numba.njit(cache=True, nogil=True)
    try:
        return compile(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
    logger.warning("numba's cache cannot be written: a temporary one is used")
    numba.config.CACHE_DIR = str(temporary_folder() / "numba")
    return compile(function)


def keep_compiled(folder: str) -> None:
    """Lets JAX keep compiled programs in `folder` for the next run.

    The least recently used are removed. Environment variables of JAX have priority.
    """
    import jax

    path = writable_folder(cache_path(folder))
    date_entries(path)
    jax.config.update("jax_compilation_cache_dir", str(path))
    for option, value in OPTIONS.items():
        if option.upper() not in os.environ:
            jax.config.update(option, value)


def date_entries(folder: Path) -> None:
    """Dates the programs that JAX wrote into `folder` without a limit of its size.

    Without a date of its last use a single one makes JAX fail to write any other.
    """
    for entry in folder.glob("*-cache"):
        date = entry.with_name(entry.name.removesuffix("-cache") + "-atime")
        try:
            if not date.exists():
                date.write_bytes(entry.stat().st_mtime_ns.to_bytes(8, "little"))
        except OSError as error:  # another program removed it
            logger.debug(f"{entry} cannot be dated: {error}")


@contextmanager
def one_at_a_time(lock: Path, what: str) -> Iterator[None]:
    """Lets one program after the other run a block.

    Without a lock, where the folder cannot be written or the file system has none, all run it.

    Args:
        lock: the file that is locked.
        what: what the other program does, for the message while this one waits.
    """
    held = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            logger.info(f"another program {what}: waiting for it")
            held.acquire()
    except (OSError, NotImplementedError) as error:
        logger.debug(f"no lock on {lock}: {error}")
    try:
        yield
    finally:
        held.release()
