"""The worker's side: one process that owns one generator and answers one request after the other.

Started as ``python -m spatia.generator.worker FD PARENT_PID GENERATOR``. It never outlives its parent: the kernel
kills it with the thread that started it (Linux), and a closed connection ends it everywhere.

Messages in: ("prepare", ClipRequest), ("request", ClipRequest), ("cancel", request_id), ("stop", None).
Messages out: ("ready", None), ("unfit", fault), ("prepared", None), ("progress", (request_id, phase, fraction)),
("preview", (request_id, frames)), ("made", (request_id, last frames or None)), ("done", ClipResult),
("cancelled", request_id), ("failed", (request_id, fault)), where a fault is (reason, traceback, kind).

After "made" the session may send the next request: its clip is made while the surface of the one before is found on
another thread. At most one is made and one lifted at a time, and they end in the order that they were sent in.
"""

import ctypes
import faulthandler
import math
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .cores import lower_priority, niceness_from
from .errors import ChannelClosedError, GarbageClipError, MissingExtraError, TransportError, UnusableModelError
from .learned import LearnedTools
from .lifting import LiftThread
from .pipeline import ClipResult, MadeClip, lift_clip, make_clip, new_renderer
from .registry import make_generator
from .requests import ClipRequest, GenerationCancelledError, Generator, Progress
from .sequel import Sequels
from .transport import Channel

OOM_SCORE = 800
"""When memory runs out the kernel should take the worker, not the walk; its range is ±1000."""
PROGRESS_INTERVAL_S = 0.05
"""Steps may be a thousand a second; the walker sees twenty."""
OUT_OF_MEMORY = "out of memory"
"""What the reason of a fault begins with where an allocation failed."""
MAX_PHASE_LENGTH = 80
PREVIEW_WIDTH = 320
"""Finished frames are shown at most so many pixels across: a clip of 81 takes 14 MB."""
MAX_TRACEBACK_LENGTH = 20_000

_PR_SET_PDEATHSIG = 1


class FaultKind(IntEnum):
    """What a fault means for the worker."""

    REQUEST = 1
    """This request only; the worker goes on."""
    WORKER = 2
    """The worker may be damaged: start another one."""
    PERMANENT = 3
    """Another worker would fail as well."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request or a worker failed.

    Attributes:
        reason: One line for the walker.
        traceback: For the log, may be empty.
        kind: What it means for the worker.
    """

    reason: str
    traceback: str
    kind: FaultKind

    def to_message(self) -> tuple[str, str, int]:
        """As it crosses."""
        return self.reason, self.traceback, int(self.kind)

    @classmethod
    def from_message(cls, message: tuple[str, str, int]) -> "Fault":
        """Read it.

        Raises:
            TransportError: It is no fault.
        """
        try:
            reason, text, kind = message
            return cls(str(reason), str(text), FaultKind(kind))
        except (TypeError, ValueError) as error:
            raise TransportError(f"expected a fault, got {message!r:.200}") from error


def fault_of(error: BaseException) -> Fault:
    """Name what went wrong in a generator."""
    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK_LENGTH:]
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return Fault(f"{OUT_OF_MEMORY}: {reason}", text, FaultKind.WORKER)
    if isinstance(error, GarbageClipError):
        return Fault(f"garbage: {' '.join(str(error).split())[:500]}", text, FaultKind.WORKER)
    if isinstance(error, MissingExtraError | UnusableModelError):
        return Fault(str(error), "", FaultKind.PERMANENT)
    return Fault(reason, text, FaultKind.REQUEST)


class Runner:
    """A generator with the renderer that feeds it. One thread calls ``make``, one at a time ``lift``.

    Args:
        name: Name of the generator.

    Raises:
        MissingExtraError: A library that it needs is not installed.
    """

    def __init__(self, name: str) -> None:
        self.generator: Generator = make_generator(name)
        self._renderer = None
        self._tools = LearnedTools()
        self._sequels = Sequels()
        self._epoch = -1

    def run(self, request: ClipRequest, progress: Progress) -> ClipResult:
        """Run one request; raises whatever ``make`` and ``lift`` raise."""
        return self.lift(self.make(request, progress), progress)

    def make(self, request: ClipRequest, progress: Progress) -> MadeClip:
        """Make the clip of one request; raises whatever ``make_clip`` raises."""
        if self._renderer is None or request.epoch != self._epoch:
            self.close_renderer()  # chunk revisions tell changes apart only within an epoch
            self._renderer, self._epoch = new_renderer(), request.epoch
        return make_clip(request, self.generator, progress, renderer=self._renderer)

    def lift(self, made: MadeClip, progress: Progress) -> ClipResult:
        """Lift a clip; in the order in which they were made, whatever thread does it."""
        placed = self._sequels.placed(made.request)
        result = lift_clip(made, self.generator.rank, progress, tools=self._tools, placed=placed)
        if not self.generator.wants_key_views:
            self._sequels.note(made.request, result.update)
        return result

    def prepare(self, request: ClipRequest, progress: Progress) -> None:
        """Let a generator that has something to make ahead make it; see ``Generator``."""
        prepare = getattr(self.generator, "prepare", None)
        if prepare is not None:
            prepare(request, progress)

    def close_renderer(self) -> None:
        """Drop what the renderer holds."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class _WorkerProgress:
    """Progress that goes to the session, at most every ``PROGRESS_INTERVAL_S`` within a phase; frames as they come."""

    def __init__(
        self, send: Callable[[str, object], None], request: ClipRequest, is_cancelled: Callable[[], bool]
    ) -> None:
        self._send, self._request, self._is_cancelled = send, request, is_cancelled
        self._num_shown = 0
        self._last_phase = ""
        self._last_s = -math.inf

    def check(self, phase: str, fraction: float) -> None:
        self._heed()
        now_s = time.monotonic()
        if phase != self._last_phase or now_s - self._last_s >= PROGRESS_INTERVAL_S:
            self._last_phase, self._last_s = phase, now_s
            self._send("progress", (self._request.request_id, str(phase)[:MAX_PHASE_LENGTH], float(fraction)))

    def show(self, first_index: int, frames: npt.NDArray[np.uint8]) -> None:
        self._heed()
        if first_index != self._num_shown or first_index + len(frames) > self._request.num_frames:
            got = f"{first_index} to {first_index + len(frames) - 1} of {self._request.num_frames}"
            raise ValueError(f"shown frames: expected to go on with {self._num_shown}, got {got}")
        self._num_shown += len(frames)
        self._send("preview", (self._request.request_id, shrunk(frames)))

    def _heed(self) -> None:
        if self._is_cancelled():
            raise GenerationCancelledError(f"request {self._request.request_id} is no longer wanted")


def shrunk(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(K, H, W, 3) frames at most ``PREVIEW_WIDTH`` pixels across."""
    import cv2

    height, width = frames.shape[1:3]
    if width <= PREVIEW_WIDTH:
        return frames
    size = (PREVIEW_WIDTH, max(1, round(PREVIEW_WIDTH * height / width)))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


