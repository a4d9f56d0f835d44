"""Clips on their way: planned, submitted, received, shown before they are done, and handed to ``merging``.

One object does this for one session, on the session's thread; planning and staging run on one background thread unless
the session waits for its clips.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..generator.cores import leave_first_core
from ..generator.pipeline import ClipResult
from ..generator.queue import Ended, GenerationQueue, Made, Outcome
from ..generator.requests import ClipRequest
from ..saves.journal import JournalEntry
from ..world.camera import Pinhole
from ..world.changes import MergeReport
from ..world.chunks import ChunkKey
from ..world.transforms import Transform
from ..world.updates import MapUpdate
from .checkpoint import UndoStep
from .clip_status import ClipStatus, notice_of
from .clock import Clock
from .director import ClipPlan, Director, Tail
from .drafting import Moment, clicks_in, draft_request, moment_of
from .early_tail import EarlyTail
from .fallback import Failures, Fallback, fallback_for
from .makers import can_prepare, director_for, first_plan, note_of
from .merging import Merge, MergeHooks, Merging
from .metrics import Metrics
from .pacer import Pacer
from .path_rounds import PathRounds
from .planner import ClipPlanner
from .record import RecordedRequest, Recorder, Recording
from .replayed import ReplayedClips
from .world import World

MAX_CLIPS_PER_PLAN = 6
"""A waiting session makes at most so many clips before it walks on."""
MAX_MARKS = 8
"""More of a person's marks than this do not wait for a clip."""


