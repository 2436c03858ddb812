"""The memory that glibc keeps and releases."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

PIECES = """
import resource
from matting_jax import allocator

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize() // 2**20

assert allocator.keep_freed_memory()
before = resident()
pieces = [bytearray(b"1") * 2**16 for _ in range(3200)]
last = bytearray(b"1") * 2**16
held = resident()
del pieces
kept = resident()
allocator.release_freed_memory()
print(held - before, kept - before, resident() - before)
"""


def test_freed_memory_is_kept_until_it_is_released():
    """200 MiB in pieces that were freed below one that is still in use."""
    command = [sys.executable, "-c", PIECES]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    held, kept, released = (int(word) for word in printed.split())
    assert held >= 200
    assert kept >= 200
    assert released < 50
