"""Saving in the background: the latest state wins, and only what is on the disk counts as saved."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .errors import SaveError
from .state import WorldState
from .writing import SaveReport

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

NICENESS = 10
"""The saver's thread yields to drawing and generating."""


class StateStore(Protocol):
    """What a saver saves into, such as ``WorldFile``."""

    def save(self, state: WorldState) -> SaveReport:
        """Save, or raise."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SaveResult:
    """How a save ended.

    Attributes:
        state: The state that it was about.
        report: What was written, or None if it failed.
        error: Why it failed, or None.
    """

    state: WorldState
    report: SaveReport | None
    error: Exception | None

    @property
    def is_saved(self) -> bool:
        """True if the state is on the disk."""
        return self.error is None


class Saver:
    """A thread that saves states, one after another.

    ``request``, ``flush`` and the properties may be called by any thread and never wait for the disk, except ``flush``.
    A save that fails leaves the saver dirty: the state is tried again at the next request or ``flush``.

    Args:
        store: Where to save; the saver does not close it.
        on_result: Called on the saver's thread after every save.
    """

    def __init__(self, store: StateStore, on_result: Callable[[SaveResult], None] | None = None) -> None:
        self._store, self._on_result = store, on_result
        self._condition = threading.Condition()
        self._pending: WorldState | None = None  # what is to be saved next
        self._unsaved: WorldState | None = None  # what a failed save left behind
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._is_saving = False
        self._is_stopping = False
        self._last: SaveResult | None = None
        self._thread = threading.Thread(target=self._run, name="spatia-saver", daemon=True)
        self._thread.start()

    @property
    def last_result(self) -> SaveResult | None:
        """How the last save ended, or None before the first."""
        with self._condition:
            return self._last

    @property
    def is_dirty(self) -> bool:
        """True while a requested state is not on the disk."""
        with self._condition:
            return self._is_saving or bool(self._tasks) or self._pending is not None or self._unsaved is not None

    def request(self, state: WorldState) -> None:
        """Ask for a state to be saved soon; one that was asked for before and is not begun is dropped for it.

        Raises:
            RuntimeError: The saver is closed.
        """
        with self._condition:
            if self._is_stopping:
                raise RuntimeError("saver: expected an open one, got a closed one")
            self._pending, self._unsaved = state, None
            self._condition.notify_all()

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Ask for something else to be done with the store, on the saver's thread, before any state that waits.

        A state that was requested before and is not saved yet is dropped: the task must save a later one.

        Args:
            task: What is to be done; its error goes to the future.

        Raises:
            RuntimeError: The saver is closed.
        """
        future: Future[T] = Future()
        with self._condition:
            if self._is_stopping:
                raise RuntimeError("saver: expected an open one, got a closed one")
            self._tasks.append((task, future))
            self._pending = self._unsaved = None
            self._condition.notify_all()
        return future

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is pending; a state whose save failed is tried once more.

        Args:
            timeout_s: Longest wait, or None for as long as it takes.

        Returns:
            True if the last requested state is on the disk; False after a failure (see ``last_result``) or timeout.
        """
        with self._condition:
            if self._unsaved is not None and self._pending is None and not self._is_stopping:
                self._pending, self._unsaved = self._unsaved, None
                self._condition.notify_all()
            done = self._condition.wait_for(
                lambda: self._pending is None and not self._tasks and not self._is_saving, timeout_s
            )
            return done and self._unsaved is None

    def close(self, timeout_s: float | None = None) -> bool:
        """Save what is pending, then end the thread. Idempotent.

        Returns:
            True if the last requested state is on the disk.
        """
        saved = self.flush(timeout_s)
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _LOG.error("the saver's thread did not end within %s s", timeout_s)
        return saved

    def _run(self) -> None:
        _be_nice()
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._pending is not None or self._tasks or self._is_stopping)
                if self._pending is None and not self._tasks:
                    return
                task = self._tasks.popleft() if self._tasks else None
                self._is_saving = True
                if task is None:
                    state, self._pending = self._pending, None
            if task is not None:
                self._do(*task)
                del task
                continue
            assert state is not None
            result = self._save(state)
            with self._condition:
                self._last, self._is_saving = result, False
                if not result.is_saved and self._pending is None:
                    self._unsaved = state
                self._condition.notify_all()
            del state, result  # the last references to large chunks are dropped on this thread, not at the next request

    def _do(self, task: Callable[[], Any], future: "Future[Any]") -> None:
        try:
            future.set_result(task())
        except (SaveError, ValueError, TypeError, OSError, MemoryError) as error:
            future.set_exception(error)
        with self._condition:
            self._is_saving = False
            self._condition.notify_all()

    def _save(self, state: WorldState) -> SaveResult:
        try:
            result = SaveResult(state, self._store.save(state), None)
        except (SaveError, ValueError, TypeError, OSError, MemoryError) as error:
            result = SaveResult(state, None, error)
        if self._on_result is not None:
            self._on_result(result)
        return result


def _be_nice() -> None:
    """Lower this thread's priority where threads have their own (Linux); elsewhere leave it."""
    if not hasattr(os, "setpriority"):
        return
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except OSError as error:
        _LOG.debug("the saver's thread keeps its priority: %s", error)