class ClipLoop:
    """Keeps memory supplied with clips.

    Args:
        world: What is merged into.
        generator: Name of the clip generator.
        seed: Of the clips; each has its own, derived from it.
        wait: Whether clips are waited for.
        tick_s: Length of a tick.
        pinhole: The walker's camera; may be changed.
        clock: Measures latencies.
        metrics: Counts what becomes of clips.
        prediction: Gives the pose in so many seconds if the walker goes on as now; what it gives is used on any thread.
        on_changed: Told which chunks a merge or an undo changed.
        recorder: Receives requests and merges.
        recording: Requests and merges happen at this log's ticks instead of being planned.
        memory_limit: Bytes of points above which nothing more is generated.
        quality: "draft", "balanced" or "best"; adapted to the speed that is measured unless clips are waited for.
    """

    def __init__(
        self,
        world: World,
        generator: str,
        *,
        seed: int,
        wait: bool,
        tick_s: float,
        pinhole: Pinhole,
        clock: Clock,
        metrics: Metrics,
        prediction: Callable[[], Callable[[float], Transform]],
        on_changed: Callable[[Iterable[ChunkKey]], None],
        recorder: Recorder | None = None,
        recording: Recording | None = None,
        memory_limit: int | None = None,
        quality: str = "best",
    ) -> None:
        self.world, self.generator, self.seed = world, generator, seed
        self.is_waiting, self._tick_s, self.pinhole = wait, tick_s, pinhole
        self.clock, self.metrics = clock, metrics
        self._recorder = recorder
        self.status = ClipStatus(notice=notice_of(world))
        if self.generator_note:
            self.status.notice = " · ".join(n for n in (self.status.notice, self.generator_note) if n)
        self.fallback: Fallback | None = None
        self._pacer = Pacer(quality, is_adaptive=not wait)
        self.director = self._new_director()
        self.queue = self._new_queue()
        self._background = ThreadPoolExecutor(1, "spatia-background", initializer=None if wait else leave_first_core)
        self.early, self.failures = EarlyTail(lambda: self.director), Failures()
        self.planner = ClipPlanner(self, self._background, prediction, tick_s=tick_s, memory_limit=memory_limit)
        hooks = MergeHooks(lambda: self.director, self._account, on_changed, self.early.forget)
        self.merging = Merging(
            world, None if wait else self._background, hooks, metrics,
            recorder=recorder, is_replaying=recording is not None,
        )  # fmt: skip
        self._replayed = None if recording is None else ReplayedClips(self, recording)
        self._requests: dict[int, tuple[ClipRequest, ClipPlan]] = {}
        self.path_rounds: PathRounds | None = None
        """Asks for the rounds of a path instead of what the director judges to lack, where the session waits."""
        self.is_paused = False
        """While True nothing new is asked for."""
        self.on_made: Callable[[ClipResult], None] = lambda result: None
        """Told of every clip that was made, before it is merged."""
        self.last_end_tick = -(10**9)

    def _new_director(self) -> Director:
        return director_for(self.generator, self.world, picture_width=self.pinhole.width)

    def _new_queue(self, epoch: int = 0) -> GenerationQueue:
        if self.is_waiting:
            return GenerationQueue(self.generator, backend="inline", clock=self.clock, epoch=epoch)
        preparation = self.request_of(*first_plan(self.world, self.pinhole)) if can_prepare(self.generator) else None
        return GenerationQueue(
            self.generator, backend="process", clock=self.clock, epoch=epoch, preparation=preparation
        )

    @property
    def _tick(self) -> int:
        return self.world.walk.tick

    @property
    def marks(self) -> tuple[tuple[float, float, float], ...]:
        """Where the person said that something moves, world metres; not looked at by a merged clip yet."""
        return tuple(self.world.walk.marks)

    @property
    def undo_steps(self) -> list[UndoStep]:
        """What can be taken back, the last clip last."""
        return self.merging.undo_steps

    @undo_steps.setter
    def undo_steps(self, steps: list[UndoStep]) -> None:
        self.merging.undo_steps = steps

    @property
    def num_outstanding(self) -> int:
        """Clips that were asked for and are not merged yet."""
        return len(self._requests)

    def plan_of(self, request_id: int) -> ClipPlan | None:
        """What was asked for; None if it ended."""
        return self._requests[request_id][1] if request_id in self._requests else None

    def forget_pending(self) -> None:
        """Drop what is under way, when the session goes back to another moment."""
        self._requests.clear()
        self.merging.forget()
        self.early.forget()

    def close(self) -> None:
        """Stop generation and the background thread; safe to call twice."""
        self.queue.close()
        self._background.shutdown(wait=True, cancel_futures=True)
        self.director.close()

    def plan(self) -> None:
        """Ask for the next clip if one is due; where the session waits, make and merge it at once."""
        if self._replayed is not None:
            self._replayed.tick(self._tick)
        elif self.generator == "none" or self.is_paused:
            return
        elif self.path_rounds is not None and self.path_rounds.is_in_charge:
            self.path_rounds.plan()
        elif self.is_waiting:
            self._plan_and_wait()
        else:
            self.planner.plan()

    def _plan_and_wait(self) -> None:
        if not self.planner.is_due():
            return
        self.planner.last_plan_tick = self._tick
        for _ in range(MAX_CLIPS_PER_PLAN):
            drafted = self.planner.draft_now()
            if drafted is None or not self.submit(*drafted):
                return
            self.wait_for_all()

    def generate_ring(self, max_clips: int = 64) -> int:
        """Close the ring around the walker, waiting for every clip; the number of clips made."""
        for done in range(max_clips):
            drafted = self.planner.draft_now(ring=True)
            if drafted is None or not self.submit(*drafted):
                return done
            self.wait_for_all()
        return max_clips

    def wait_for_all(self) -> None:
        """Wait until everything that was asked for has ended and is merged; where the session waits."""
        while self._requests or self.merging.waiting:
            for ended in self.queue.wait(600.0):
                self._receive(ended)
            self.merging.merge_ready()
        self._give_up_if_hopeless()

    def submit(self, plan: ClipPlan, draft: ClipRequest | None = None) -> bool:
        """Ask for a clip; False if it was refused.

        Args:
            plan: What is wanted.
            draft: Its request, all but its identity; of the present moment if not given.
        """
        walk = self.world.walk
        request_id = walk.next_request_id
        walk.next_request_id += 1
        request = replace(
            draft or self.request_of(plan, moment_of(self.world)),
            request_id=request_id,
            epoch=self.queue.epoch,
            seed=int(np.random.SeedSequence([self.seed, request_id]).generate_state(1)[0]),
            first_keyframe_id=self.world.bank.reserve_ids(len(plan.world_T_camera)),
        )
        self._requests[request_id] = (request, plan)
        self.director.submitted(request_id, plan)
        if self._recorder is not None:
            self._recorder.request(self._tick, request, plan, planned_at=request.tick)
        return self.queue.submit(request)

    def mark(self, place_world: tuple[float, float, float]) -> None:
        """Something moves there: clips that have the place in view follow it, until one of them is merged."""
        self.world.walk.marks = [*self.world.walk.marks, place_world][-MAX_MARKS:]

    def request_of(self, plan: ClipPlan, moment: Moment, recorded: RecordedRequest | None = None) -> ClipRequest:
        """What to ask for, all but its identity; effort and clicks as they were recorded, if they were."""
        return draft_request(
            self.world,
            plan,
            moment,
            tick_s=self._tick_s,
            sources_suffice=self.director.wants_key_views,
            effort=(None if recorded is None else recorded.effort) or self._pacer.effort,
            clicks=clicks_in(self.marks, plan) if recorded is None else recorded.clicks,
        )

    def drain(self) -> None:
        """Take in what ended and merge what is ready. Never waits unless the session does."""
        for made in self.queue.take_made():
            self._take_early(made)
        for ended in self.queue.poll():
            self._receive(ended)
        self._give_up_if_hopeless()
        self.merging.take_closure()
        if self._replayed is None:
            self.merging.merge_ready()
        self._show_preview()
        progress = self.queue.progress
        self.status.phase = "" if progress is None else progress.phase
        self.status.fraction = 0.0 if progress is None else progress.fraction
        self.status.coverage_ahead = self.director.coverage_ahead

    def _show_preview(self) -> None:
        preview = self.queue.preview
        request = None if preview is None else self._requests.get(preview.request_id)
        self.status.show(preview, None if request is None else request[0])

    def _take_early(self, made: Made) -> None:
        asked = self._requests.get(made.request_id)
        self.early.take(made, None if asked is None else asked[0])

    def _receive(self, ended: Ended) -> None:
        name = ended.outcome.name.lower()
        self.status.outcomes[name] = self.status.outcomes.get(name, 0) + 1
        self.metrics.clip_ended(ended)
        self.failures.note(ended)
        if ended.outcome is Outcome.DONE and ended.result is not None:
            self._note_speed(ended)
            request = self._requests[ended.request_id][0]
            self.on_made(ended.result)
            update = self.merging.closing.followed(ended.result.update, request)
            merge = Merge(ended, replace(ended.result, update=update), request.first_keyframe_id)
            self.merging.waiting.append(merge)
            return
        self.status.last_error = ended.reason
        self._finish(ended.request_id, merged=False, journal={"outcome": name, "reason": ended.reason})

    def _note_speed(self, ended: Ended) -> None:
        request = self._requests[ended.request_id][0]
        if request.effort is not None:
            num_pixels = request.pinhole.width * request.pinhole.height
            self._pacer.note(ended.seconds, request.effort, num_frames=request.num_frames, num_pixels=num_pixels)

    def _give_up_if_hopeless(self) -> None:
        """Let another generator take over where this one cannot go on."""
        reason = self.failures.why_give_up or (self.queue.last_error if self.queue.state == "failed" else "")
        successor = fallback_for(self.generator, self.world.info.place)
        if not reason or not successor or self._replayed is not None:
            return
        self.fallback = Fallback(successor, self.generator, reason, self._tick)
        self.world.journal.append(JournalEntry("fallback", self._tick, self.fallback.as_facts()))
        if self._recorder is not None:
            self._recorder.fallback(self._tick, successor)
        self.switch_to(successor)
        self.status.notice = " · ".join(n for n in (self.status.notice, self.fallback.notice) if n)

    def switch_to(self, generator: str) -> None:
        """Go on with another generator: what is under way is cancelled; what failed may be asked for again."""
        director, queue, epoch = self.director, self.queue, self.queue.epoch
        for request_id in self._requests:
            queue.cancel(request_id)
        if not self.is_waiting:
            for ended in queue.poll():
                self._receive(ended)
        for request_id in [i for i in self._requests if not self.merging.holds(i)]:
            self._receive(Ended(request_id, Outcome.CANCELLED, f"{generator} took over"))
        self.generator, self.failures = generator, Failures()
        self.planner.forget()
        self.early.forget()
        self.director = self._new_director()
        self.director.settled, self.director.held = director.settled, director.held
        self.director.tails, self.director.coverage_ahead = director.tails, director.coverage_ahead
        self.queue = self._new_queue(epoch)
        self._background.submit(queue.close, 0.0)  # after a plan that still uses the old ones
        self._background.submit(director.close)

    def await_done(self, request_id: int) -> ClipRequest | None:
        """Wait until a request is done, for replays; None if it ends otherwise, or was merged before."""
        while not self.merging.holds(request_id):
            if request_id not in self._requests:
                return None
            for ended in self.queue.wait(600.0):
                self._receive(ended)
        return self._requests[request_id][0]

    def await_clip(self, timeout_s: float) -> bool:
        """Wait until a clip ends or can be merged, for programs that have nothing else to do; ticks do the rest.

        What must come first is waited for as well: the worker's start, and a plan that is being made.

        Returns:
            False if no clip ended in this time.
        """
        if self.merging.waiting:
            return self.merging.await_first(timeout_s)
        if not self._requests and self.planner.pending is not None:
            wait([self.planner.pending], timeout_s)
            return False
        ended = self.queue.wait(timeout_s) if self.queue.wait_for_start(timeout_s) else []
        for end in ended:
            self._receive(end)
        self._give_up_if_hopeless()
        return bool(ended)

    def _account(self, merge: Merge, report: MergeReport) -> None:
        """Tell everybody that a clip was merged."""
        update = merge.result.update
        self.early.merged(merge.request_id)
        if not self.director.wants_key_views and not update.report.rejected:
            tail = np.ascontiguousarray(merge.result.tail)
            tail.flags.writeable = False
            self.director.keep_tail(Tail(merge.request_id, tail, update.world_T_camera[-len(tail) :]))
        facts = replace(
            update.report,
            added=report.added,
            refreshed=report.refreshed,
            replaced=report.replaced,
            outranked=report.outranked,
            removed=report.removed,
        )
        self.status.last_update = facts
        self.status.merged_clips += 1
        self.metrics.clip_merged(self.clock.now_s(), facts)
        journal = {"outcome": "done", "update": facts}
        self._finish(merge.request_id, merged=not facts.rejected, journal=journal, hidden=_hidden_in(update))

    def _finish(
        self,
        request_id: int,
        *,
        merged: bool,
        journal: dict[str, Any],
        hidden: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        request, _ = self._requests.pop(request_id)
        self.last_end_tick = self._tick
        if merged:
            self.world.walk.marks = [m for m in self.world.walk.marks if m not in request.clicks]
        else:
            self._drop_sequels(request_id)
        # a direction that failed is not asked for again and again; re-rolling or moving on does
        is_settled = merged or journal["outcome"] in ("failed", "done")
        self.director.ended(request_id, is_settled=is_settled, hidden=hidden)
        age = {"memory_age_s": round((self._tick - request.tick) * self._tick_s, 3)}
        self.world.add_journal(request, journal | age | ({"after": request.after} if request.after else {}))

    def _drop_sequels(self, request_id: int) -> None:
        """What goes on from a clip that never came to memory hangs in the air."""
        self.early.forget_of(request_id)
        for sequel in [i for i, (request, _) in self._requests.items() if request.after == request_id]:
            self.queue.cancel(sequel)
            if self.merging.drop(sequel):
                reason = f"clip {request_id}, which it goes on from, was not merged"
                self._finish(sequel, merged=False, journal={"outcome": "stale", "reason": reason})

    @property
    def generator_note(self) -> str:
        """What a walker should know of the generator at work; empty if there is nothing."""
        return note_of(self.generator)

    def quality_facts(self) -> dict[str, Any]:
        """The setting, and the work that the next clip may take, as plain values."""
        return self._pacer.as_facts()

    def undo(self) -> bool:
        """Take back the last clip: its points and keyframes; its region waits until it is re-rolled.

        Returns:
            False if there is nothing to undo.
        """
        last = self.merging.undo()
        if last is None:
            return False
        self.abandon("an earlier clip was undone")
        self.director.hold(last.request_id)
        self.director.drop_tail(last.request_id)
        return True

    def abandon(self, reason: str) -> None:
        """End what is under way as stale, and begin another epoch: what it was built on is gone."""
        self.queue.bump_epoch()
        self.early.forget()
        waiting, self.merging.waiting = self.merging.waiting, []
        for merge in waiting:
            if not merge.is_again and merge.request_id in self._requests:
                self._finish(merge.request_id, merged=False, journal={"outcome": "stale", "reason": reason})
        for ended in self.queue.poll():
            self._receive(ended)
        self.planner.forget()

    def reroll(self) -> int:
        """Generate the held regions anew, with other seeds; the number asked for."""
        plans = self.director.release_held()
        if self._replayed is not None:
            return len(plans)  # the log's own requests follow
        for plan in plans:
            self.submit(plan)
        if self.is_waiting and plans:
            self.wait_for_all()
        return len(plans)


def _hidden_in(update: MapUpdate) -> npt.NDArray[np.bool_] | None:
    """(H, W) bool, where something of known depth moves in a clip's last frame; None if the clip gave no frame."""
    if not update.keyframes:
        return None
    last = update.keyframes[-1]
    shape = (last.pinhole.height, last.pinhole.width)
    if last.moving is None:
        return np.zeros(shape, bool)
    return last.moving if last.depth_m is None else last.moving & (last.depth_m > 0)