class Worker:
    """The worker's loop.

    The main thread runs the generator. Another one reads messages, so that a cancellation is seen between steps and the
    end of the parent even within one. A third lifts clips whose depth has to be found, while the next one is made.

    Args:
        channel: Connection to the session.
        generator: Name of the generator.
    """

    def __init__(self, channel: Channel, generator: str) -> None:
        self._channel = channel
        self._name = generator
        self._inbox: queue.SimpleQueue[tuple[str, ClipRequest] | None] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._is_stopping = False
        self._lifting = LiftThread()

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        threading.Thread(target=self._read, name="spatia-worker-reader", daemon=True).start()
        try:
            runner = Runner(self._name)
        except Exception as error:
            self._channel.send("unfit", fault_of(error).to_message())
            return 1
        self._channel.send("ready")
        while (message := self._inbox.get()) is not None:
            kind, request = message
            if kind == "prepare":
                self._prepare(runner, request)
            else:
                self._serve(runner, request)
        return 0

    def _prepare(self, runner: Runner, request: ClipRequest) -> None:
        progress = _WorkerProgress(self._channel.send, request, lambda: self._is_stopping)
        try:
            runner.prepare(request, progress)
        except ChannelClosedError:
            raise
        except Exception:
            traceback.print_exc()  # what is wrong will come again, and be reported, with the first request
        self._channel.send("prepared")

    def _serve(self, runner: Runner, request: ClipRequest) -> None:
        """Make a clip, and lift it: here, or on the lifting thread if it takes long."""
        progress = _WorkerProgress(self._channel.send, request, lambda: self._is_unwanted(request.request_id))
        made: list[MadeClip] = []

        def make() -> None:
            progress.check("start", 0.0)
            made.append(runner.make(request, progress))
            self._lifting.wait(lambda: progress.check("wait", 1.0))

        if not self._answer(request.request_id, make):
            return
        if made[0].lifts_long:
            self._channel.send("made", (request.request_id, made[0].early_tail))
            self._lifting.start(lambda: self._lift(runner, made[0], progress))
        else:
            self._lift(runner, made[0], progress)

    def _lift(self, runner: Runner, made: MadeClip, progress: _WorkerProgress) -> None:
        identity = made.request.request_id
        if self._answer(identity, lambda: self._channel.send("done", runner.lift(made, progress))):
            self._cancelled.discard(identity)

    def _answer(self, request_id: int, work: Callable[[], Any]) -> bool:
        """Do a part of a request; if it ends there, say how.

        Returns:
            True if the part was done.
        """
        try:
            work()
            return True
        except GenerationCancelledError:
            self._channel.send("cancelled", request_id)
        except ChannelClosedError:
            raise
        except Exception as error:
            fault = fault_of(error)
            if fault.kind is not FaultKind.REQUEST:
                self._lifting.let_finish()  # this worker will be replaced: what is nearly done comes first
            self._channel.send("failed", (request_id, fault.to_message()))
        self._cancelled.discard(request_id)
        return False

    def _is_unwanted(self, request_id: int) -> bool:
        return self._is_stopping or request_id in self._cancelled

    def _read(self) -> None:
        """Take messages until the other side is gone, which ends the process at once, whatever it is doing."""
        try:
            while True:
                kind, value = self._channel.receive()
                if kind in ("prepare", "request"):
                    self._inbox.put((kind, value))
                elif kind == "cancel":
                    self._cancelled.add(value)
                elif kind == "stop":
                    self._is_stopping = True
                    self._inbox.put(None)
        except ChannelClosedError:
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)


def _prepare_process(parent_pid: int) -> None:
    """Lower the priority, leave Ctrl-C to the parent, and make sure never to outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    lower_priority(niceness_from(os.environ))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(OOM_SCORE))
        except OSError:
            pass  # some containers forbid it; the kernel then chooses by size, which is the worker as a rule
    if os.getppid() != parent_pid:
        os._exit(0)  # it died before it could be watched


def main() -> int:
    """Run a worker as its session asked for."""
    descriptor, parent_pid, generator = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.set_inheritable(descriptor, False)
    _prepare_process(parent_pid)
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        return Worker(channel, generator).run()
    except ChannelClosedError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
