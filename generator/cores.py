"""How far work beside the drawing stands back for it: its priority, and which cores it may use."""

import contextlib
import os
from collections.abc import Mapping

NICENESS_VARIABLE = "SPATIA_NICENESS"
DEFAULT_NICENESS = 10
"""The walk comes first."""


def niceness_from(environment: Mapping[str, str]) -> int:
    """How far a worker stands back: 10 unless ``SPATIA_NICENESS`` says otherwise; with 0 it stands back in nothing.

    Raises:
        ValueError: It is no whole number from 0 to 19.
    """
    text = environment.get(NICENESS_VARIABLE, "").strip() or str(DEFAULT_NICENESS)
    if not text.isdecimal() or int(text) > 19:
        raise ValueError(f"{NICENESS_VARIABLE}: expected a whole number from 0 to 19, got {text!r}")
    return int(text)


def lower_priority(niceness: int) -> None:
    """Be nice, also as a session of its own: Linux shares time among sessions first (sched_autogroup, sched(7))."""
    os.nice(niceness)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:
        file.write(str(niceness))


def leave_first_core() -> bool:
    """Keep the calling thread off one core, so that it never has the thread that draws wait for a turn.

    What the thread starts from now on, threads and processes, inherits this. A machine with one core, or a system that
    binds no threads to cores, is left as it is, and so is everything where ``SPATIA_NICENESS`` is 0.

    Returns:
        Whether a core was left.
    """
    if niceness_from(os.environ) == 0:
        return False
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) < 2:
            return False
        os.sched_setaffinity(0, allowed - {min(allowed)})
    except (AttributeError, OSError):
        return False  # not offered by this system, or not allowed
    return True
