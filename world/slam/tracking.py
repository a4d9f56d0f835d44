"""Where each frame of an RGB-D recording was taken, found from its pictures and depth alone.

A frame is matched against stored keyframes by corners, which finds it from anywhere and is not drawn along by what
moves; then it is laid on the surface that the frames before gave, point to plane, which keeps it from drifting. A frame
that fits neither is lost; the next ones look for their place among all keyframes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import SpatialMemory
from ..points import PointClass, priority_of
from ..snapshot import MemorySnapshot
from ..transforms import Transform, invert, rotation_angle_rad
from .alignment import Alignment, align_to_memory
from .features import Corners, RelativePose, depth_at, find_corners, match_corners, solve_pose
from .given import clean_depth, depth_confidence, find_flying
from .lift import lift_pixels

KEY_DISTANCE_M, KEY_ANGLE_RAD = 0.2, float(np.deg2rad(12.0))
KEY_INLIER_SHARE = 0.45
"""A new keyframe is stored this far from the last one, or once so few of its corners are found again."""
RECENT_KEYFRAMES = 3
"""So many keyframes, the nearest ones, are matched before all are."""
GOOD_INLIERS = 80
"""With so many, no further keyframe is tried."""
MAX_HYPOTHESES = 3
SAME_POSE_M, SAME_POSE_RAD = 0.02, float(np.deg2rad(1.0))
"""Poses that differ by less are one hypothesis."""
SURE_INLIERS = 30
"""A frame that was lost comes back only with so many."""
REFINED_TRANSLATION_M, REFINED_ROTATION_RAD = 0.1, float(np.deg2rad(4.0))
"""What the surface may correct of the pose that the corners give."""
GUESSED_TRANSLATION_M, GUESSED_ROTATION_RAD = 0.1, float(np.deg2rad(5.0))
"""What it may correct where there are no corners, from the motion before; only if it fits well."""
GUESSED_OVERLAP, GUESSED_RESIDUAL = 0.5, 0.012
MAX_SPEED_M, MAX_TURN_RAD = 0.75, float(np.deg2rad(50.0))
"""Motion from one frame to the next beyond which a weakly supported pose is not believed."""
MODEL_VOXEL_M = 0.015
MODEL_RANGE_M = 5.0
MODEL_STRIDE = 2
MAX_RELOCALISATIONS = 40
"""Keyframes that a lost frame is matched against, spread evenly over all."""


class RgbdFrame(Protocol):
    """What is tracked: a picture with its depth."""

    @property
    def color(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB."""
        ...

    @property
    def depth_m(self) -> npt.NDArray[np.float32] | None:
        """(H, W) float32 metres, 0 unknown."""
        ...

    @property
    def pinhole(self) -> Pinhole:
        """Intrinsics of both."""
        ...

    @property
    def moving(self) -> npt.NDArray[np.bool_] | None:
        """(H, W) bool, True where something moves, or None."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrackedPose:
    """Where a frame stands, or why that is not known.

    Attributes:
        world_T_camera: (4, 4) float64; the last known pose where the frame is lost.
        lost: Why it is lost; empty if it is not.
        num_inliers: Corners that agree with the pose.
        residual: Median relative depth error against the model; NaN if the frame overlaps nothing.
        keyframe_index: Frame that it was matched against; -1 for none.
        is_keyframe: Whether it was stored itself.
        is_relocalised: Whether it was found again after frames that were lost.
        tracks: (N, 2, 2) float32, where the corners that agree lie in that frame and in this one, (x, y) each.
    """

    world_T_camera: Transform
    lost: str = ""
    num_inliers: int = 0
    residual: float = float("nan")
    keyframe_index: int = -1
    is_keyframe: bool = False
    is_relocalised: bool = False
    tracks: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2, 2), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """A tracked recording.

    Attributes:
        poses: One for each frame, in order.
    """

    poses: tuple[TrackedPose, ...]

    @property
    def world_T_camera(self) -> npt.NDArray[np.float64]:
        """(F, 4, 4) float64; lost frames repeat the pose before."""
        return np.stack([p.world_T_camera for p in self.poses])

    @property
    def is_tracked(self) -> npt.NDArray[np.bool_]:
        """(F,) bool."""
        return np.array([not p.lost for p in self.poses])

    def scaled(self, factor: float) -> "Trajectory":
        """The same with all lengths times a factor."""
        if factor == 1.0:
            return self
        size = np.ones((4, 4))
        size[:3, 3] = factor
        return replace(self, poses=tuple(replace(p, world_T_camera=p.world_T_camera * size) for p in self.poses))

    def summary(self) -> dict[str, float]:
        """Named figures: frames, how many were lost, found again and stored, typical inliers and residual."""
        tracked = [p for p in self.poses if not p.lost]
        residuals = [p.residual for p in tracked if np.isfinite(p.residual)]
        return {
            "frames": float(len(self.poses)),
            "lost": float(len(self.poses) - len(tracked)),
            "relocalised": float(sum(p.is_relocalised for p in tracked)),
            "keyframes": float(sum(p.is_keyframe for p in tracked)),
            "median_inliers": float(np.median([p.num_inliers for p in tracked])) if tracked else 0.0,
            "median_residual": float(np.median(residuals)) if residuals else float("nan"),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _StoredFrame:
    index: int
    corners: Corners
    z: npt.NDArray[np.float32]
    world_T_camera: Transform


@dataclass(frozen=True, slots=True, eq=False)
class _Match:
    stored: _StoredFrame
    relative: RelativePose
    tracks: npt.NDArray[np.float32]

    @property
    def world_T_camera(self) -> Transform:
        return self.stored.world_T_camera @ self.relative.a_T_b


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    index: int
    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    corners: Corners
    pinhole: Pinhole


class Tracker:
    """Follows an RGB-D camera frame by frame; owns its keyframes and a coarse model. Used by one thread.

    Args:
        model: Surface to start from, as that of a world that is continued; empty if not given.
    """

    def __init__(self, model: MemorySnapshot | None = None) -> None:
        self._model = SpatialMemory(MODEL_VOXEL_M if model is None else model.voxel_size_m)
        if model is not None:
            self._model.restore(model)
        self._stored: list[_StoredFrame] = []
        self._poses: list[TrackedPose] = []
        self._previous: _StoredFrame | None = None

    @property
    def trajectory(self) -> Trajectory:
        """What was tracked so far."""
        return Trajectory(tuple(self._poses))

    def add_keyframe(self, frame: RgbdFrame, world_T_camera: Transform) -> None:
        """Store a frame whose pose is known, such as a world's keyframe, as something to match against."""
        self._store(_prepare(frame, -1), world_T_camera)

    def track(self, frame: RgbdFrame) -> TrackedPose:
        """Find the next frame's pose.

        Raises:
            ValueError: The frame has no depth.
        """
        current = _prepare(frame, len(self._poses))
        pose = self._first(current) if not self._stored else self._find(current)
        if not pose.lost and self._is_worth_storing(pose, current):
            self._store(current, pose.world_T_camera)
            pose = replace(pose, is_keyframe=True)
        self._poses.append(pose)
        self._previous = None if pose.lost else _stored(current, pose.world_T_camera)
        return pose

    def _first(self, frame: _Frame) -> TrackedPose:
        """The first frame with corners and depth is the world's camera."""
        known = float((frame.depth_m > 0).mean())
        if known < 0.05 or len(frame.corners) < 2 * SURE_INLIERS:
            return TrackedPose(np.eye(4), "nothing to start from: too little depth or texture")
        return TrackedPose(np.eye(4))

    def _find(self, frame: _Frame) -> TrackedPose:
        was_lost = bool(self._poses) and bool(self._poses[-1].lost)
        guess = self._predict()
        matches = self._matches(frame, guess, everywhere=was_lost)
        if not matches:
            return self._by_surface(frame, guess, was_lost=was_lost)
        match, fit = self._best_fit(frame, matches)
        if was_lost and match.relative.num_inliers < SURE_INLIERS:
            return self._lost(f"found again by {match.relative.num_inliers} corners only, needs {SURE_INLIERS}")
        reason = self._why_not(match, fit, was_lost=was_lost)
        if reason:
            return self._lost(reason)
        inliers, index = match.relative.num_inliers, match.stored.index
        pose = TrackedPose(fit.world_T_camera, "", inliers, fit.residual, index, is_relocalised=was_lost)
        return replace(pose, tracks=match.tracks)

    def _best_fit(self, frame: _Frame, matches: list[_Match]) -> tuple[_Match, Alignment]:
        """Lay the frame on the model from each match's pose, unless they agree; the closest fit wins."""
        best = None
        for match in matches:
            if best is not None and _is_near(best[1].world_T_camera, match.world_T_camera):
                continue
            fit = self._align(frame, match.world_T_camera, REFINED_TRANSLATION_M, REFINED_ROTATION_RAD)
            if fit.rejected.startswith("does not fit memory: it would"):
                fit = replace(fit, world_T_camera=match.world_T_camera)
            if best is None or _misfit(fit) < _misfit(best[1]):
                best = match, fit
        assert best is not None, "there is at least one match"
        return best

    def _why_not(self, match: _Match, fit: Alignment, *, was_lost: bool) -> str:
        """Why a pose is not believed; empty if it is."""
        if fit.rejected.startswith("does not fit memory: median"):
            return fit.rejected
        if was_lost or not self._poses or match.relative.num_inliers >= GOOD_INLIERS:
            return ""
        step = invert(self._last_pose()) @ fit.world_T_camera
        if np.linalg.norm(step[:3, 3]) > MAX_SPEED_M or rotation_angle_rad(step) > MAX_TURN_RAD:
            return f"jumped by {np.linalg.norm(step[:3, 3]):.2f} m on {match.relative.num_inliers} corners"
        return ""

    def _by_surface(self, frame: _Frame, guess: Transform, *, was_lost: bool) -> TrackedPose:
        """Without corners only the surface is left; it is believed where it fits closely and little was corrected."""
        if was_lost or not (frame.depth_m > 0).any():
            return self._lost("no keyframe shares enough corners" if was_lost else "too few corners, and no depth")
        fit = self._align(frame, guess, GUESSED_TRANSLATION_M, GUESSED_ROTATION_RAD)
        if fit.rejected:
            return self._lost(f"too few corners; {fit.rejected}")
        if fit.overlap_share < GUESSED_OVERLAP or not fit.residual < GUESSED_RESIDUAL:
            return self._lost(f"too few corners, and the surface fits to {fit.residual:.3f} only")
        return TrackedPose(fit.world_T_camera, "", 0, fit.residual)

    def _lost(self, reason: str) -> TrackedPose:
        return TrackedPose(self._last_pose(), reason)

    def _last_pose(self) -> Transform:
        return self._poses[-1].world_T_camera.copy() if self._poses else self._stored[-1].world_T_camera.copy()

    def _predict(self) -> Transform:
        """The pose at unchanged velocity."""
        if len(self._poses) < 2 or self._poses[-1].lost or self._poses[-2].lost:
            return self._last_pose()
        before, last = self._poses[-2].world_T_camera, self._poses[-1].world_T_camera
        return last @ invert(before) @ last

    def _matches(self, frame: _Frame, guess: Transform, *, everywhere: bool) -> list[_Match]:
        """Poses by keyframes near by and by the frame before, best first; by all keyframes if nothing else helps."""
        found = []
        for stored in self._candidates(guess, everywhere=everywhere):
            match = _match(stored, frame)
            if match is not None:
                found.append(match)
            if match is not None and match.relative.num_inliers >= GOOD_INLIERS:
                break
        if self._previous is not None and all(m.stored.index != self._previous.index for m in found):
            match = _match(self._previous, frame)
            found += [] if match is None else [match]
        if not found and not everywhere:
            return self._matches(frame, guess, everywhere=True)
        return sorted(found, key=lambda m: -m.relative.num_inliers)[:MAX_HYPOTHESES]

    def _candidates(self, guess: Transform, *, everywhere: bool) -> list[_StoredFrame]:
        ranked = sorted(self._stored, key=lambda s: _farness(s.world_T_camera, guess))
        near = [self._stored[-1], *(s for s in ranked[:RECENT_KEYFRAMES] if s is not self._stored[-1])]
        if not everywhere:
            return near
        rest = [s for s in ranked if all(s is not n for n in near)]
        step = max(1, -(-len(rest) // MAX_RELOCALISATIONS))
        return [*near, *rest[::step]]

    def _align(self, frame: _Frame, pose: Transform, max_translation_m: float, max_rotation_rad: float) -> Alignment:
        return align_to_memory(
            frame.depth_m,
            frame.confidence,
            frame.pinhole,
            pose,
            self._model.snapshot(),
            max_translation_m=max_translation_m,
            max_rotation_rad=max_rotation_rad,
            keep_close=False,
        )

    def _is_worth_storing(self, pose: TrackedPose, frame: _Frame) -> bool:
        if not self._stored:
            return True
        if len(frame.corners) < 2 * SURE_INLIERS or pose.num_inliers == 0:
            return False
        nearest = min(self._stored, key=lambda s: _farness(s.world_T_camera, pose.world_T_camera))
        step = invert(nearest.world_T_camera) @ pose.world_T_camera
        is_far = np.linalg.norm(step[:3, 3]) > KEY_DISTANCE_M or rotation_angle_rad(step) > KEY_ANGLE_RAD
        return bool(is_far or pose.num_inliers < KEY_INLIER_SHARE * GOOD_INLIERS)

    def _store(self, frame: _Frame, world_T_camera: Transform) -> None:
        self._stored.append(_stored(frame, world_T_camera))
        use = np.zeros(frame.depth_m.shape, bool)
        use[::MODEL_STRIDE, ::MODEL_STRIDE] = True
        use &= (frame.depth_m < MODEL_RANGE_M) & (frame.confidence > 0)
        self._model.insert(
            lift_pixels(
                frame.color,
                frame.depth_m,
                frame.confidence,
                use=use,
                pinhole=frame.pinhole,
                world_T_camera=world_T_camera,
                priority=priority_of(PointClass.OBSERVED),
                keyframe_id=max(frame.index, 0) + 1,
                max_points=use.size,
            )
        )


def track_recording(
    frames: Sequence[RgbdFrame],
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Trajectory:
    """Find the poses of an RGB-D recording's frames; the world is the first frame's camera.

    Args:
        frames: In the order of recording; each is read once.
        progress: Called with what is going on and the share that is done.

    Raises:
        ValueError: A frame has no depth.
    """
    tracker = Tracker()
    for k in range(len(frames)):
        if progress is not None:
            progress("tracking frames", k / len(frames))
        tracker.track(frames[k])
    return tracker.trajectory


def _prepare(frame: RgbdFrame, index: int) -> _Frame:
    if frame.depth_m is None:
        raise ValueError("tracking: expected frames with depth, got one without; colour alone has no scale")
    depth = clean_depth(frame.depth_m)
    depth = np.where(find_flying(depth), np.float32(0), depth)
    if frame.moving is not None:
        depth = np.where(frame.moving, np.float32(0), depth)
    confidence = depth_confidence(depth, frame.pinhole)
    corners = find_corners(frame.color, frame.moving)
    return _Frame(index, frame.color, depth, confidence, corners, frame.pinhole)


def _stored(frame: _Frame, world_T_camera: Transform) -> _StoredFrame:
    z = depth_at(frame.depth_m, frame.corners.pixels)
    return _StoredFrame(frame.index, frame.corners, z, world_T_camera.copy())


def _misfit(fit: Alignment) -> float:
    """How badly a frame lies on the model: its residual, and how little of the overlap is the same surface."""
    if not np.isfinite(fit.residual):
        return 1.0
    return (
        fit.residual
        + 0.05 * (1.0 - fit.covisible_share / max(fit.overlap_share, 1e-6))
        + (1.0 if fit.rejected else 0.0)
    )


def _is_near(world_T_a: Transform, world_T_b: Transform) -> bool:
    step = invert(world_T_a) @ world_T_b
    return bool(np.linalg.norm(step[:3, 3]) < SAME_POSE_M and rotation_angle_rad(step) < SAME_POSE_RAD)


def _match(stored: _StoredFrame, frame: _Frame) -> _Match | None:
    pairs = match_corners(stored.corners, frame.corners)
    if len(pairs) == 0:
        return None
    a, b = stored.corners.pixels[pairs[:, 0]], frame.corners.pixels[pairs[:, 1]]
    relative = solve_pose(a, stored.z[pairs[:, 0]], frame.pinhole, b, frame.pinhole)
    if relative is None:
        return None
    return _Match(stored, relative, np.stack([a, b], axis=1)[relative.inliers])


def _farness(world_T_a: Transform, world_T_b: Transform) -> float:
    """Distance of two poses, 1 rad counted as 2 m: at 2 m, as much of the picture changes."""
    step = invert(world_T_a) @ world_T_b
    return float(np.linalg.norm(step[:3, 3]) + 2.0 * rotation_angle_rad(step))
