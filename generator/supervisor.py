"""The session's side of the worker: a thread that starts it, feeds it, watches it and replaces it.

States: starting → idle ⇄ busy; a fault leads to restarting → starting, too many in a row to failed; closed is final.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from dataclasses import dataclass

import numpy as np

from .cores import leave_first_core
from .errors import ChannelClosedError, TransportError
from .ledger import Ledger, Made, Outcome
from .pipeline import ClipResult
from .process import EXIT_TIMEOUT_S, WorkerProcess
from .requests import ClipRequest
from .worker import PREVIEW_WIDTH, Fault, FaultKind

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a worker, and what to do when it fails.

    Attributes:
        start_s: From its start until its generator is ready; loading a large model takes minutes.
        hang_s: Longest time between two steps of a request.
        first_hang_s: The same for a worker's first request, in which kernels are compiled.
        backoff_s: Wait before the first restart; doubles with each failure in a row.
        max_backoff_s: Its upper bound.
        max_failures: Failures in a row after which the worker stays down until it is reset.
    """

    start_s: float = 600.0
    hang_s: float = 120.0
    first_hang_s: float = 300.0
    backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    max_failures: int = 8

    def __post_init__(self) -> None:
        for name in ("start_s", "hang_s", "first_hang_s", "backoff_s", "max_backoff_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number of seconds, got {getattr(self, name)}")
        if self.max_failures < 1:
            raise ValueError(f"max_failures: expected 1 or more, got {self.max_failures}")

    def delay_s(self, failures: int) -> float:
        """Wait before the next start after so many failures in a row (1 or more)."""
        return min(self.backoff_s * 2.0 ** min(failures - 1, 30), self.max_backoff_s)


class _ClosingError(Exception):
    """The queue is being closed."""


