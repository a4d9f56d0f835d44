"""The session: owns time and wires input, memory, generation and drawing together.

The order of a tick is ``TICK_ORDER``. Only the thread that calls ``tick`` changes the world; staging a merge and
planning run on one background thread unless the session waits for its clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..generator.queue import GenerationQueue
from ..generator.registry import check_generator_name
from ..input.intents import Intent
from ..renderer.interface import DrawOptions, Renderer
from ..renderer.software import SoftwareRenderer
from ..world.camera import Pinhole
from ..world.keyframes import BankSnapshot, FrameBank, Keyframe
from ..world.paging_plan import Viewpoint
from ..world.points import PointClass
from ..world.transforms import Transform, interpolate
from .checkpoint import Checkpoint, copy_walk
from .clips import ClipLoop
from .clock import Clock, WallClock
from .collision import Collision
from .director import Director, predict_along
from .metrics import Metrics
from .record import Recorder, Recording
from .rewind import MAX_MOMENTS, Rewinder
from .rig import CameraRig, RigState
from .world import World

TICK_ORDER = (
    "look: turn by the mouse's angle, never scaled by time",
    "rewind: where it is wished, go back instead of all that follows",
    "move: rig, collision, floor",
    "drain: poll the generator, apply staged merges",
    "plan: ask the director for the next clip",
    "record: write the tick to the log",
)
ROLLOUT_RATE_HZ = 24.0
DEFAULT_GENERATOR = "outpaint"
PLACE_GENERATOR = "procedural"
"""What pictures a procedural place where nothing else is asked for."""
TRACE_STEP_M = 0.10
LIVE_POINTS = 220_000
"""Points of a live picture in full detail: some 5 ms beside a generator."""
PAGING_TIMEOUT_S = 60.0
FINER_SHARE = 0.5
"""An invented keyframe is sampled if a pixel's footprint is below this share of a voxel."""


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


