"""What the process asks of the system's memory."""

import ctypes
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes
from spatia.runtime.process import map_large_blocks, resident_bytes

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
assert map_large_blocks()
libc.free(libc.malloc(24 << 20))  # would raise the limit to 24 MB
before = libc.mallinfo2().hblks
block = libc.malloc(1 << 20)
assert libc.mallinfo2().hblks == before + 1, "a block of 1 MB was not mapped on its own"
libc.free(block)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no limit to set")
def test_large_blocks_are_mapped_on_their_own_for_good() -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("the C library cannot say what it has mapped (glibc before 2.33)")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
