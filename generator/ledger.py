"""The books of the queue: every request that was taken ends exactly once.

One lock guards everything here; nothing is sent, computed or called back while it is held.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from .pipeline import LIFT_START, ClipResult
from .requests import ClipRequest

State = Literal["starting", "idle", "busy", "restarting", "failed", "closed"]


class Clock(Protocol):
    """What latencies are measured with."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        ...


@unique
class Outcome(Enum):
    """How a request ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STALE = "stale"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """The one end of a request.

    Attributes:
        request_id: Which one.
        outcome: How it ended.
        reason: Why, for people; empty if done.
        result: The result if done, otherwise None.
        latency_s: From its submission to its end.
        seconds: Time by phase, empty unless done.
    """

    request_id: int
    outcome: Outcome
    reason: str = ""
    result: ClipResult | None = None
    latency_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """What is going on: the running request, its phase, and the share of it that is done."""

    request_id: int
    phase: str
    fraction: float


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A clip whose frames are there while its surface is still being found.

    Attributes:
        request_id: Which one.
        tail: (≤ 9, H, W, 3) uint8, its last frames at the poses asked for; None if the poses are others.
    """

    request_id: int
    tail: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Finished frames of a clip that is not done yet.

    Attributes:
        request_id: Which one.
        pieces: (K, h, w, 3) uint8 each, of one size, in order from the clip's first frame.
    """

    request_id: int
    pieces: tuple[npt.NDArray[np.uint8], ...] = ()

    @property
    def num_frames(self) -> int:
        """Frames that are there."""
        return sum(len(piece) for piece in self.pieces)


@dataclass(slots=True)
class _Entry:
    request: ClipRequest
    submitted_s: float
    is_cancelled: bool = False


class Ledger:
    """Requests that wait, the one that runs, and those that ended. Any thread may call every method.

    Args:
        capacity: Requests that may wait, besides the one that runs.
        clock: Measures latencies.
        epoch: First epoch.
    """

    def __init__(self, *, capacity: int, clock: Clock, epoch: int) -> None:
        self._changed = threading.Condition()
        self._clock = clock
        self._capacity = capacity
        self._epoch = epoch
        self._waiting: deque[_Entry] = deque()
        self._running: _Entry | None = None
        self._lifting: _Entry | None = None
        self._made: list[Made] = []
        self._preview: Preview | None = None
        self._ended: list[Ended] = []
        self._known: set[int] = set()
        self._counts = dict.fromkeys(Outcome, 0)
        self._latencies: list[float] = []
        self._progress: ProgressReport | None = None
        self._state: State = "starting"
        self._last_error = ""

    # What the session's thread asks for.

    def submit(self, request: ClipRequest) -> bool:
        """Take a request, or reject it with an end that says why.

        Raises:
            ValueError: Its identity was used before, or it asks for no frame.
        """
        if request.num_frames < 1:
            raise ValueError(f"request {request.request_id}: expected at least one pose, got none")
        with self._changed:
            if request.request_id in self._known:
                raise ValueError(f"request {request.request_id}: this identity was used before; take a new one")
            self._known.add(request.request_id)
            entry = _Entry(request, self._clock.now_s())
            if reason := self._refusal(request):
                self._end(entry, Outcome.REJECTED, reason)
                return False
            self._waiting.append(entry)
            return True

    def _refusal(self, request: ClipRequest) -> str:
        if self._state == "closed":
            return "closed"
        if self._state == "failed":
            return f"failed: {self._last_error}"
        if request.epoch != self._epoch:
            return f"epoch {request.epoch} is not the present one, {self._epoch}"
        return "full" if len(self._waiting) >= self._capacity else ""

    def cancel(self, request_id: int) -> bool:
        """Cancel a request: one that waits ends now, one that runs ends when its generator heeds it.

        Returns:
            True if it was still to be done and had not been cancelled.
        """
        with self._changed:
            for entry in self._waiting:
                if entry.request.request_id == request_id:
                    self._waiting.remove(entry)
                    self._end(entry, Outcome.CANCELLED, "cancelled")
                    return True
            entry = self._under_way(request_id)
            if entry is None or entry.is_cancelled:
                return False
            entry.is_cancelled = True
            return True

    def _under_way(self, request_id: int) -> _Entry | None:
        entries = (self._running, self._lifting)
        return next((e for e in entries if e is not None and e.request.request_id == request_id), None)

    def bump_epoch(self) -> int:
        """Begin another epoch: what waits is cancelled, what runs or was not yet taken becomes stale."""
        with self._changed:
            self._epoch += 1
            self._made = []
            while self._waiting:
                self._end(self._waiting.popleft(), Outcome.CANCELLED, "another epoch began")
            self._ended = [self._outdated(e) for e in self._ended]
            return self._epoch

    def _outdated(self, ended: Ended) -> Ended:
        if ended.outcome is not Outcome.DONE:
            return ended
        self._counts[Outcome.DONE] -= 1
        self._counts[Outcome.STALE] += 1
        reason = "another epoch began"
        return Ended(ended.request_id, Outcome.STALE, reason, None, ended.latency_s, ended.seconds)

    def forget_ended(self) -> None:
        """Identities of requests that ended may be used again, as after going back to an earlier moment."""
        with self._changed:
            under_way = [*self._waiting, *(e for e in (self._running, self._lifting) if e is not None)]
            self._known = {entry.request.request_id for entry in under_way}

    def take_ended(self, timeout_s: float | None = 0.0) -> list[Ended]:
        """Ends since the last call.

        Args:
            timeout_s: Longest wait for one, None for ever; there is no wait where nothing is under way.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or not (self._waiting or self._running or self._lifting), timeout_s
            )
            out, self._ended = self._ended, []
            return out

    def wait_for_start(self, timeout_s: float | None = None) -> bool:
        """Wait until the worker is neither starting nor starting again; False if it still is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state not in ("starting", "restarting"), timeout_s)

    # What the worker's side reports.

    def start_next(self) -> ClipRequest | None:
        """Take the next request if none runs, and be busy with it."""
        with self._changed:
            if self._running is not None or not self._waiting or self._state == "closed":
                return None
            self._running = self._waiting.popleft()
            self._state = "busy"
            self._progress = ProgressReport(self._running.request.request_id, "start", 0.0)
            return self._running.request

    def start_lifting(self, made: Made) -> None:
        """The running request's frames are there: the next one may run while its surface is found.

        Raises:
            ValueError: It does not run, or another one is still being lifted.
        """
        with self._changed:
            running = self._running
            if running is None or running.request.request_id != made.request_id or self._lifting is not None:
                raise ValueError(f"request {made.request_id} cannot be lifted now")
            self._running, self._lifting = None, running
            self._progress = ProgressReport(made.request_id, "lift", LIFT_START)
            if not running.is_cancelled and running.request.epoch == self._epoch:
                self._made.append(made)
            self._changed.notify_all()

    def take_made(self) -> list[Made]:
        """Clips whose frames came since the last call, of the present epoch."""
        with self._changed:
            out, self._made = self._made, []
            return out

    def note_preview(self, request_id: int, piece: npt.NDArray[np.uint8]) -> None:
        """Keep finished frames of the running request; those of the one before go.

        Raises:
            ValueError: There would be more of them than it asks for, or they differ in size.
        """
        with self._changed:
            running = self._running
            if running is None or running.request.request_id != request_id:
                raise ValueError(f"frames of request {request_id}, which does not run")
            before = self._preview
            pieces = before.pieces if before is not None and before.request_id == request_id else ()
            preview = Preview(request_id, (*pieces, piece))
            if preview.num_frames > running.request.num_frames or preview.pieces[0].shape[1:] != piece.shape[1:]:
                raise ValueError(f"frames {piece.shape} beyond what request {request_id} asks for")
            self._preview = preview

    def end_running(self, outcome: Outcome, reason: str = "", result: ClipResult | None = None) -> None:
        """End the request that runs, if there is one; cancelled and stale ones do not become done."""
        with self._changed:
            if self._running is not None:
                self._finish(self._running, outcome, reason, result)

    def end(self, request_id: int, outcome: Outcome, reason: str = "", result: ClipResult | None = None) -> None:
        """The same for one that runs or is lifted, if it does."""
        with self._changed:
            entry = self._under_way(request_id)
            if entry is not None:
                self._finish(entry, outcome, reason, result)

    def end_both(self, outcome: Outcome, reason: str) -> None:
        """End what is lifted and what runs: the worker is gone."""
        with self._changed:
            for entry in (self._lifting, self._running):
                if entry is not None:
                    self._finish(entry, outcome, reason, None)

    def _finish(self, entry: _Entry, outcome: Outcome, reason: str, result: ClipResult | None) -> None:
        identity = entry.request.request_id
        if entry is self._running:
            self._running = None
        else:
            self._lifting = None
        if self._progress is not None and self._progress.request_id == identity:
            self._progress = None
        if self._preview is not None and self._preview.request_id == identity:
            self._preview = None
        if outcome in (Outcome.DONE, Outcome.CANCELLED) and entry.request.epoch != self._epoch:
            outcome, reason, result = Outcome.STALE, "another epoch began", None
        elif outcome is Outcome.DONE and entry.is_cancelled:
            outcome, reason, result = Outcome.CANCELLED, "cancelled", None
        if outcome is Outcome.FAILED:
            self._last_error = reason
        self._end(entry, outcome, reason, result)

    def _end(self, entry: _Entry, outcome: Outcome, reason: str, result: ClipResult | None = None) -> None:
        latency_s = self._clock.now_s() - entry.submitted_s
        seconds = {} if result is None else result.seconds
        self._ended.append(Ended(entry.request.request_id, outcome, reason, result, latency_s, seconds))
        self._counts[outcome] += 1
        if outcome is Outcome.DONE:
            self._latencies.append(latency_s)
        self._changed.notify_all()

    def note_progress(self, phase: str, fraction: float, request_id: int | None = None) -> None:
        """Keep what the running request is doing; what one that is lifted does only where none runs."""
        with self._changed:
            entry = self._running or self._lifting
            if entry is not None and request_id in (None, entry.request.request_id):
                self._progress = ProgressReport(entry.request.request_id, phase, fraction)

    def note_error(self, reason: str) -> None:
        """Keep a fault of the worker itself."""
        with self._changed:
            self._last_error = reason

    def rest(self) -> None:
        """Be idle, or go on being busy with what is still under way."""
        with self._changed:
            self.set_state("busy" if self._running is not None or self._lifting is not None else "idle")

    def set_state(self, state: State) -> None:
        """Say how the worker is; closed is final."""
        with self._changed:
            if self._state != "closed":
                self._state = state
                self._changed.notify_all()

    def fail_all(self, reason: str) -> None:
        """The worker stays down: what runs or waits fails, and nothing is taken until the state changes."""
        with self._changed:
            if self._state != "closed":
                self._state = "failed"
            self._end_all(Outcome.FAILED, reason)
            self._changed.notify_all()

    def close(self, reason: str) -> None:
        """Take no more; what runs or waits is cancelled."""
        with self._changed:
            self._state = "closed"
            self._end_all(Outcome.CANCELLED, reason)
            self._changed.notify_all()

    def _end_all(self, outcome: Outcome, reason: str) -> None:
        for entry in (self._running, self._lifting):
            if entry is not None:
                self._waiting.appendleft(entry)
        self._running = self._lifting = self._progress = self._preview = None
        self._made = []
        while self._waiting:
            self._end(self._waiting.popleft(), outcome, reason)

    # What anybody may look at.

    @property
    def unwanted_ids(self) -> tuple[int, ...]:
        """Of the requests that run or are lifted those that were cancelled or are of an older epoch."""
        with self._changed:
            entries = [e for e in (self._lifting, self._running) if e is not None]
            return tuple(e.request.request_id for e in entries if e.is_cancelled or e.request.epoch != self._epoch)

    @property
    def running_id(self) -> int | None:
        """The running request."""
        with self._changed:
            return None if self._running is None else self._running.request.request_id

    @property
    def lifting_id(self) -> int | None:
        """The request whose frames are there and whose surface is being found."""
        with self._changed:
            return None if self._lifting is None else self._lifting.request.request_id

    @property
    def preview(self) -> Preview | None:
        """Finished frames of what runs or is lifted, if its generator shows any."""
        return self._preview

    @property
    def waiting_ids(self) -> tuple[int, ...]:
        """Requests that wait, first to last."""
        with self._changed:
            return tuple(e.request.request_id for e in self._waiting)

    @property
    def epoch(self) -> int:
        """The present epoch."""
        return self._epoch

    @property
    def state(self) -> State:
        """How the worker is."""
        return self._state

    @property
    def last_error(self) -> str:
        """The last fault of a request or of the worker, empty if there was none."""
        return self._last_error

    @property
    def progress(self) -> ProgressReport | None:
        """What the running request is doing."""
        return self._progress

    @property
    def counts(self) -> dict[Outcome, int]:
        """Ends so far. A copy."""
        with self._changed:
            return dict(self._counts)

    @property
    def latencies_s(self) -> tuple[float, ...]:
        """From submission to end, of every request that was done, in order."""
        with self._changed:
            return tuple(self._latencies)
