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

LARGE = """
import ctypes
from matting_jax import allocator

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
assert allocator.keep_freed_memory()
before = libc.sbrk(0)
temporary = libc.malloc(5 * 2**29)
assert temporary
libc.free(temporary)
print(libc.sbrk(0) - before)
"""


def run(program):
    """The whole numbers that a program prints in a process of its own."""
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(word) for word in printed.split()]


def test_a_temporary_of_more_than_2_gib_is_kept():
    """The heap keeps its size; no page of it is touched here."""
    (grown,) = run(LARGE)
    assert grown >= 5 * 2**29


def test_freed_memory_is_kept_until_it_is_released():
    """200 MiB in pieces that were freed below one that is still in use."""
    held, kept, released = run(PIECES)
    assert held >= 200
    assert kept >= 200
    assert released < 50
