"""The director: decides what to generate next.

It looks at how much of the way ahead memory covers, from the software renderer so that graphics drivers never change
a decision, and asks for what is missing: first ahead of the walker, then in a ring around.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..renderer.interface import DrawOptions
from ..renderer.photos import Photo, Wanted
from ..renderer.software import SoftwareRenderer
from ..world.camera import Pinhole
from ..world.memory import MemorySnapshot
from ..world.transforms import Transform, interpolate, invert, level_frame, look, rotation_angle_rad
from .settled import Settled, is_near, settle

LOOK_AHEAD_S = (0.0, 0.4, 0.9, 1.5, 2.2, 3.0)
MISSING_SHARE = 0.012
"""A view that lacks less than this share of its pixels is taken for known."""
COVERED = 0.5
METER_WIDTH = 128
MAX_KEY_VIEW_WIDTH = 832
KEY_VIEW_FOV_RAD = float(np.radians(72.0))
RING: tuple[tuple[float, int], ...] = ((0.0, 8), (float(np.radians(-42.0)), 6), (float(np.radians(42.0)), 6))
"""Pitch and number of directions of each level of the ring; with 72° of view they overlap."""
CLIP_FRAMES_FIRST = 81
CLIP_FRAMES_NEXT = 72
MAX_TAILS = 6
"""Tails that are kept: nine frames of 832x480 take 11 MB."""
MAX_TAIL_DISTANCE_M = 0.5
MAX_TAIL_ANGLE_RAD = float(np.radians(20.0))
RELEVANT_DISTANCE_M = 2.0
RELEVANT_ANGLE_RAD = float(np.radians(100.0))
CLIP_RATE_HZ = 24.0


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The last frames of a continuous clip, which a later round may go on from.

    Attributes:
        request_id: The clip.
        frames: (9, H, W, 3) uint8, read-only.
        world_T_camera: (9, 4, 4) their poses.
        is_early: Memory does not hold the clip yet; the poses are those asked for.
    """

    request_id: int
    frames: npt.NDArray[np.uint8]
    world_T_camera: npt.NDArray[np.float64]
    is_early: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ClipPlan:
    """What to ask a generator for.

    Attributes:
        world_T_camera: (F, 4, 4) poses.
        pinhole: Size and intrinsics of the frames.
        purpose: "way", "again" (where something moved in front), "ring", "reroll", or "round" of a path.
        missing_share: Share of pixels that memory lacks in the worst of the frames.
        tail: What the clip continues; its frames come before the plan's first pose. None in a first round.
        hidden: (H, W) bool, where something moved in the last frame that came; None before, or if that is not known.
        num_padded: The last so many poses only fill a round up to its length, see ``ClipRequest``.
    """

    world_T_camera: npt.NDArray[np.float64]
    pinhole: Pinhole
    purpose: str
    missing_share: float
    tail: Tail | None = None
    hidden: npt.NDArray[np.bool_] | None = None
    num_padded: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class DirectorState:
    """What a director remembers while nothing is pending; see its attributes."""

    settled: tuple[Settled, ...]
    held: tuple[Settled, ...]
    unmeasured: tuple[tuple[int, ClipPlan], ...]
    coverage_ahead: float
    tails: tuple[Tail, ...] = ()


@dataclass(slots=True)
class CoverageMeter:
    """Measures how much of a view memory lacks, at a small size.

    Attributes:
        min_priority: Points below count as missing (what a placeholder invented, for a better generator).
    """

    min_priority: int
    _renderer: SoftwareRenderer = field(default_factory=lambda: SoftwareRenderer(finest_level=1))

    def update(self, snapshot: MemorySnapshot) -> None:
        """Take over what changed in memory."""
        self._renderer.update(snapshot)

    def missing(self, world_T_camera: Transform, pinhole: Pinhole) -> npt.NDArray[np.bool_]:
        """(h, w) bool at ``METER_WIDTH``, True where memory lacks surface."""
        small = pinhole.resized(METER_WIDTH, max(8, round(METER_WIDTH * pinhole.height / pinhole.width)))
        options = DrawOptions(use_keyframes=False, min_priority=self.min_priority)
        return self._renderer.render(world_T_camera, small, options).coverage < COVERED

    def make_photos(self, wanted: Sequence[Wanted]) -> list[Photo]:
        """Unpack photos of keyframes, their unknown depth completed from memory."""
        return self._renderer.make_photos(wanted)

    def close(self) -> None:
        """Release the renderer."""
        self._renderer.close()


