"""Clips that are done, on their way into memory: staged, merged, corrected with it, and taken back.

On the session's thread; staging runs on the background thread unless the session waits for its clips.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace

import numpy as np

from ..generator.pipeline import ClipResult
from ..generator.queue import Ended, Outcome
from ..saves.journal import JournalEntry
from ..world.changes import MergeReport
from ..world.chunks import ChunkKey
from ..world.keyframes import StagedFrames
from ..world.memory import MemorySnapshot
from ..world.merge import StagedChange, stage_update
from ..world.slam.correction import Correction
from ..world.updates import MapUpdate
from .checkpoint import UndoStep
from .closing import LoopClosing, Merged, StagedClosure, move_director
from .director import Director
from .metrics import Metrics
from .record import Recorder
from .world import World

MAX_UNDO = 4
"""Clips that can be taken back; each keeps the chunks that it replaced."""


@dataclass(slots=True, eq=False)
class Merge:
    """A finished clip on its way into memory."""

    ended: Ended
    result: ClipResult
    first_keyframe_id: int = 0
    is_judged: bool = False
    is_again: bool = False  # merged before a correction was taken back: accounted for already
    staged: "Future[tuple[StagedChange, StagedFrames]] | None" = None

    @property
    def request_id(self) -> int:
        """Its request."""
        return self.ended.request_id


@dataclass(slots=True, eq=False)
class MergeHooks:
    """What a merge tells others.

    Attributes:
        director: The present one.
        account: A clip was merged.
        on_changed: Chunks changed.
        on_correction: Memory was corrected, or a correction was taken back.
    """

    director: Callable[[], Director]
    account: Callable[[Merge, MergeReport], None]
    on_changed: Callable[[Iterable[ChunkKey]], None]
    on_correction: Callable[[], None]


class Merging:
    """Merges clips in the order in which they came.

    Args:
        world: What is merged into.
        background: Where staging and looking for loops is done; None where the session waits.
        hooks: Who is told.
        metrics: Counts loops that were closed.
        recorder: Receives merges and corrections.
        is_replaying: Corrections come from a log.
    """

    def __init__(
        self,
        world: World,
        background: Executor | None,
        hooks: MergeHooks,
        metrics: Metrics,
        *,
        recorder: Recorder | None,
        is_replaying: bool,
    ) -> None:
        self._world, self._background, self._hooks, self._metrics = world, background, hooks, metrics
        self._recorder, self._is_replaying = recorder, is_replaying
        self.closing = LoopClosing(world, background)
        self.waiting: list[Merge] = []
        self.undo_steps: list[UndoStep] = []

    @property
    def _tick(self) -> int:
        return self._world.walk.tick

    @property
    def _looks_for_loops(self) -> bool:
        return not self._hooks.director().wants_key_views

    def holds(self, request_id: int) -> bool:
        """Whether a request's clip is done and not merged yet."""
        return any(m.request_id == request_id for m in self.waiting)

    def drop(self, request_id: int) -> bool:
        """Forget a clip that is done; whether there was one."""
        kept = [m for m in self.waiting if m.request_id != request_id]
        is_there, self.waiting = len(kept) < len(self.waiting), kept
        return is_there

    def forget(self) -> None:
        """Drop what waits, when the session goes back to another moment."""
        self.waiting.clear()
        self.closing.forget()

    def await_first(self, timeout_s: float) -> bool:
        """Wait until the first clip can be merged; False if it still cannot."""
        staged = self.waiting[0].staged
        return staged is None or not wait([staged], timeout_s).not_done

    def merge_ready(self) -> None:
        """Merge what is ready; never waits unless the session does. Not for replays."""
        while self.waiting and not self.closing.is_busy:
            if self._judge(self.waiting[0]):
                self.take_back()
            merge = self.waiting[0]
            staged = self._staged(merge)
            if staged is None:
                return
            self.apply(merge, *staged)
            self.waiting.pop(0)

    def merge_now(self, request_id: int) -> None:
        """Merge one clip that is done, at once."""
        merge = next(m for m in self.waiting if m.request_id == request_id)
        self.apply(merge, *self.stage(merge.result.update, self._world.memory.snapshot()))
        self.waiting.remove(merge)

    def _staged(self, merge: Merge) -> tuple[StagedChange, StagedFrames] | None:
        """What merging changes, once it is known and still holds."""
        if self._background is None:
            return self.stage(merge.result.update, self._world.memory.snapshot())
        if merge.staged is None:
            snapshot = self._world.memory.snapshot()
            merge.staged = self._background.submit(self.stage, merge.result.update, snapshot)
        if not merge.staged.done():
            return None
        staged, frames = merge.staged.result()
        if self._world.memory.is_stale(staged) or self._world.bank.is_stale(frames):
            merge.staged = None  # something changed in the meantime: stage it again
            return None
        return staged, frames

    def stage(self, update: MapUpdate, snapshot: MemorySnapshot) -> tuple[StagedChange, StagedFrames]:
        """What merging an update will change. Runs on any thread."""
        return stage_update(snapshot, update), self._world.bank.stage(update.keyframes, update.moving_before)

    def _judge(self, merge: Merge) -> bool:
        """Whether a clip that is to be merged refutes the last correction; each is asked once."""
        if merge.is_judged or merge.is_again or not self._looks_for_loops:
            return False
        merge.is_judged = True
        return self.closing.judge(merge.result.update, merge.request_id)

    def apply(self, merge: Merge, staged: StagedChange, frames: StagedFrames) -> None:
        """Take a staged clip over."""
        update = merge.result.update
        before = UndoStep(merge.request_id, self._world.memory.snapshot(), self._world.bank.snapshot())
        report = self._world.memory.apply(staged)
        self._world.bank.apply(frames)
        if self._looks_for_loops:
            self.closing.merged(Merged(merge.request_id, update, merge.first_keyframe_id))
        if report.changed:
            self.undo_steps = [*self.undo_steps[-MAX_UNDO + 1 :], before]
        self._hooks.on_changed(report.changed)
        if self._recorder is not None:
            self._recorder.merge(self._tick, merge.request_id)
        if not merge.is_again:
            self._hooks.account(merge, report)
            if self._looks_for_loops and not self._is_replaying and not update.report.rejected:
                self.closing.look(update)
                self.take_closure()

    def take_closure(self) -> None:
        """Take over what was found of loops, if something was."""
        staged = self.closing.take()
        if staged is not None:
            self.correct(staged)

    def correct(self, staged: StagedClosure) -> None:
        """Take drift out of memory, keyframes, tails, and of the clips that wait to be merged."""
        changed = self.closing.apply(staged, self._hooks.director())
        for merge in self.waiting:
            _move(merge, staged.correction)
        if self.undo_steps:
            last = self.undo_steps[-1]
            self.undo_steps[-1] = replace(last, corrections=(*last.corrections, staged.correction))
        self._hooks.on_changed(changed)
        self._hooks.on_correction()
        self._world.journal.append(JournalEntry("closure", self._tick, staged.facts))
        self._metrics.loop_closed(staged.facts["largest_move_m"])
        if self._recorder is not None:
            self._recorder.closure(self._tick, staged.facts)

    def take_back(self) -> None:
        """Undo the last correction; the clips merged since are merged again, moved back."""
        trial = self.closing.trial
        if trial is None:
            return
        facts = trial.as_facts()
        changed, again = self.closing.take_back(self._hooks.director())
        since = {m.request_id for m in again}
        self.undo_steps = [
            replace(step, corrections=tuple(c for c in step.corrections if c is not trial.correction))
            for step in self.undo_steps
            if step.request_id not in since
        ]
        for merge in self.waiting:
            _move(merge, trial.correction.inverted())
        self.waiting[:0] = [_merged_again(m) for m in again]
        self._hooks.on_changed(changed)
        self._hooks.on_correction()
        self._world.journal.append(JournalEntry("closure_undone", self._tick, facts))
        if self._recorder is not None:
            self._recorder.closure_undone(self._tick)

    def undo(self) -> UndoStep | None:
        """Take back the last clip's points and keyframes; what was taken back, or None if there is nothing."""
        if not self.undo_steps:
            return None
        last = self.undo_steps.pop()
        self.closing.accept()
        report = self._world.memory.restore(last.memory)
        for correction in reversed(last.corrections):
            move_director(self._hooks.director(), correction.inverted(), self._world.bank.snapshot())
        self._world.bank.restore(last.bank)
        self._hooks.on_changed(report.changed)
        return last


def _move(merge: Merge, correction: Correction) -> None:
    """Move a clip that waits to be merged."""
    moved = correction.of_update(merge.result.update, merge.first_keyframe_id)
    merge.result, merge.staged = replace(merge.result, update=moved), None


def _merged_again(clip: Merged) -> Merge:
    result = ClipResult(clip.request_id, 0, clip.update, np.empty((0, 0, 0, 3), np.uint8), None)
    ended = Ended(clip.request_id, Outcome.DONE)
    return Merge(ended, result, clip.first_keyframe_id, is_again=True)