class Session:
    """One walk through one world.

    Args:
        world: The world; the session changes it, the caller saves it.
        generator: Name of the clip generator; the world's own if empty, see ``own_generator``.
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
        quality: How much work generators that can choose put into a clip: "draft", "balanced" or "best". Adapted to
            the speed that is measured unless the session waits. By default "best" where it waits, else "balanced".
        can_rewind: Whether to keep moments to go back to (``Intent.rewind``); if not given, where it does not wait.
    """

    def __init__(
        self,
        world: World,
        generator: str = "",
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
        quality: str = "",
        can_rewind: bool | None = None,
    ) -> None:
        generator = generator or own_generator(world)
        self.world = world
        self.generator = world.walk.generator = generator
        self.is_waiting = wait
        self.clock = clock or WallClock()
        self.tick_s = tick_s or (1.0 / ROLLOUT_RATE_HZ if wait else 1.0 / 60.0)
        self.renderer = renderer or SoftwareRenderer()
        self.metrics = Metrics()
        self.rig = CameraRig(world.walk.world_T_camera, world.info.up_world)
        self.rig.state = replace(self.rig.state, is_flying=world.walk.is_flying)
        self.collision = Collision(world)
        self.clips = ClipLoop(
            world,
            generator,
            seed=world.info.seed if seed is None else seed,
            wait=wait,
            tick_s=self.tick_s,
            pinhole=world.pinhole_for(size or world.default_size),
            clock=self.clock,
            metrics=self.metrics,
            prediction=self.prediction,
            on_changed=lambda keys: self.collision.merged(keys, self.rig.state),
            recorder=recorder,
            recording=recording,
            memory_limit=memory_limit,
            quality=quality or ("best" if wait else "balanced"),
        )
        self.status = self.clips.status
        self._recorder = recorder
        self._looked = (0.0, 0.0)
        self._pace = 1.0
        self._sampled_of: tuple[BankSnapshot | None, tuple[Keyframe, ...]] = (None, ())
        self._previous = self.rig.state
        self._predict: Callable[[float], Transform] | None = None
        self._is_closed = False
        keeps_moments = can_rewind or (can_rewind is None and not wait)
        max_moments = MAX_MOMENTS if keeps_moments else 0
        self.rewinder = Rewinder(self, recorder=recorder, recording=recording, max_moments=max_moments)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seed(self) -> int:
        """Of what is generated."""
        return self.clips.seed

    @property
    def queue(self) -> GenerationQueue:
        """Of the generator that is at work."""
        return self.clips.queue

    @property
    def director(self) -> Director:
        """Decides what is generated next."""
        return self.clips.director

    @property
    def pinhole(self) -> Pinhole:
        """The walker's camera, which frames are drawn with and clips planned for."""
        return self.clips.pinhole

    @pinhole.setter
    def pinhole(self, pinhole: Pinhole) -> None:
        self.clips.pinhole = pinhole

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
            self.clips.planner.plan_soon()
        self.world.walk.tick += 1
        if self.rewinder.tick(is_wished=intent.rewind):
            self.clips.drain()
            self._record(intent)
            return
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
        self._trace()
        self.clips.drain()
        self.clips.plan()
        self.keep_director()
        self.rewinder.note()
        self._record(intent)

    def _record(self, intent: Intent) -> None:
        walk = self.world.walk
        yaw, pitch = self._looked
        self._looked = (0.0, 0.0)
        if self._recorder is not None:
            whole = replace(intent, look_yaw_rad=yaw, look_pitch_rad=pitch)
            self._recorder.tick(walk.tick, whole, self._pace, walk.world_T_camera)

    def stand(self, state: RigState) -> None:
        """Be somewhere at once, without walking there."""
        walk = self.world.walk
        self._previous, self.rig.state = self.rig.state, replace(state, velocity=(0.0, 0.0, 0.0))
        self._predict, self.collision.fall_m_s = None, 0.0
        walk.world_T_camera, walk.is_flying = self.rig.world_T_camera, state.is_flying
        self.keep_director()

    def keep_director(self) -> None:
        """Keep with the world what the director goes on from."""
        walk, director = self.world.walk, self.director
        walk.settled, walk.held, walk.tails = director.settled, director.held, director.tails

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
        self._look_ahead(pose, pinhole)
        renderer.update(self.world.memory.to_draw(), self._sampled(), budget_s=budget_s, now_s=now_s)
        options = self._options(tint)
        if reuse and isinstance(renderer, SoftwareRenderer):
            view = renderer.render(pose, pinhole, options, reuse=True)
            words = renderer.rgba
            self.clips.planner.serve_photos(renderer)
        else:
            view, words = renderer.render(pose, pinhole, options), None
        if self.world.memory.pager is not None:
            self.world.memory.pager.drawn()
        return Frame(view.color, view.depth_m, view.coverage, pose, self.tick_count, words)

    def _look_ahead(self, world_T_camera: Transform, pinhole: Pinhole) -> None:
        """Tell the pager of a world on the disk what is needed; where it has brought everything, do without it."""
        pager = self.world.memory.pager
        if pager is None or self.world.memory.hold_all():
            return
        pager.look(Viewpoint(world_T_camera.copy(), pinhole, self.rig.state.velocity))
        if self.is_waiting:
            pager.wait(PAGING_TIMEOUT_S)  # simulated time waits for the disk, so that every run shows the same

    def wait_for_view(self, timeout_s: float) -> None:
        """Wait until what is in view was read from the disk, or for so long."""
        if self.world.memory.pager is not None:
            self.world.memory.pager.wait(timeout_s)

    def _sampled(self) -> tuple[Keyframe, ...]:
        """Keyframes whose pixels are finer than memory's voxels; sampling others costs time and shows no more."""
        bank = self.world.bank.snapshot()
        if bank is not self._sampled_of[0]:
            size_m = self.world.memory.voxel_size_m
            self._sampled_of = (bank, tuple(k for k in bank.keyframes if _is_finer(k, size_m)))
        return self._sampled_of[1]

    def _options(self, tint: bool) -> DrawOptions:
        floor = self.world.info.floor
        height = 1.6 if floor is None else abs(float(floor.height_m(np.asarray(self.rig.state.position))))
        tick = None if self.is_waiting else round(self.tick_count * self.tick_s * 60.0)
        return DrawOptions(
            tint=tint, fill=True, fade_tick=tick, up_world=self.world.info.up_world, floor_height_m=height,
            max_full_points=None if self.is_waiting else LIVE_POINTS,
        )  # fmt: skip

    def pose_between(self, fraction: float) -> Transform:
        """Pose between the last two ticks, for drawing."""
        return interpolate(self.rig.pose_of(self._previous), self.rig.world_T_camera, fraction)

    # -- generation ---------------------------------------------------------------------------------------------------

    def predict(self, seconds: float) -> Transform:
        """Pose in so many seconds if the walker goes on like this."""
        return self.prediction()(seconds)

    def prediction(self) -> Callable[[float], Transform]:
        """What ``predict`` would say now, for any thread and for later."""
        if self._predict is not None:
            return self._predict
        rig, now, before, tick_s = self.rig, self.rig.state, self._previous, self.tick_s

        def predict(seconds: float) -> Transform:
            rate = min(seconds, 1.2) / tick_s  # nobody turns on for long at the rate of a moment
            position = np.asarray(now.position) + np.asarray(now.velocity) * seconds
            ahead: RigState = replace(
                now,
                position=(float(position[0]), float(position[1]), float(position[2])),
                yaw_rad=now.yaw_rad + (now.yaw_rad - before.yaw_rad) * rate,
                pitch_rad=float(np.clip(now.pitch_rad + (now.pitch_rad - before.pitch_rad) * rate, -1.4, 1.4)),
            )
            return rig.pose_of(ahead)

        return predict

    # -- commands -----------------------------------------------------------------------------------------------------

    def _run_commands(self, commands: Sequence[str]) -> None:
        for command in commands:
            if command == "undo":
                self.clips.undo()
            elif command == "reroll":
                self.clips.reroll()
            elif command == "home":
                self.rig.state = replace(
                    self.rig.state_of(self.world.info.world_T_start), is_flying=self.rig.state.is_flying
                )
            elif command == "fly":
                self.rig.state = replace(self.rig.state, is_flying=not self.rig.state.is_flying)

    def undo(self) -> bool:
        """Take back the last clip; its region waits until it is re-rolled. False if there is nothing to undo."""
        return self.clips.undo()

    def reroll(self) -> int:
        """Generate undone regions anew, with other seeds; the number asked for."""
        return self.clips.reroll()

    def generate_ring(self, max_clips: int = 64) -> int:
        """Close the ring around the walker, waiting for every clip; the number of clips made."""
        return self.clips.generate_ring(max_clips)

    def await_clip(self, timeout_s: float) -> bool:
        """Wait until a clip ends; it is merged by the next tick. False if none ended in this time."""
        return self.clips.await_clip(timeout_s)

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
            last_plan_tick=self.clips.planner.last_plan_tick,
            undo=tuple(self.clips.undo_steps),
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
        self.clips.planner.last_plan_tick, self.clips.undo_steps = checkpoint.last_plan_tick, list(checkpoint.undo)
        self.clips.forget_pending()
        self._looked, self._pace, self._predict = (0.0, 0.0), 1.0, None
        self.rewinder.forget()
        self.status.merged_clips, self.status.outcomes = checkpoint.merged_clips, dict(checkpoint.outcomes)
        self.clips.seed = checkpoint.seed if seed is None else seed

    def mark_moving(self, place_world: tuple[float, float, float]) -> None:
        """Say that something moves at a place, world metres: the next clip that has it in view keeps it out of memory.

        Clips that show the whole view, with a segmenter to follow it; others pass over it.
        """
        self._check_open()
        self.clips.mark(place_world)

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
        self.clips.close()
        self.renderer.close()


def own_generator(world: World) -> str:
    """Name of the generator that a world goes on with: its last one but ``none``, its place's, or ``outpaint``."""
    last = "" if world.walk.generator == "none" else world.walk.generator
    if last:
        try:
            check_generator_name(last)
        except ValueError:
            last = ""  # not installed here
    return last or (PLACE_GENERATOR if world.info.place else DEFAULT_GENERATOR)


def _is_finer(keyframe: Keyframe, voxel_size_m: float) -> bool:
    """Whether a keyframe shows more than the points lifted from it: photos always, inventions by their footprint."""
    if keyframe.point_class is not PointClass.INVENTED or keyframe.depth_m is None:
        return True
    known = keyframe.depth_m[::8, ::8]
    known = known[known > 0]
    return len(known) == 0 or float(np.median(known)) / keyframe.pinhole.fx < FINER_SHARE * voxel_size_m
