"""Which processor cores work beside the drawing may use."""

import os


def leave_first_core() -> bool:
    """Keep the calling thread off one core, so that it never has the thread that draws wait for a turn.

    What the thread starts from now on, threads and processes, inherits this. A machine with one core, or a system that
    binds no threads to cores, is left as it is.

    Returns:
        Whether a core was left.
    """
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) < 2:
            return False
        os.sched_setaffinity(0, allowed - {min(allowed)})
    except (AttributeError, OSError):
        return False  # not offered by this system, or not allowed
    return True