class _WorkerFailedError(Exception):
    """The present worker is of no more use."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


class Supervisor:
    """Runs requests of a ledger in a worker process.

    Args:
        ledger: Where requests come from and where they end.
        generator: Name of the generator.
        patience: Time limits and back-off.
        threads: Threads that numerical libraries may use in the worker.
        preparation: A request like those to come, which a new worker gets ready for; it is starting until then.
    """

    def __init__(
        self,
        ledger: Ledger,
        generator: str,
        *,
        patience: Patience,
        threads: int,
        preparation: ClipRequest | None = None,
    ) -> None:
        self._ledger = ledger
        self._generator = generator
        self._patience = patience
        self._num_threads = threads
        self._preparation = preparation
        self._failures = 0
        self._is_closing = False
        self._is_reset = False
        self._close_timeout_s = 0.0
        self._process: WorkerProcess | None = None
        self._deadline_s = 0.0
        self._lift_deadline_s = 0.0
        self._is_ready = False
        self._cancel_sent: set[int] = set()
        self._num_served = 0
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_out, selectors.EVENT_READ, "wake")
        self._thread = threading.Thread(target=self._run, name="spatia-supervisor", daemon=True)
        self._thread.start()

    @property
    def worker_pid(self) -> int | None:
        """Process identity of the present worker. Any thread."""
        process = self._process
        return None if process is None else process.pid

    def wake(self) -> None:
        """Have the thread look at the ledger. Any thread; never blocks."""
        with contextlib.suppress(BlockingIOError, OSError):  # full means that it is awake, closed that it is gone
            self._wake_in.send(b"\0")

    def reset(self) -> None:
        """Forget earlier failures and start a worker at once if there is none. Any thread."""
        self._is_reset = True
        self.wake()

    def close(self, timeout_s: float) -> bool:
        """Stop the worker; True if all is gone within the time and a little more for killing. Any thread."""
        self._close_timeout_s = timeout_s
        self._is_closing = True
        self.wake()
        if threading.current_thread() is self._thread:
            return False  # a forgotten queue was collected in this thread; it ends by itself
        self._thread.join(timeout_s + 2.0 * EXIT_TIMEOUT_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        leave_first_core()  # the worker inherits it
        try:
            while True:
                self._run_worker()
                self._pause()
        except _ClosingError:
            pass
        except Exception as error:
            _log.exception("the supervisor of the generator failed")
            self._ledger.fail_all(f"the supervisor failed: {error}")
        finally:
            self._drop_process(0.0)
            self._ledger.close("closed")
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def _run_worker(self) -> None:
        """Start a worker and serve until it fails; its running request has ended when this returns."""
        self._ledger.set_state("starting")
        self._is_ready, self._num_served, self._cancel_sent = False, 0, set()
        try:
            self._process = WorkerProcess(self._generator, self._num_threads)
            self._register(self._process)
            self._deadline_s = time.monotonic() + self._patience.start_s
            while True:
                self._step()
        except _ClosingError:
            self._stop_worker()
            raise
        except OSError as error:
            self._note_failure(Fault(f"the worker cannot be started: {error}", "", FaultKind.WORKER))
        except _WorkerFailedError as failure:
            self._note_failure(failure.fault)
        finally:
            self._drop_process(0.0)

    def _register(self, process: WorkerProcess) -> None:
        self._selector.register(process.channel, selectors.EVENT_READ, "message")
        if process.exit_descriptor is not None:
            self._selector.register(process.exit_descriptor, selectors.EVENT_READ, "exit")

    def _drop_process(self, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._selector.unregister(process.channel)
            if process.exit_descriptor is not None:
                self._selector.unregister(process.exit_descriptor)
            process.close(timeout_s)

    def _step(self) -> None:
        """Hand over what is due, wait for something to happen, and take it in."""
        process = self._process
        assert process is not None
        self._hand_over(process)
        due_s = self._due_s()
        events = self._wait(None if due_s is None else due_s - time.monotonic())
        if "message" in events:
            self._take_message(process)
        elif "exit" in events:
            raise _WorkerFailedError(process.explain_exit())
        elif due_s is not None and time.monotonic() >= due_s:
            what = "to make a step" if self._is_ready else "to start"
            raise _WorkerFailedError(Fault(f"hang: the worker took too long {what}", "", FaultKind.WORKER))

    def _due_s(self) -> float | None:
        """When the worker must have made its next step; None while it has nothing to do."""
        due_s = [self._deadline_s] if not self._is_ready or self._ledger.running_id is not None else []
        if self._ledger.lifting_id is not None:
            due_s.append(self._lift_deadline_s)
        return min(due_s, default=None)

    def _wait(self, timeout_s: float | None) -> set[str]:
        """Wait for events; empty on a time-out.

        Raises:
            _ClosingError: The queue is being closed.
        """
        ready = {key.data for key, _ in self._selector.select(None if timeout_s is None else max(timeout_s, 0.0))}
        if "wake" in ready:
            with contextlib.suppress(BlockingIOError):
                while self._wake_out.recv(4096):
                    pass
        if self._is_closing:
            raise _ClosingError
        return ready

    def _hand_over(self, process: WorkerProcess) -> None:
        try:
            if self._is_ready and (request := self._ledger.start_next()) is not None:
                self._send_request(process, request)
                self._allow_a_step()
            for unwanted in self._ledger.unwanted_ids:
                if unwanted not in self._cancel_sent:
                    process.channel.send("cancel", unwanted)
                    self._cancel_sent.add(unwanted)
        except ChannelClosedError as error:
            raise _WorkerFailedError(process.explain_exit()) from error

    def _begin_preparation(self, request: ClipRequest) -> None:
        process = self._process
        assert process is not None
        try:
            process.channel.send("prepare", request)
        except ChannelClosedError as error:
            raise _WorkerFailedError(process.explain_exit()) from error
        self._allow_a_step()

    def _allow_a_step(self, *, lifts: bool = False) -> None:
        limit_s = self._patience.hang_s if self._num_served else self._patience.first_hang_s
        if lifts:
            self._lift_deadline_s = time.monotonic() + limit_s
        else:
            self._deadline_s = time.monotonic() + limit_s

    def _send_request(self, process: WorkerProcess, request: ClipRequest) -> None:
        try:
            process.channel.send("request", request)
        except ChannelClosedError:
            raise
        except Exception as error:  # nothing has been sent: the worker is whole, the request is not
            _log.exception("request %d cannot be sent", request.request_id)
            self._ledger.end_running(Outcome.FAILED, f"the request cannot be sent: {error}")

    def _take_message(self, process: WorkerProcess) -> None:
        try:
            kind, value = process.channel.receive()
            self._take(kind, value)
        except ChannelClosedError as error:
            raise _WorkerFailedError(process.explain_exit()) from error
        except (TransportError, TypeError, ValueError) as error:
            fault = Fault(f"garbage: the worker sent something that is no answer: {error}", "", FaultKind.WORKER)
            raise _WorkerFailedError(fault) from error

    def _take(self, kind: str, value: object) -> None:
        if kind == "ready" and self._preparation is not None:
            self._begin_preparation(self._preparation)
        elif kind in ("ready", "prepared"):
            self._is_ready = True
            self._ledger.set_state("idle")
        elif kind == "unfit":
            raise _WorkerFailedError(Fault.from_message(value))  # type: ignore[arg-type]
        elif kind == "progress":
            request_id, phase, fraction = value  # type: ignore[misc]
            if self._is_ready:
                self._expect(request_id)
                self._ledger.note_progress(str(phase), float(fraction), request_id)
            self._allow_a_step(lifts=self._is_ready and request_id == self._ledger.lifting_id)
        elif kind == "preview":
            self._take_preview(value)
        elif kind == "made":
            request_id, tail = value  # type: ignore[misc]
            self._ledger.start_lifting(Made(request_id, None if tail is None else _checked_frames(tail)))
            self._allow_a_step(lifts=True)
            self._ledger.rest()
        elif kind == "done":
            if not isinstance(value, ClipResult):
                raise TransportError(f"expected a clip's result, got {type(value).__name__}")
            self._end(self._expect(value.request_id), Outcome.DONE, result=value)
        elif kind == "cancelled":
            self._end(self._expect(value), Outcome.CANCELLED, "cancelled")
        elif kind == "failed":
            request_id, message = value  # type: ignore[misc]
            self._take_fault(self._expect(request_id), Fault.from_message(message))
        else:
            raise TransportError(f"unknown message {kind!r:.50}")

    def _take_preview(self, value: object) -> None:
        request_id, piece = value  # type: ignore[misc]
        if _checked_frames(piece).shape[2] > PREVIEW_WIDTH:
            raise TransportError(f"a preview of {piece.shape}, expected at most {PREVIEW_WIDTH} pixels across")
        self._ledger.note_preview(self._expect(request_id), piece)
        self._allow_a_step()

    def _expect(self, request_id: object) -> int:
        """The request of an answer, which must run or be lifted."""
        expected = (self._ledger.running_id, self._ledger.lifting_id)
        if not isinstance(request_id, int) or request_id not in expected:
            raise TransportError(f"an answer to request {request_id!r:.50}, expected one of {expected}")
        return request_id

    def _take_fault(self, request_id: int, fault: Fault) -> None:
        if fault.kind is not FaultKind.REQUEST:
            raise _WorkerFailedError(fault)
        _log.warning("a request failed: %s\n%s", fault.reason, fault.traceback)
        self._end(request_id, Outcome.FAILED, fault.reason)

    def _end(self, request_id: int, outcome: Outcome, reason: str = "", result: ClipResult | None = None) -> None:
        self._failures = 0
        self._num_served += 1
        self._cancel_sent.discard(request_id)
        self._ledger.end(request_id, outcome, reason, result)
        self._ledger.rest()

    def _note_failure(self, fault: Fault) -> None:
        """End what was under way as failed and count."""
        _log.warning("the generator's worker failed: %s\n%s", fault.reason, fault.traceback)
        self._failures = self._patience.max_failures if fault.kind is FaultKind.PERMANENT else self._failures + 1
        self._ledger.end_both(Outcome.FAILED, fault.reason)
        self._ledger.note_error(fault.reason)

    def _pause(self) -> None:
        """Wait until another worker may be started."""
        if self._failures >= self._patience.max_failures:
            self._ledger.fail_all(f"the generator is down: {self._ledger.last_error}")
            due_s = None
        else:
            self._ledger.set_state("restarting")
            due_s = time.monotonic() + self._patience.delay_s(self._failures)
        self._is_reset = False
        while not self._is_reset and (due_s is None or time.monotonic() < due_s):
            self._wait(None if due_s is None else due_s - time.monotonic())
        if self._is_reset:
            self._failures = 0

    def _stop_worker(self) -> None:
        """Ask the worker to end, then see to it."""
        process = self._process
        if process is not None:
            with contextlib.suppress(TransportError):
                process.channel.send("stop")
            self._ledger.end_both(Outcome.CANCELLED, "closed")
            self._drop_process(self._close_timeout_s)


def _checked_frames(value: object) -> np.ndarray:
    """Frames that came from the worker.

    Raises:
        TransportError: They are none.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != 3:
        raise TransportError(f"expected (K, H, W, 3) uint8 frames, got {getattr(value, 'shape', type(value))}")
    return value
