"""The worker's thread that lifts a clip while the next one is made."""

import os
import sys
import threading
from collections.abc import Callable

from .errors import ChannelClosedError

HEARTBEAT_S = 1.0
"""Who waits for the thread shows so often that it is alive."""
LET_FINISH_S = 60.0
"""A worker that must be replaced gives a clip that is being lifted so long to come to its end."""
SWITCH_INTERVAL_S = 0.0005
"""While both work, the interpreter changes hands ten times as often as usual: a GPU waits for its next order."""


class LiftThread:
    """Does one piece of work at a time beside the main thread, which starts it."""

    def __init__(self) -> None:
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin; ``wait`` must have returned before. Work that finds the connection closed ends the process."""
        self._is_idle.clear()
        self._thread = threading.Thread(target=self._run, args=(work,), name="spatia-worker-lift", daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            work()
        except ChannelClosedError:
            os._exit(0)
        finally:
            sys.setswitchinterval(interval_s)
            self._is_idle.set()

    def wait(self, heartbeat: Callable[[], None]) -> None:
        """Wait for the end of what was started.

        Args:
            heartbeat: Called now and then; what it raises ends the waiting.
        """
        while not self._is_idle.wait(HEARTBEAT_S):
            heartbeat()

    def let_finish(self) -> None:
        """Give it some time, if somebody else asks."""
        if threading.current_thread() is not self._thread:
            self._is_idle.wait(LET_FINISH_S)
