"""The session: owns time and wires input, memory, generation and drawing together.

The order of a tick is ``TICK_ORDER``. Only the thread that calls ``tick`` changes the world; staging a merge and
planning run on one background thread unless the session waits for its clips.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..generator.pipeline import ClipResult
from ..generator.queue import Ended, GenerationQueue, Outcome
from ..generator.registry import generator_class
from ..generator.requests import ClipRequest, ReferenceFrame
from ..input.intents import Intent
from ..renderer.interface import DrawOptions, Renderer
from ..renderer.software import SoftwareRenderer
from ..world.camera import Pinhole
from ..world.keyframes import BankSnapshot, FrameBank, Keyframe, StagedFrames
from ..world.memory import MemorySnapshot
from ..world.merge import StagedChange, stage_update
from ..world.points import PointClass, priority_of
from ..world.transforms import Transform, interpolate
from ..world.updates import MapUpdate
from .checkpoint import Checkpoint, UndoStep, copy_walk
from .clock import Clock, WallClock
from .collision import Collision
from .director import ClipPlan, Director, Tail, predict_along
from .metrics import Metrics
from .process import release_free_memory
from .record import RecordedRequest, Recorder, Recording
from .rig import CameraRig, RigState
from .world import World

logger = logging.getLogger(__name__)

TICK_ORDER = (
    "look: turn by the mouse's angle, never scaled by time",
    "move: rig, collision, floor",
    "drain: poll the generator, apply staged merges",
    "plan: ask the director for the next clip",
    "record: write the tick to the log",
)
ROLLOUT_RATE_HZ = 24.0
DEFAULT_GENERATOR = "outpaint"
PLACE_GENERATOR = "procedural"
"""What pictures a procedural place where nothing else is asked for."""
PLAN_EVERY_S = 0.25
MAX_OUTSTANDING = 2
MAX_CLIPS_PER_PLAN = 6
"""A waiting session makes at most so many clips before it walks on."""
MAX_UNDO = 4
"""Clips that can be taken back; each keeps the chunks that it replaced."""
IRRELEVANT_S = 2.0
TRIM_EVERY_DRAFTS = 8
"""Freed memory is given back to the system every few plans, on the background thread."""
MAX_FAILURE_PAUSE_S = 30.0
"""A generator that keeps failing is asked ever more seldom, down to this."""
TRACE_STEP_M = 0.10


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What one step shows.

    Attributes:
        color: (H, W, 3) uint8 sRGB, the unknown painted as fog.
        depth_m: (H, W) float32 metres, 0 where memory has nothing.
        coverage: (H, W) float32 in [0, 1].
        world_T_camera: (4, 4) pose that was drawn.
        tick: Simulation tick.
        words: (H, W) uint32, the colour with red lowest, where it came at no cost; otherwise None.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]
    world_T_camera: Transform
    tick: int
    words: npt.NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """What memory and keyframes were at the end of a tick."""

    tick: int
    memory: MemorySnapshot
    bank: BankSnapshot


@dataclass(slots=True, eq=False)
class _Merge:
    """A finished clip on its way into memory."""

    ended: Ended
    result: ClipResult
    staged: "Future[tuple[StagedChange, StagedFrames]] | None" = None


@dataclass(slots=True)
class SessionStatus:
    """What the overlay and the report show of the loop."""

    phase: str = ""
    fraction: float = 0.0
    merged_clips: int = 0
    last_update: Any = None
    last_error: str = ""
    notice: str = ""
    coverage_ahead: float = 1.0
    outcomes: dict[str, int] = field(default_factory=dict)


class Session:
    """One walk through one world.

    Args:
        world: The world; the session changes it, the caller saves it.
        generator: Name of the clip generator; a procedural place has its own in place of the default.
        seed: Of everything random; the world's own if not given.
        wait: True simulates time and waits for every clip, so that the same seed and intents give the same world.
            False never waits: clips are made by a worker process and merged when they are done.
        size: (width, height) of the frames; the source's floored to even if not given.
        tick_s: Length of a tick; 1/24 s where the session waits, 1/60 s otherwise.
        renderer: Draws the frames; a software renderer if not given.
        clock: Time source.
        recorder: Receives every tick's intents, requests and merges.
        recording: Requests and merges happen at this log's ticks instead of being planned.
        memory_limit: Bytes of points above which nothing more is generated.
    """

    def __init__(
        self,
        world: World,
        generator: str = DEFAULT_GENERATOR,
        *,
        seed: int | None = None,
        wait: bool = True,
        size: tuple[int, int] | None = None,
        tick_s: float | None = None,
        renderer: Renderer | None = None,
        clock: Clock | None = None,
        recorder: Recorder | None = None,
        recording: Recording | None = None,
        memory_limit: int | None = None,
    ) -> None:
        if world.info.place and generator == DEFAULT_GENERATOR:
            generator = PLACE_GENERATOR
        kind = generator_class(generator)
        self.world = world
        self.generator = world.walk.generator = generator
        self.rank = kind.rank
        self.seed = world.info.seed if seed is None else seed
        self.is_waiting = wait
        self.clock = clock or WallClock()
        self.tick_s = tick_s or (1.0 / ROLLOUT_RATE_HZ if wait else 1.0 / 60.0)
        self.pinhole = world.pinhole_for(size or world.default_size)
        self.renderer = renderer or SoftwareRenderer()
        self.metrics = Metrics()
        self.status = SessionStatus(
            notice="" if world.info.is_metric else "not metric: depth is guessed from the photo"
        )
        self.rig = CameraRig(world.walk.world_T_camera, world.info.up_world)
        self.rig.state = replace(self.rig.state, is_flying=world.walk.is_flying)
        self.collision = Collision(world)
        self.director = Director(
            wants_key_views=kind.wants_key_views,
            native_speed=kind.native_speed,
            min_priority=priority_of(PointClass.INVENTED, kind.rank),
            up_world=world.info.up_world,
            picture_width=self.pinhole.width,
        )
        self.director.settled = list(world.walk.settled)
        self.director.held = list(world.walk.held)
        self.director.tails = list(world.walk.tails)
        self.queue = GenerationQueue(generator, backend="inline" if wait else "process", clock=self.clock)
        self._recorder = recorder
        self._recording = recording
        self._memory_limit = memory_limit
        self._num_drafts = 0
        self._failures_in_a_row = 0
        self._irrelevant_since: tuple[int, int] | None = None
        self._replay_drafts: dict[int, ClipRequest] = {}
        self._looked = (0.0, 0.0)
        self._pace = 1.0
        self._background = ThreadPoolExecutor(1, "spatia-background")
        self._planning: Future[tuple[ClipPlan, ClipRequest] | None] | None = None
        self._merging: list[_Merge] = []
        self._requests: dict[int, tuple[ClipRequest, ClipPlan]] = {}
        self._undo: list[UndoStep] = []
        self._last_plan_tick = -(10**9)
        self._previous = self.rig.state
        self._predict: Callable[[float], Transform] | None = None
        self._is_closed = False

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def tick_count(self) -> int:
        """Simulation ticks since the world began."""
        return self.world.walk.tick

    # -- stepping -----------------------------------------------------------------------------------------------------

    def step(self, intent: Intent) -> Frame:
        """One tick, then the picture. Call from the thread that owns the session."""
        self.look(intent)
        self.tick(intent)
        return self.draw()

    def look(self, intent: Intent) -> None:
        """Turn by the intent's look angles, at once; comes before the frame's ticks."""
        self.rig.apply_look(intent)
        yaw, pitch = self._looked
        self._looked = (yaw + intent.look_yaw_rad, pitch + intent.look_pitch_rad)

    def tick(self, intent: Intent, *, pace: float | None = None, plan_now: bool = False) -> None:
        """Advance by one fixed step; see ``TICK_ORDER``.

        Args:
            intent: What is wanted; its look angles were given to ``look``.
            pace: Share of full speed; eased down where little is known ahead if not given.
            plan_now: Plan the next clip in this tick even if it is not due yet.
        """
        self._check_open()
        if plan_now:
            self._last_plan_tick = -(10**9)
        self.world.walk.tick += 1
        self._run_commands(intent.commands)
        self._previous = self.rig.state
        self._pace = self._eased_pace() if pace is None else pace
        wish = self.rig.wish(intent, self.tick_s, self._pace)
        self.rig.state = wish if wish.is_flying else self.collision.resolve(self.rig, self._previous, wish, self.tick_s)
        self._predict = None
        self._after_move(intent)

    def follow(self, poses: Sequence[Transform]) -> Frame:
        """Stand at the first of the poses, with the others known to come next; one tick.

        Args:
            poses: world_T_camera of this frame and the frames ahead, 24 a second.
        """
        self._check_open()
        self.world.walk.tick += 1
        self._previous = self.rig.state
        self.rig.state = replace(self.rig.state_of(poses[0]), is_flying=self.rig.state.is_flying)
        self._predict = predict_along(poses, ROLLOUT_RATE_HZ)
        self._after_move(Intent())
        return self.draw(poses[0])

    def _after_move(self, intent: Intent) -> None:
        walk = self.world.walk
        walk.world_T_camera = self.rig.world_T_camera
        walk.is_flying = self.rig.state.is_flying
        walk.settled, walk.held = self.director.settled, self.director.held
        walk.tails = self.director.tails
        self._trace()
        self._drain()
        self._plan()
        yaw, pitch = self._looked
        self._looked = (0.0, 0.0)
        if self._recorder is not None:
            whole = replace(intent, look_yaw_rad=yaw, look_pitch_rad=pitch)
            self._recorder.tick(walk.tick, whole, self._pace, walk.world_T_camera)

    def _trace(self) -> None:
        """Keep the way that was walked, a point for every 10 cm."""
        path = self.world.walk.path
        x, y, z = self.rig.state.position
        if not path or np.linalg.norm(np.subtract(path[-1][1:], (x, y, z))) > TRACE_STEP_M:
            path.append((float(self.tick_count), x, y, z))

    def _eased_pace(self) -> float:
        """Ease down where little is known ahead; never below a third."""
        if self.is_waiting:
            return 1.0
        return float(np.clip(0.34 + self.director.coverage_ahead, 0.34, 1.0))

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(
        self,
        world_T_camera: Transform | None = None,
        *,
        pinhole: Pinhole | None = None,
        tint: bool = False,
        budget_s: float | None = None,
        reuse: bool = False,
    ) -> Frame:
        """The picture from a pose, the present one if none is given.

        Args:
            world_T_camera: Pose, or None for the walker's.
            pinhole: Camera, or None for the session's.
            tint: Tint by class.
            budget_s: Time for taking over changed chunks; None takes all.
            reuse: The frame's arrays are overwritten by the next picture; cheaper, for a window.
        """
        self._check_open()
        pose = self.rig.world_T_camera if world_T_camera is None else world_T_camera
        renderer, pinhole = self.renderer, pinhole or self.pinhole
        # simulated clips arrive between two frames: nothing fades in where the session waits
        now_s = -1e9 if self.is_waiting else self.tick_count * self.tick_s
        renderer.update(self.world.memory.snapshot(), self.world.bank.keyframes, budget_s=budget_s, now_s=now_s)
        options = self._options(tint)
        if reuse and isinstance(renderer, SoftwareRenderer):
            view = renderer.render(pose, pinhole, options, reuse=True)
            words = renderer.rgba
        else:
            view, words = renderer.render(pose, pinhole, options), None
        return Frame(view.color, view.depth_m, view.coverage, pose, self.tick_count, words)

    def _options(self, tint: bool) -> DrawOptions:
        floor = self.world.info.floor
        height = 1.6 if floor is None else abs(float(floor.height_m(np.asarray(self.rig.state.position))))
        tick = None if self.is_waiting else round(self.tick_count * self.tick_s * 60.0)
        return DrawOptions(
            tint=tint, fill=True, fade_tick=tick, up_world=self.world.info.up_world, floor_height_m=height
        )

    def pose_between(self, fraction: float) -> Transform:
        """Pose between the last two ticks, for drawing."""
        return interpolate(self.rig.pose_of(self._previous), self.rig.world_T_camera, fraction)

    # -- generation ---------------------------------------------------------------------------------------------------

    def predict(self, seconds: float) -> Transform:
        """Pose in so many seconds if the walker goes on like this."""
        if self._predict is not None:
            return self._predict(seconds)
        now, before = self.rig.state, self._previous
        rate = min(seconds, 1.2) / self.tick_s  # nobody turns on for long at the rate of a moment
        position = np.asarray(now.position) + np.asarray(now.velocity) * seconds
        ahead: RigState = replace(
            now,
            position=(float(position[0]), float(position[1]), float(position[2])),
            yaw_rad=now.yaw_rad + (now.yaw_rad - before.yaw_rad) * rate,
            pitch_rad=float(np.clip(now.pitch_rad + (now.pitch_rad - before.pitch_rad) * rate, -1.4, 1.4)),
        )
        return self.rig.pose_of(ahead)

    def _plan(self) -> None:
        if self._recording is not None:
            self._replay_events(self._recording)
            return
        if self.generator == "none":
            return
        if self.is_waiting:
            self._plan_and_wait()
            return
        self._cancel_irrelevant()
        if self._planning is not None:
            if self._planning.done():
                drafted, self._planning = self._planning.result(), None
                if drafted is not None:
                    self._submit(*drafted)
            return
        pause_s = min(MAX_FAILURE_PAUSE_S, PLAN_EVERY_S * 2**self._failures_in_a_row)
        is_due = (self.tick_count - self._last_plan_tick) * self.tick_s >= pause_s
        if is_due and len(self._requests) < MAX_OUTSTANDING and self.queue.state not in ("failed", "closed"):
            self._last_plan_tick = self.tick_count
            predicted = [self.predict(s / ROLLOUT_RATE_HZ) for s in range(97)]
            predict = predict_along(predicted, ROLLOUT_RATE_HZ)
            self._planning = self._background.submit(self._draft, self._moment(), predict, True)

    def _cancel_irrelevant(self) -> None:
        """Give up a clip that has led nowhere for two seconds and is not yet half done."""
        progress = self.queue.progress
        if progress is None or progress.request_id not in self._requests:
            return
        plan = self._requests[progress.request_id][1]
        if plan.purpose != "way" or self.director.is_relevant(plan, self.predict):
            self._irrelevant_since = None
            return
        if self._irrelevant_since is None or self._irrelevant_since[0] != progress.request_id:
            self._irrelevant_since = (progress.request_id, self.tick_count)
        waited_s = (self.tick_count - self._irrelevant_since[1]) * self.tick_s
        if waited_s > IRRELEVANT_S and progress.fraction < 0.5:
            self.queue.cancel(progress.request_id)

    def _moment(self) -> _Moment:
        return _Moment(self.tick_count, self.world.memory.snapshot(), self.world.bank.snapshot())

    def _draft(
        self, moment: _Moment, predict: Callable[[float], Transform], ring: bool
    ) -> tuple[ClipPlan, ClipRequest] | None:
        """Plan a clip and put together its request, all but its identity. Runs on any thread."""
        if not self.is_waiting and self._num_drafts % TRIM_EVERY_DRAFTS == 0:
            release_free_memory()
        self._num_drafts += 1
        if self._is_full(moment.memory):
            self.status.notice = "the memory limit is reached: nothing more is generated"
            return None
        plan = self.director.plan(moment.memory, self.pinhole, predict, ring=ring)
        return None if plan is None else (plan, self._request_of(plan, moment))

    def _is_full(self, memory: MemorySnapshot) -> bool:
        if self._memory_limit is None:
            return False
        return sum(chunk.num_bytes for chunk in memory.chunks.values()) > self._memory_limit

    def _plan_and_wait(self) -> None:
        if (self.tick_count - self._last_plan_tick) * self.tick_s < PLAN_EVERY_S - 1e-9:
            return
        self._last_plan_tick = self.tick_count
        for _ in range(MAX_CLIPS_PER_PLAN):
            drafted = self._draft(self._moment(), self.predict, False)
            if drafted is None or not self._submit(*drafted):
                return
            self._wait_for_all()

    def generate_ring(self, max_clips: int = 64) -> int:
        """Close the ring around the walker, waiting for every clip; the number of clips made."""
        for done in range(max_clips):
            drafted = self._draft(self._moment(), self.predict, True)
            if drafted is None or not self._submit(*drafted):
                return done
            self._wait_for_all()
        return max_clips

    def _wait_for_all(self) -> None:
        while self._requests or self._merging:
            for ended in self.queue.wait(600.0):
                self._receive(ended)
            self._merge_ready()

    def _submit(self, plan: ClipPlan, draft: ClipRequest | None = None) -> bool:
        walk = self.world.walk
        request_id = walk.next_request_id
        walk.next_request_id += 1
        request = replace(
            draft or self._request_of(plan, self._moment()),
            request_id=request_id,
            epoch=self.queue.epoch,
            seed=int(np.random.SeedSequence([self.seed, request_id]).generate_state(1)[0]),
            first_keyframe_id=self.world.bank.reserve_ids(len(plan.world_T_camera)),
        )
        self._requests[request_id] = (request, plan)
        self.director.submitted(request_id, plan)
        if self._recorder is not None:
            self._recorder.request(self.tick_count, request, plan.missing_share, planned_at=request.tick)
        return self.queue.submit(request)

    def _request_of(self, plan: ClipPlan, moment: _Moment) -> ClipRequest:
        snapshot = moment.memory
        floor = self.world.info.floor
        return ClipRequest(
            request_id=0,
            epoch=0,
            seed=0,
            prompt=self.world.walk.prompt,
            world_T_camera=plan.world_T_camera,
            pinhole=plan.pinhole,
            memory=snapshot.subset(snapshot.chunks_in_frusta(plan.pinhole, plan.world_T_camera)),
            first_keyframe_id=0,
            references=tuple(_reference(k) for k in self._references(moment, plan)),
            up_world=self.world.info.up_world,
            floor=None if floor is None else (*floor.normal, floor.offset_m),
            purpose=plan.purpose,
            tail=None if plan.tail is None else plan.tail.frames,
            tick=moment.tick,
            place=self.world.info.place,
        )

    def _references(self, moment: _Moment, plan: ClipPlan) -> list[Keyframe]:
        """Source frames first (the place is modelled from them), then what shares surface with the path."""
        bank = FrameBank()
        bank.restore(moment.bank)
        sources = [k for k in bank.keyframes if k.request_id == 0][:4]
        shared = bank.retrieve(moment.memory, plan.pinhole, plan.world_T_camera, k=7)
        seen = {k.keyframe_id for k in sources}
        return (sources + [k for k in shared if k.keyframe_id not in seen])[:7]

    def _drain(self) -> None:
        for ended in self.queue.poll():
            self._receive(ended)
        self._merge_ready()
        progress = self.queue.progress
        self.status.phase = "" if progress is None else progress.phase
        self.status.fraction = 0.0 if progress is None else progress.fraction
        self.status.coverage_ahead = self.director.coverage_ahead

    def _receive(self, ended: Ended) -> None:
        name = ended.outcome.name.lower()
        self.status.outcomes[name] = self.status.outcomes.get(name, 0) + 1
        self.metrics.clip_ended(ended)
        if ended.outcome in (Outcome.DONE, Outcome.FAILED):
            self._failures_in_a_row = 0 if ended.outcome is Outcome.DONE else min(self._failures_in_a_row + 1, 10)
        if ended.outcome is Outcome.DONE and ended.result is not None:
            self._merging.append(_Merge(ended, ended.result))
            return
        self.status.last_error = ended.reason
        self._finish(ended.request_id, merged=False, journal={"outcome": name, "reason": ended.reason})

    def _replay_events(self, recording: Recording) -> None:
        """Submit and merge what this tick's events say, in their order."""
        for event in recording.events.get(self.tick_count, ()):
            if isinstance(event, RecordedRequest):
                self._submit(event.plan, self._replay_drafts.pop(event.request_id, None))
            else:
                self._merge_recorded(event.request_id)
        for later in recording.planned_at(self.tick_count):
            self._replay_drafts[later.request_id] = self._request_of(later.plan, self._moment())

    def _merge_recorded(self, request_id: int) -> None:
        while not any(m.ended.request_id == request_id for m in self._merging):
            if request_id not in self._requests:
                raise RuntimeError(f"request {request_id} was merged when the walk was recorded, but failed now")
            for ended in self.queue.wait(600.0):
                self._receive(ended)
        merge = next(m for m in self._merging if m.ended.request_id == request_id)
        self._apply(merge, *self._stage(merge.result.update, self.world.memory.snapshot()))
        self._merging.remove(merge)

    def await_clip(self, timeout_s: float) -> bool:
        """Wait until a clip ends; it is merged by the next tick. For programs that have nothing else to do.

        Returns:
            False if none ended in this time.
        """
        ended = self.queue.wait(timeout_s)
        for end in ended:
            self._receive(end)
        return bool(ended)

    def _merge_ready(self) -> None:
        while self._merging and self._recording is None:
            merge = self._merging[0]
            if self.is_waiting:
                self._apply(merge, *self._stage(merge.result.update, self.world.memory.snapshot()))
            else:
                if merge.staged is None:
                    snapshot = self.world.memory.snapshot()
                    merge.staged = self._background.submit(self._stage, merge.result.update, snapshot)
                if not merge.staged.done():
                    return
                staged, frames = merge.staged.result()
                if self.world.memory.is_stale(staged) or self.world.bank.is_stale(frames):
                    merge.staged = None  # something changed in the meantime: stage it again
                    return
                self._apply(merge, staged, frames)
            self._merging.pop(0)

    def _stage(self, update: MapUpdate, snapshot: MemorySnapshot) -> tuple[StagedChange, StagedFrames]:
        """What merging an update will change. Runs on any thread."""
        return stage_update(snapshot, update), self.world.bank.stage(update.keyframes)

    def _apply(self, merge: _Merge, staged: StagedChange, frames: StagedFrames) -> None:
        update = merge.result.update
        before = UndoStep(merge.ended.request_id, self.world.memory.snapshot(), self.world.bank.snapshot())
        report = self.world.memory.apply(staged)
        self.world.bank.apply(frames)
        if not self.director.wants_key_views and not update.report.rejected:
            tail = np.ascontiguousarray(merge.result.tail)
            tail.flags.writeable = False
            self.director.keep_tail(Tail(merge.ended.request_id, tail, update.world_T_camera[-len(tail) :]))
        if report.changed:
            self._undo = [*self._undo[-MAX_UNDO + 1 :], before]
        facts = replace(
            update.report,
            added=report.added,
            refreshed=report.refreshed,
            replaced=report.replaced,
            outranked=report.outranked,
            removed=report.removed,
        )
        self.collision.merged(report.changed, self.rig.state)
        self.status.last_update = facts
        self.status.merged_clips += 1
        self.metrics.clip_merged(self.clock.now_s(), facts)
        if self._recorder is not None:
            self._recorder.merge(self.tick_count, merge.ended.request_id)
        self._finish(merge.ended.request_id, merged=not facts.rejected, journal={"outcome": "done", "update": facts})

    def _finish(self, request_id: int, *, merged: bool, journal: dict[str, Any]) -> None:
        request, _ = self._requests.pop(request_id)
        # a direction that failed is not asked for again and again; re-rolling or moving on does
        self.director.ended(request_id, is_settled=merged or journal["outcome"] in ("failed", "done"))
        self.world.add_journal(request, journal)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _run_commands(self, commands: Sequence[str]) -> None:
        for command in commands:
            if command == "undo":
                self.undo()
            elif command == "reroll":
                self.reroll()
            elif command == "home":
                self.rig.state = replace(
                    self.rig.state_of(self.world.info.world_T_start), is_flying=self.rig.state.is_flying
                )
            elif command == "fly":
                self.rig.state = replace(self.rig.state, is_flying=not self.rig.state.is_flying)

    def undo(self) -> bool:
        """Take back the last clip: its points and keyframes; its region waits until it is re-rolled.

        Returns:
            False if there is nothing to undo.
        """
        if not self._undo:
            return False
        last = self._undo.pop()
        report = self.world.memory.restore(last.memory)
        self.world.bank.restore(last.bank)
        self.queue.bump_epoch()
        for merge in self._merging:
            journal = {"outcome": "stale", "reason": "an earlier clip was undone"}
            self._finish(merge.ended.request_id, merged=False, journal=journal)
        self._merging.clear()
        for ended in self.queue.poll():
            self._receive(ended)
        self.director.hold(last.request_id)
        self.director.drop_tail(last.request_id)
        self.collision.merged(report.changed, self.rig.state)
        return True

    def reroll(self) -> int:
        """Generate the held regions anew, with other seeds; the number asked for."""
        plans = self.director.release_held()
        if self._recording is not None:
            return len(plans)  # the log's own requests follow
        for plan in plans:
            self._submit(plan)
        if self.is_waiting and plans:
            self._wait_for_all()
        return len(plans)

    # -- going back ---------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """This moment, to go back to: costs references. Only where the session waits for its clips.

        Raises:
            RuntimeError: It does not wait: what its worker process keeps cannot be seen.
        """
        self._check_open()
        return Checkpoint(
            memory=self.world.memory.snapshot(),
            bank=self.world.bank.snapshot(),
            walk=copy_walk(self.world.walk),
            rig=self.rig.state,
            rig_before=self._previous,
            fall_m_s=self.collision.fall_m_s,
            director=self.director.remember(),
            last_plan_tick=self._last_plan_tick,
            undo=tuple(self._undo),
            journal=tuple(self.world.journal),
            seed=self.seed,
            generator=self.queue.remember(),
            merged_clips=self.status.merged_clips,
            outcomes=tuple(self.status.outcomes.items()),
        )

    def restore(self, checkpoint: Checkpoint, *, seed: int | None = None) -> None:
        """Go back to a moment of this session; the same intents then give the same world and pictures again.

        Identities of requests and keyframes are given out anew, so the world must not have a file of its own.

        Args:
            checkpoint: From ``checkpoint`` of this session.
            seed: Of what is generated from now on; the checkpoint's if not given.

        Raises:
            RuntimeError: The session does not wait, or its world saves to a file.
        """
        self._check_open()
        if self.world.file is not None:
            raise RuntimeError("expected a world without a file of its own, it saves to one; go back in a fork of it")
        self.queue.recall(checkpoint.generator)
        changed = self.world.memory.restore(checkpoint.memory).changed
        self.world.bank = FrameBank(self.world.bank.max_bytes)  # a new one, whose identities begin where they were
        self.world.bank.restore(checkpoint.bank)
        self.world.walk = copy_walk(checkpoint.walk)
        self.world.journal[:] = checkpoint.journal
        self.rig.state, self._previous = checkpoint.rig, checkpoint.rig_before
        self.collision.merged(changed, self.rig.state)
        self.collision.fall_m_s = checkpoint.fall_m_s
        self.director.recall(checkpoint.director)
        self._last_plan_tick, self._undo = checkpoint.last_plan_tick, list(checkpoint.undo)
        self._requests.clear()
        self._merging.clear()
        self._looked, self._pace, self._predict = (0.0, 0.0), 1.0, None
        self.status.merged_clips, self.status.outcomes = checkpoint.merged_clips, dict(checkpoint.outcomes)
        self.seed = checkpoint.seed if seed is None else seed

    def set_prompt(self, prompt: str) -> None:
        """Words for the next clips."""
        self.world.walk.prompt = prompt

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("this session is closed; make a new one for the world")

    def close(self) -> None:
        """Stop generation and release what the session holds; safe to call twice. The world stays as it is."""
        if self._is_closed:
            return
        self._is_closed = True
        self.queue.close()
        self._background.shutdown(wait=True, cancel_futures=True)
        self.director.close()
        self.renderer.close()


def _reference(keyframe: Keyframe) -> ReferenceFrame:
    return ReferenceFrame(
        keyframe.color,
        keyframe.depth_m,
        keyframe.pinhole,
        keyframe.world_T_camera,
        keyframe.point_class is not PointClass.INVENTED,
        keyframe.keyframe_id,
    )
