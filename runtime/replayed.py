"""Clips of a walk that is played again: asked for, merged and corrected in the ticks of its record."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ..generator.requests import ClipRequest
from .director import ClipPlan, Tail
from .drafting import moment_of
from .record import RecordedClosure, RecordedFallback, RecordedRequest, RecordedTakeBack, Recording

if TYPE_CHECKING:
    from .clips import ClipLoop


class ReplayedClips:
    """Has a loop do what a record says, in its order. On the session's thread.

    Args:
        clips: The loop; its session waits.
        recording: The record.
    """

    def __init__(self, clips: "ClipLoop", recording: Recording) -> None:
        self._clips, self._recording = clips, recording
        self._drafts: dict[int, ClipRequest] = {}

    def tick(self, tick: int) -> None:
        """Do what happened in a tick.

        Raises:
            RuntimeError: A clip that was merged then failed now.
        """
        clips = self._clips
        for event in self._recording.events.get(tick, ()):
            if isinstance(event, RecordedRequest):
                draft = self._drafts.pop(event.request_id, None)
                plan = self._continued(event)
                clips.submit(plan, draft or clips.request_of(plan, moment_of(clips.world), event))
            elif isinstance(event, RecordedFallback):
                clips.switch_to(event.generator)
            elif isinstance(event, RecordedTakeBack):
                clips.merging.take_back()
            elif isinstance(event, RecordedClosure):
                clips.merging.correct(clips.merging.closing.recorded(event.facts))
            else:
                self._merge(event.request_id)
        for later in self._recording.planned_at(tick):
            plan = self._continued(later)
            self._drafts[later.request_id] = clips.request_of(plan, moment_of(clips.world), later)

    def _continued(self, event: RecordedRequest) -> ClipPlan:
        """A recorded plan with the tail that it went on from."""
        if event.is_early:
            return replace(event.plan, tail=self._early_tail(event.continues))
        tails = self._clips.director.tails
        return replace(event.plan, tail=next((t for t in tails if t.request_id == event.continues), None))

    def _early_tail(self, request_id: int) -> Tail | None:
        """The end of a clip that was not merged yet, at the poses asked for."""
        clips = self._clips
        request = clips.await_done(request_id)
        merge = next((m for m in clips.merging.waiting if m.request_id == request_id), None)
        if request is None or merge is None:
            return None
        tail = merge.result.tail
        return Tail(request_id, tail, request.world_T_camera[-len(tail) :], is_early=True)

    def _merge(self, request_id: int) -> None:
        if self._clips.await_done(request_id) is None:
            raise RuntimeError(f"request {request_id} was merged when the walk was recorded, but failed now")
        self._clips.merging.merge_now(request_id)
