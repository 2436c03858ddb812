"""Folders of what is computed once: writable ones, and one program at a time."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger("matting_jax")


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
