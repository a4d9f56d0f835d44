"""What this process takes from the machine."""

import ctypes
import os
import resource
import sys
from pathlib import Path

MAPPED_BYTES = 1 << 17
"""Blocks from this size on are mapped on their own."""

_M_MMAP_THRESHOLD = -3


def resident_bytes() -> int:
    """Resident set of this process; its peak where the present one cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Largest resident set so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def installed_bytes() -> int:
    """Memory that this machine has; 4 GiB where that cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 4 << 30


def map_large_blocks() -> bool:
    """Have every larger block of memory given back as soon as it is freed, where the C library can do so (glibc).

    Otherwise it raises its limit with the blocks that are freed, and a walk's temporary arrays leave holes in the heap
    between what stays: some hundred megabytes within a minute.

    Returns:
        Whether it could be asked for.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES))


def release_free_memory() -> bool:
    """Give freed memory back to the system where the C library can (glibc keeps it otherwise). Takes milliseconds.

    Returns:
        Whether it could be asked for.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True
