"""The bounded queue between the session and its generator.

A submission may be refused; what was submitted ends exactly once, as done, failed, cancelled, stale or rejected.
"""

import os
import time
import weakref
from typing import Literal

from .cores import niceness_from
from .ledger import Clock, Ended, Ledger, Made, Outcome, Preview, ProgressReport, State
from .registry import check_generator_name
from .requests import ClipRequest, GenerationCancelledError
from .supervisor import Patience, Supervisor
from .worker import FaultKind, Runner, fault_of

__all__ = ["Ended", "GenerationQueue", "Made", "Outcome", "Patience", "Preview", "ProgressReport"]

CLOSE_TIMEOUT_S = 3.0
"""A generator that heeds cancellation ends between two steps; one that does not is killed after this."""


class _WallClock:
    def now_s(self) -> float:
        return time.monotonic()


class _Inline:
    """Runs requests in the caller's thread, in their order."""

    worker_pid = None

    def __init__(self, ledger: Ledger, generator: str) -> None:
        self._ledger = ledger
        self._name = generator
        self._runner: Runner | None = None
        ledger.set_state("idle")

    def check(self, phase: str, fraction: float) -> None:
        self._ledger.note_progress(phase, fraction)
        if self._ledger.unwanted_ids:
            raise GenerationCancelledError("the request is no longer wanted")

    def run_next(self) -> None:
        """Run one request if one waits."""
        request = self._ledger.start_next()
        if request is None:
            return
        try:
            if self._runner is None:
                self._runner = Runner(self._name)
            self._ledger.end_running(Outcome.DONE, result=self._runner.run(request, self))
            self._ledger.set_state("idle")
        except GenerationCancelledError:
            self._ledger.end_running(Outcome.CANCELLED, "cancelled")
            self._ledger.set_state("idle")
        except Exception as error:
            self._fail(error)
        except BaseException:
            self._ledger.end_running(Outcome.CANCELLED, "interrupted")
            self._ledger.set_state("idle")
            raise

    def _fail(self, error: Exception) -> None:
        fault = fault_of(error)
        self._ledger.end_running(Outcome.FAILED, fault.reason)
        if fault.kind is FaultKind.PERMANENT:
            self._ledger.fail_all(fault.reason)
            return
        if fault.kind is FaultKind.WORKER:
            self._runner = None  # as a restarted worker: another generator
        self._ledger.set_state("idle")

    def remember(self) -> object:
        remember = None if self._runner is None else getattr(self._runner.generator, "remember", None)
        return None if remember is None else remember()

    def recall(self, state: object) -> None:
        recall = None if self._runner is None else getattr(self._runner.generator, "recall", None)
        if recall is not None:
            recall(state)

    def wake(self) -> None:
        """Nothing waits elsewhere."""

    def reset(self) -> None:
        self._runner = None
        self._ledger.set_state("idle")

    def close(self, timeout_s: float) -> bool:
        if self._runner is not None:
            self._runner.close_renderer()
        self._ledger.close("closed")
        return True