class Director:
    """Plans the next clips.

    ``plan`` may run on a background thread, one call at a time, beside the other methods on the session's thread: what
    they share is replaced, never changed in place.

    Args:
        wants_key_views: True for generators that fill single views, False for those that make continuous clips.
        native_speed: Fastest motion that the generator was trained for (m/s, rad/s), or None.
        min_priority: What counts as covered.
        up_world: Direction away from gravity.
        picture_width: Pixels across the walker's picture; key views are made as fine.
    """

    def __init__(
        self,
        *,
        wants_key_views: bool,
        native_speed: tuple[float, float] | None,
        min_priority: int,
        up_world: tuple[float, float, float],
        picture_width: int = MAX_KEY_VIEW_WIDTH,
    ) -> None:
        self._key_pinhole = key_view_pinhole(picture_width)
        self.wants_key_views = wants_key_views
        self._native_speed = native_speed
        self._world_R_level = level_frame(up_world)
        self._meter = CoverageMeter(min_priority)
        self.settled: list[Settled] = []
        self.pending: dict[int, ClipPlan] = {}
        self._unmeasured: tuple[tuple[int, ClipPlan], ...] = ()
        self.held: list[Settled] = []
        self.tails: list[Tail] = []
        self.early: Tail | None = None
        """End of the clip that is not merged yet, if its frames are there; never saved."""
        self.coverage_ahead = 1.0

    def plan(
        self,
        snapshot: MemorySnapshot,
        pinhole: Pinhole,
        predict: Callable[[float], Transform],
        *,
        ring: bool = True,
        now_s: float = 0.0,
    ) -> ClipPlan | None:
        """Find what is most needed now.

        Args:
            snapshot: Memory.
            pinhole: The walker's view.
            predict: Pose in so many seconds, if the walker goes on like this.
            ring: Also close the ring around the walker when nothing lacks ahead.
            now_s: Simulated time: what something that moved had hidden is asked for again after a while.

        Returns:
            A plan, or None if all that can be known nearby is known or asked for.
        """
        self._meter.update(snapshot)
        self._measure_settled(now_s)
        if not self.wants_key_views:
            return self._plan_clip(pinhole, predict, now_s)
        plan = self._plan_way(pinhole, predict, now_s) or self._plan_again(predict, now_s)
        return plan or (self._plan_ring(predict(0.0), now_s) if ring else None)

    def _plan_way(self, pinhole: Pinhole, predict: Callable[[float], Transform], now_s: float) -> ClipPlan | None:
        worst = 0.0
        for ahead_s in LOOK_AHEAD_S:
            pose = predict(ahead_s)
            missing = self._meter.missing(pose, pinhole)
            share = float(missing.mean())
            worst = max(worst, share)
            if share <= MISSING_SHARE:
                continue
            aimed = _aim(pose, pinhole, missing)
            there = float(self._meter.missing(aimed, self._key_pinhole).mean())  # by the view that settles it
            if self._is_open(aimed, min(share, there), now_s):
                self.coverage_ahead = 1.0 - worst
                return ClipPlan(aimed[None], self._key_pinhole, "way", share)
        self.coverage_ahead = 1.0 - worst
        return None

    def _plan_again(self, predict: Callable[[float], Transform], now_s: float) -> ClipPlan | None:
        """A view near by in which something that moved had hidden what memory still lacks."""
        for seen in [s for s in self.settled if s.again_s <= now_s]:
            plan = ClipPlan(seen.world_T_camera[None], self._key_pinhole, "again", seen.missing_share)
            if not self.is_relevant(plan, predict):
                continue
            share = float(self._meter.missing(seen.world_T_camera, self._key_pinhole).mean())
            if seen.explains(share, now_s):  # other views have shown it in the meantime
                self.settled = [s.without_hidden() if s is seen else s for s in self.settled]
            elif self._is_open(seen.world_T_camera, share, now_s):
                return replace(plan, missing_share=share)
        return None

    def _plan_ring(self, world_T_camera: Transform, now_s: float) -> ClipPlan | None:
        pinhole = self._key_pinhole
        forward = self._world_R_level.T @ world_T_camera[:3, 2]
        heading = float(np.arctan2(forward[0], forward[2]))
        for pitch, num_directions in RING:
            for step in _nearest_first(num_directions):
                yaw = heading + step * 2 * np.pi / num_directions
                pose = look(world_T_camera[:3, 3], yaw, pitch, self._world_R_level)
                if any(is_near(pose, p.world_T_camera[-1]) for p in self.pending.values()):
                    continue
                missing = self._meter.missing(pose, pinhole)
                share = float(missing.mean())
                if share > MISSING_SHARE and self._is_open(pose, share, now_s):
                    return ClipPlan(pose[None], pinhole, "ring", share)
        return None

    def _plan_clip(self, pinhole: Pinhole, predict: Callable[[float], Transform], now_s: float) -> ClipPlan | None:
        tail, ahead_s = self._tail_ahead(predict)
        if tail is None:
            poses = retimed_path(predict, CLIP_FRAMES_FIRST, self._native_speed)
        else:
            ahead = joined(tail.world_T_camera[-1], lambda seconds: predict(ahead_s + seconds))
            poses = retimed_path(ahead, CLIP_FRAMES_NEXT + 1, self._native_speed)[1:]
        shares = [float(self._meter.missing(pose, pinhole).mean()) for pose in poses[:: len(poses) // 5]]
        self.coverage_ahead = 1.0 - max(shares)
        if max(shares) <= MISSING_SHARE or not self._is_open(poses[-1], max(shares), now_s):
            return None
        return ClipPlan(poses, pinhole, "way", max(shares), tail)

    def _tail_ahead(self, predict: Callable[[float], Transform]) -> tuple[Tail | None, float]:
        """The tail to go on from, and in how many seconds the walker is at its end.

        A clip that is not merged yet is still ahead of the walker; the others must end where he is.
        """
        early = self.early
        if early is not None:
            for ahead_s in LOOK_AHEAD_S:
                if _nearest_tail([early], predict(ahead_s)) is not None:
                    return early, ahead_s
        return _nearest_tail(self.tails, predict(0.0)), 0.0

    def keep_tail(self, tail: Tail) -> None:
        """Remember where a clip ended; the oldest of more than ``MAX_TAILS`` is forgotten."""
        self.tails = [*self.tails, tail][-MAX_TAILS:]

    def drop_tail(self, request_id: int) -> None:
        """Forget the tail of an undone clip."""
        self.tails = [t for t in self.tails if t.request_id != request_id]

    def is_relevant(self, plan: ClipPlan, predict: Callable[[float], Transform]) -> bool:
        """Whether the walker will soon be near what a plan shows."""
        goal = plan.world_T_camera[-1]
        for ahead_s in LOOK_AHEAD_S:
            goal_T_camera = invert(goal) @ predict(ahead_s)
            is_close = np.linalg.norm(goal_T_camera[:3, 3]) < RELEVANT_DISTANCE_M
            if is_close and rotation_angle_rad(goal_T_camera) < RELEVANT_ANGLE_RAD:
                return True
        return False

    def _is_open(self, pose: Transform, missing_share: float, now_s: float) -> bool:
        if any(is_near(pose, p.world_T_camera[-1]) for p in self.pending.values()):
            return False
        if any(held.is_near(pose) for held in self.held):
            return False
        return not any(s.explains(missing_share, now_s) for s in self.settled if s.is_near(pose))

    def submitted(self, request_id: int, plan: ClipPlan) -> None:
        """Remember that a plan is being generated."""
        self.pending = {**self.pending, request_id: plan}

    def ended(self, request_id: int, *, is_settled: bool, hidden: npt.NDArray[np.bool_] | None = None) -> None:
        """A request ended.

        Args:
            request_id: The request.
            is_settled: Its direction is settled with what it left missing (measured at the next plan); otherwise it may
                be asked for again.
            hidden: (H, W) bool, where something moved in its last frame: asked for again after a while, some times.
        """
        plan = self.pending.get(request_id)
        self.pending = {k: v for k, v in self.pending.items() if k != request_id}
        if plan is not None and is_settled:
            self._unmeasured = (*self._unmeasured, (request_id, replace(plan, hidden=hidden)))

    def _measure_settled(self, now_s: float) -> None:
        """Find out what the clips that ended since the last plan left missing."""
        measured, self._unmeasured = self._unmeasured, ()
        for request_id, plan in measured:
            pose = plan.world_T_camera[-1]
            missing = self._meter.missing(pose, plan.pinhole)
            self.settled = settle(self.settled, request_id, pose, missing, plan.hidden, now_s=now_s)

    def hold(self, request_id: int) -> None:
        """An undone request's region waits until it is re-rolled."""
        undone = [s for s in self.settled if s.request_id == request_id]
        undone += [Settled(i, p.world_T_camera[-1], 1.0) for i, p in self._unmeasured if i == request_id]
        self.held = [*self.held, *undone]
        self.settled = [s for s in self.settled if s.request_id != request_id]
        self._unmeasured = tuple(u for u in self._unmeasured if u[0] != request_id)

    def release_held(self) -> list[ClipPlan]:
        """Plans that generate the held regions anew."""
        plans = [ClipPlan(h.world_T_camera[None], self._key_pinhole, "reroll", h.missing_share) for h in self.held]
        self.held = []
        return plans

    def make_photos(self, snapshot: MemorySnapshot, wanted: Sequence[Wanted]) -> list[Photo]:
        """Unpack photos for the renderer of the walk; on the thread that plans."""
        self._meter.update(snapshot)
        return self._meter.make_photos(wanted)

    def remember(self) -> DirectorState:
        """What it goes on from, by reference."""
        return DirectorState(
            tuple(self.settled), tuple(self.held), self._unmeasured, self.coverage_ahead, tuple(self.tails)
        )

    def recall(self, state: DirectorState) -> None:
        """Go back to what ``remember`` gave; what is pending is forgotten."""
        self.settled, self.held = list(state.settled), list(state.held)
        self.pending, self._unmeasured, self.coverage_ahead = {}, state.unmeasured, state.coverage_ahead
        self.tails, self.early = list(state.tails), None

    def close(self) -> None:
        """Release the meter."""
        self._meter.close()


def _nearest_tail(tails: Sequence[Tail], world_T_camera: Transform) -> Tail | None:
    """The tail whose end is nearest to a pose, within 0.5 m and 20°."""
    best, least = None, MAX_TAIL_DISTANCE_M
    for tail in tails:
        end_T_camera = invert(tail.world_T_camera[-1]) @ world_T_camera
        distance = float(np.linalg.norm(end_T_camera[:3, 3]))
        if distance <= least and rotation_angle_rad(end_T_camera) <= MAX_TAIL_ANGLE_RAD:
            best, least = tail, distance
    return best


def key_view_pinhole(width: int) -> Pinhole:
    """Camera of the key views that single-view generators fill, as fine as a picture of so many pixels' width."""
    width = max(16, min(MAX_KEY_VIEW_WIDTH, width // 4 * 4))
    return Pinhole.from_fov(width, width * 3 // 4, KEY_VIEW_FOV_RAD)


def retimed_path(
    predict: Callable[[float], Transform], num_frames: int, native_speed: tuple[float, float] | None
) -> npt.NDArray[np.float64]:
    """Poses of a clip along the predicted way, slowed to what the generator was trained for.

    Args:
        predict: Pose in so many seconds.
        num_frames: Frames at 24 a second.
        native_speed: (m/s, rad/s) not to be exceeded, or None.

    Returns:
        (num_frames, 4, 4) float64.
    """
    duration_s = (num_frames - 1) / CLIP_RATE_HZ
    slow = 1.0
    if native_speed is not None:
        times = np.linspace(0.0, duration_s, 15)
        poses = [predict(float(t)) for t in times]
        pairs = list(pairwise(poses))
        step_s = float(times[1])
        metres = max(float(np.linalg.norm(b[:3, 3] - a[:3, 3])) for a, b in pairs) / step_s
        radians = max(rotation_angle_rad(invert(a) @ b) for a, b in pairs) / step_s
        slow = min(1.0, native_speed[0] / max(metres, 1e-9), native_speed[1] / max(radians, 1e-9))
    return np.stack([predict(i / CLIP_RATE_HZ * slow) for i in range(num_frames)])


def joined(world_T_start: Transform, predict: Callable[[float], Transform]) -> Callable[[float], Transform]:
    """A prediction that starts at a pose and flows into another prediction within a second."""

    def blended(seconds: float) -> Transform:
        return interpolate(world_T_start, predict(seconds), min(1.0, max(0.0, seconds)))

    return blended


def predict_along(poses: Sequence[Transform], rate_hz: float) -> Callable[[float], Transform]:
    """A prediction for a path that is known: the pose so many seconds after its first, the last one at its end."""

    def predict(seconds: float) -> Transform:
        at = min(max(seconds, 0.0) * rate_hz, len(poses) - 1)
        i = min(int(at), len(poses) - 2)
        return poses[0] if len(poses) == 1 else interpolate(poses[i], poses[i + 1], at - i)

    return predict


def _aim(world_T_camera: Transform, pinhole: Pinhole, missing: npt.NDArray[np.bool_]) -> Transform:
    """Turn the camera towards what lacks, so that the key view holds it and a margin beyond."""
    rows, columns = np.nonzero(missing)
    u = (columns.mean() + 0.5) / missing.shape[1] * pinhole.width
    v = (rows.mean() + 0.5) / missing.shape[0] * pinhole.height
    yaw = float(np.arctan((u - pinhole.cx) / pinhole.fx)) * 0.8
    pitch = float(-np.arctan((v - pinhole.cy) / pinhole.fy)) * 0.8
    turned = world_T_camera.copy()
    turned[:3, :3] = world_T_camera[:3, :3] @ look((0, 0, 0), yaw, pitch)[:3, :3]
    return turned


def _nearest_first(num_steps: int) -> list[int]:
    """0, 1, -1, 2, -2, … so that both sides grow alternately."""
    order = [0]
    for i in range(1, num_steps // 2 + 1):
        order += [i, -i] if 2 * i != num_steps else [i]
    return order
