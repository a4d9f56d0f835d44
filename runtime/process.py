"""What this process takes from the machine."""

import ctypes
import os
import resource
import sys
from pathlib import Path


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