class GenerationQueue:
    """Takes requests for clips and hands back their ends. Used by the session's thread.

    Args:
        generator: Name of the generator (``registry.generator_names``), or ``module:Class``.
        backend: "process" runs it in a worker process that starts now, so that nothing here ever waits; "inline" runs
            one request in each ``poll`` or ``wait``, in the caller's thread, in order: for simulated time.
        capacity: Requests that may wait, besides the one that runs.
        clock: Measures latencies; time limits of the worker always use the machine's clock.
        patience: Time limits and back-off of the worker.
        threads: Threads that numerical libraries may use in the worker.
        epoch: First epoch.
        preparation: A request like those to come, which a new worker gets ready for before it is idle; None for none,
            and inline, where the first request waits for what it needs.

    Raises:
        ValueError: Unknown generator or backend, a capacity below 1, or a ``SPATIA_NICENESS`` that is none.
    """

    def __init__(
        self,
        generator: str,
        *,
        backend: Literal["process", "inline"] = "process",
        capacity: int = 4,
        clock: Clock | None = None,
        patience: Patience | None = None,
        threads: int = 1,
        epoch: int = 0,
        preparation: ClipRequest | None = None,
    ) -> None:
        check_generator_name(generator)
        niceness_from(os.environ)  # the worker would only find it in its log
        if capacity < 1:
            raise ValueError(f"capacity: expected 1 or more, got {capacity}")
        self._ledger = Ledger(capacity=capacity, clock=clock or _WallClock(), epoch=epoch)
        self._backend: _Inline | Supervisor
        if backend == "inline":
            self._backend = _Inline(self._ledger, generator)
        elif backend == "process":
            patience = patience or Patience()
            self._backend = Supervisor(
                self._ledger, generator, patience=patience, threads=threads, preparation=preparation
            )
        else:
            raise ValueError(f"backend: expected 'process' or 'inline', got {backend!r}")
        # Also when it is forgotten, and at the end of the interpreter: no worker stays behind.
        self._finalizer = weakref.finalize(self, self._backend.close, 0.0)

    def __enter__(self) -> "GenerationQueue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, request: ClipRequest) -> bool:
        """Ask for a clip. Never blocks; the request's arrays must not be changed any more.

        Returns:
            False if it was rejected; its end then says why: "full", "closed", "failed: …" or another epoch.

        Raises:
            ValueError: Its identity was used before, or it asks for no frame.
        """
        is_taken = self._ledger.submit(request)
        self._backend.wake()
        return is_taken

    def poll(self) -> list[Ended]:
        """Ends since the last call. Never waits; inline, runs the next request first."""
        if isinstance(self._backend, _Inline):
            self._backend.run_next()
        return self._ledger.take_ended()

    def wait(self, timeout_s: float | None = None) -> list[Ended]:
        """As ``poll``, but waits until something ended, nothing is under way any more, or the time is over."""
        if isinstance(self._backend, _Inline):
            return self.poll()
        return self._ledger.take_ended(timeout_s)

    def wait_for_start(self, timeout_s: float | None = None) -> bool:
        """Wait until the worker is ready, or will never be; False if the time was too short."""
        return self._ledger.wait_for_start(timeout_s)

    def cancel(self, request_id: int) -> bool:
        """Say that a request is no longer wanted; True if it was still to be done and not cancelled before.

        One that waits ends at once; one that runs ends when its generator makes its next step, and not as done.
        """
        is_news = self._ledger.cancel(request_id)
        self._backend.wake()
        return is_news

    def bump_epoch(self) -> int:
        """Begin another epoch: what waits is cancelled; what runs, or was not polled yet, is stale."""
        epoch = self._ledger.bump_epoch()
        self._backend.wake()
        return epoch

    def remember(self) -> object:
        """What the generator keeps between requests, by reference; None for one that keeps nothing, or is new.

        Raises:
            RuntimeError: It runs in another process.
        """
        return self._inline().remember()

    def recall(self, state: object) -> None:
        """Begin another epoch at an earlier moment: the generator goes back, and identities may be used again.

        Args:
            state: What ``remember`` gave at that moment.

        Raises:
            RuntimeError: It runs in another process.
        """
        self._inline().recall(state)
        self.bump_epoch()
        self._ledger.forget_ended()

    def _inline(self) -> _Inline:
        if not isinstance(self._backend, _Inline):
            raise RuntimeError('going back needs the backend "inline"; the generator runs in a worker process')
        return self._backend

    def reset(self) -> None:
        """Try again after the state "failed", or at once during "restarting"."""
        if self.state in ("failed", "restarting"):
            self._backend.reset()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Cancel everything and end the worker; the ends can still be polled. Safe to call twice.

        Args:
            timeout_s: How long a running step may take to its end before the worker is killed.

        Returns:
            True if nothing is left of the worker.
        """
        self._finalizer.detach()
        return self._backend.close(timeout_s)

    @property
    def epoch(self) -> int:
        """The present epoch; requests carry it."""
        return self._ledger.epoch

    @property
    def state(self) -> State:
        """starting, idle, busy, restarting (after a fault), failed (until ``reset``) or closed."""
        return self._ledger.state

    @property
    def last_error(self) -> str:
        """Reason of the last failure of a request or the worker, empty if there was none."""
        return self._ledger.last_error

    @property
    def progress(self) -> ProgressReport | None:
        """Request, phase and fraction of what runs."""
        return self._ledger.progress

    @property
    def running_id(self) -> int | None:
        """The request that runs."""
        return self._ledger.running_id

    @property
    def lifting_id(self) -> int | None:
        """The request whose frames are there and whose surface is being found, perhaps beside one that runs."""
        return self._ledger.lifting_id

    @property
    def preview(self) -> Preview | None:
        """Finished frames of a request that is not done yet, if its generator shows any."""
        return self._ledger.preview

    def take_made(self) -> list[Made]:
        """Requests whose frames came since the last call while their surface is still being found."""
        return self._ledger.take_made()

    @property
    def waiting_ids(self) -> tuple[int, ...]:
        """The requests that wait, first to last."""
        return self._ledger.waiting_ids

    @property
    def counts(self) -> dict[Outcome, int]:
        """Ends by outcome so far."""
        return self._ledger.counts

    @property
    def latencies(self) -> tuple[float, ...]:
        """Seconds from submission to end of every request that was done, in order."""
        return self._ledger.latencies_s

    @property
    def worker_pid(self) -> int | None:
        """Process identity of the worker, None inline or between two workers."""
        return self._backend.worker_pid
