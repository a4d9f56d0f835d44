"""Structure from motion: where each picture of a video or folder was taken, from the pictures alone.

Two pictures that a camera's motion sets apart give a first piece of structure; further ones are placed by the points
that they show of it (perspective-n-point), and add points themselves. All poses and depths are then adjusted together,
also by what is seen again later. Lengths come in a unit of their own, the median depth being about two of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import Transform, apply, invert, rotation_angle_rad
from .bundle import Link, PosePrior, adjust, match_epipolar, rays_of, triangulate
from .features import Corners, find_blobs, solve_pose_of_points
from .tracking import TrackedPose, Trajectory
from .two_views import TwoViews, relate

NUM_BLOBS = 1500
MEDIAN_DEPTH = 2.0
"""Depth of the first piece of structure in the unit that lengths come in: what is tuned for rooms in metres fits it."""
MIN_FLOW_PX_AT_640 = 5.0
"""The first two pictures must differ by so much that turning does not explain."""
MIN_FIRST_POINTS = 60
MIN_RELIEF, GOOD_RELIEF = 0.05, 0.3
"""So much of what they share must stand out of the plane that most of it lies on."""
GOOD_FLOW_PX_AT_640 = 14.0
START_REACH, START_TRIES = 12, 24
"""The second of the first two is looked for among so many that follow, from so many places of the recording."""
NEAR_FRAMES = 4
"""A frame is placed by this many that are placed already, the nearest in time."""
ANYWHERE_FRAMES = 16
"""The same for one that these do not place: spread over all."""
MIN_INLIERS = 25
LOCAL_EVERY, LOCAL_FRAMES = 5, 10
"""After so many placed frames the last ones are adjusted, so that errors do not grow."""
LOOSE = PosePrior(0.3, float(np.deg2rad(10.0)))
LOCAL_STEPS, GLOBAL_STEPS = 6, 12
SAME_VIEW_RAD, SAME_VIEW_DEPTHS = float(np.deg2rad(25.0)), 0.5
MAX_REVISITS, MIN_REVISIT_MATCHES, REVISIT_AFTER = 3, 40, 8

Progress = Callable[[str, float], None]


class ColorFrame(Protocol):
    """What is placed: a picture with its camera."""

    @property
    def color(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB."""
        ...

    @property
    def pinhole(self) -> Pinhole:
        """Intrinsics; the same for all pictures."""
        ...

    @property
    def moving(self) -> npt.NDArray[np.bool_] | None:
        """(H, W) bool, True where something moves, or None."""
        ...


def track_pictures(frames: Sequence[ColorFrame], *, progress: Progress | None = None) -> Trajectory:
    """Find the poses of pictures without depth, up to scale; the world is the first placed one's camera.

    Args:
        frames: In the order of recording; each is read once. All have the first one's intrinsics.
        progress: Called with what is going on and the share that is done.

    Returns:
        The trajectory. All frames are lost where the pictures show no motion; the reason says why.
    """
    report = progress or (lambda what, share: None)
    corners = []
    pinhole = frames[0].pinhole if len(frames) else Pinhole(1, 1, 1.0, 1.0, 0.5, 0.5)
    for k in range(len(frames)):
        report("finding corners", k / len(frames))
        frame = frames[k]
        corners.append(find_blobs(frame.color, frame.moving, NUM_BLOBS))
    return _Structure(corners, pinhole, report).track()


@dataclass(slots=True, eq=False)
class _Placed:
    """A frame whose pose is known.

    Attributes:
        pose: world_T_camera.
        inverse: (N,) float64 inverse depths of its corners, 0 unknown.
        tracks: (M, 2, 2) pixels in the frame that placed it and in itself.
        by: Index of that frame.
    """

    pose: Transform
    inverse: npt.NDArray[np.float64]
    tracks: npt.NDArray[np.float32]
    by: int
    neighbours: list[int] = field(default_factory=list)


class _Structure:
    """Grows from two frames to all that hang together. Used by one thread."""

    def __init__(self, corners: list[Corners], pinhole: Pinhole, report: Progress) -> None:
        self._corners, self._pinhole, self._report = corners, pinhole, report
        self._px = pinhole.width / 640
        self._placed: dict[int, _Placed] = {}
        self._lost: dict[int, str] = {}
        self._pairs: dict[tuple[int, int], npt.NDArray[np.intp]] = {}
        self._order: list[int] = []

    def track(self) -> Trajectory:
        reason = self._start()
        if reason:
            return Trajectory(tuple(TrackedPose(np.eye(4), reason) for _ in self._corners))
        self._grow()
        self._adjust_all()
        self._drop_bad()
        return self._trajectory()

    def matches(self, a: int, b: int) -> npt.NDArray[np.intp]:
        """(M, 2) rows of a's and b's corners that match; found once."""
        if (b, a) in self._pairs:
            return self._pairs[b, a][:, ::-1]
        if (a, b) not in self._pairs:
            self._pairs[a, b] = match_epipolar(self._corners[a], self._corners[b], self._pinhole)
        return self._pairs[a, b]

    def _start(self) -> str:
        """Place the first two frames; why that is impossible, if it is."""
        count = len(self._corners)
        best: tuple[float, int, int, TwoViews] | None = None
        most_flow, most_matches, most_relief = 0.0, 0, 0.0
        step = max(1, count // START_TRIES)
        for number, a in enumerate(range(0, count - 1, step)):
            self._report("looking for a baseline", min(1.0, number / START_TRIES))
            for b in range(a + 1, min(a + 1 + START_REACH, count)):
                pairs = self.matches(a, b)
                most_matches = max(most_matches, len(pairs))
                views = self._relate(a, b, pairs)
                if views is None:
                    break
                most_flow = max(most_flow, views.flow_px / self._px)
                sound = int(views.is_sound.sum())
                if views.flow_px < MIN_FLOW_PX_AT_640 * self._px or sound < MIN_FIRST_POINTS:
                    continue
                most_relief = max(most_relief, views.relief_share)
                if views.relief_share < MIN_RELIEF:
                    continue
                score = np.sqrt(sound) * min(views.flow_px / self._px, GOOD_FLOW_PX_AT_640)
                score *= min(views.relief_share, GOOD_RELIEF)
                if best is None or score > best[0]:
                    best = score, a, b, views
            if best is not None and best[3].flow_px > GOOD_FLOW_PX_AT_640 * self._px and best[3].is_sound.sum() > 150:
                break
        if best is None:
            return self._why_no_start(most_matches, most_flow, most_relief)
        self._place_two(*best[1:])
        return ""

    def _relate(self, a: int, b: int, pairs: npt.NDArray[np.intp]) -> TwoViews | None:
        return relate(self._corners[a].pixels[pairs[:, 0]], self._corners[b].pixels[pairs[:, 1]], self._pinhole)

    def _why_no_start(self, most_matches: int, most_flow: float, most_relief: float) -> str:
        fewest = max((len(c) for c in self._corners), default=0)
        if fewest < 2 * MIN_FIRST_POINTS:
            return f"no texture: at most {fewest} corners in a picture"
        if most_matches < MIN_FIRST_POINTS:
            return f"no overlap: neighbouring pictures share at most {most_matches} corners"
        if most_flow < MIN_FLOW_PX_AT_640:
            return f"no baseline: turning alone explains the pictures within {most_flow:.1f} pixels"
        if most_relief < MIN_RELIEF:
            return "a flat scene: of two motions that explain a single plane none can be told to be the true one"
        return "no motion of a camera with these intrinsics explains the pictures"

    def _place_two(self, a: int, b: int, views: TwoViews) -> None:
        scale = MEDIAN_DEPTH / float(np.median(views.points[views.is_sound][:, 2]))
        pairs = self.matches(a, b)[views.inliers]
        pose = views.a_T_b.copy()
        pose[:3, 3] *= scale
        tracks = np.stack([self._corners[a].pixels[pairs[:, 0]], self._corners[b].pixels[pairs[:, 1]]], axis=1)
        self._placed[a] = _Placed(np.eye(4), np.zeros(len(self._corners[a])), np.empty((0, 2, 2), np.float32), -1)
        self._placed[b] = _Placed(pose, np.zeros(len(self._corners[b])), tracks, a)
        self._order = [a, b]
        self._add_points([a, b])

    def _grow(self) -> None:
        """Place frame after frame, next to those that are placed, until none can be added."""
        count = len(self._corners)
        waiting = set(range(count)) - set(self._placed)
        tried: dict[int, int] = {}
        while waiting:
            ready = [k for k in waiting if tried.get(k, -1) < len(self._placed)]
            if not ready:
                return
            k = min(ready, key=lambda j: (tried.get(j, 0), min(abs(j - p) for p in self._placed), j))
            self._report("placing pictures", len(self._placed) / count)
            tried[k] = len(self._placed) + max(3, len(self._placed) // 3)  # again once the structure has grown
            reason = self._place(k)
            if reason:
                self._lost[k] = reason
                continue
            waiting.discard(k)
            self._lost.pop(k, None)
            self._order.append(k)
            if len(self._order) % LOCAL_EVERY == 0:
                self._adjust_local()

    def _place(self, k: int) -> str:
        """Place one frame; why that failed, if it did."""
        near = sorted(self._placed, key=lambda p: abs(p - k))
        reason = self._place_by(k, near[:NEAR_FRAMES])
        if reason and len(near) > NEAR_FRAMES:
            step = max(1, len(near) // ANYWHERE_FRAMES)
            reason = self._place_by(k, near[NEAR_FRAMES::step])
        return reason

    def _place_by(self, k: int, others: list[int]) -> str:
        """Place a frame by the points that others know."""
        rows, points, sources = [], [], []
        for other in others:
            pairs = self.matches(other, k)
            placed = self._placed[other]
            known = placed.inverse[pairs[:, 0]] > 0
            pairs = pairs[known]
            rays = rays_of(self._corners[other].pixels[pairs[:, 0]], self._pinhole)
            points.append(apply(placed.pose, rays / placed.inverse[pairs[:, 0]][:, None]))
            rows.append(pairs)
            sources.append(np.full(len(pairs), other))
        pairs, world, source = np.concatenate(rows), np.concatenate(points), np.concatenate(sources)
        _, once = np.unique(pairs[:, 1], return_index=True)
        once = np.sort(once)
        pairs, world, source = pairs[once], world[once], source[once]
        reference = self._placed[others[0]].pose
        seen = self._corners[k].pixels[pairs[:, 1]]
        found = solve_pose_of_points(apply(invert(reference), world), seen, self._pinhole)
        if found is None or found.num_inliers < MIN_INLIERS:
            got = 0 if found is None else found.num_inliers
            return f"{got} of {len(pairs)} known points agree with a pose, needs {MIN_INLIERS}"
        used = [o for o in others if (source[found.inliers] == o).any()]
        best = max(used, key=lambda o: int((source[found.inliers] == o).sum()))
        mine = pairs[found.inliers][source[found.inliers] == best]
        tracks = np.stack([self._corners[best].pixels[mine[:, 0]], self._corners[k].pixels[mine[:, 1]]], axis=1)
        pose = reference @ found.a_T_b
        self._placed[k] = _Placed(pose, np.zeros(len(self._corners[k])), tracks, best)
        self._add_points([k, *used])
        return ""

    def _add_points(self, frames: list[int]) -> None:
        """Find the depth of what these frames see in common with their neighbours."""
        for a in frames:
            link, rows = self._link(a, self._neighbours(a))
            inverse = triangulate(link, self._poses(), self._pinhole)
            new = inverse > 0
            self._placed[a].inverse[rows[new]] = inverse[new]

    def _neighbours(self, k: int) -> list[int]:
        near = sorted((p for p in self._placed if p != k), key=lambda p: abs(p - k))[: 2 * NEAR_FRAMES - 2]
        return near + [p for p in self._placed[k].neighbours if p in self._placed and p not in near]

    def _poses(self) -> npt.NDArray[np.float64]:
        """(F, 4, 4) poses of all frames, the identity for those that are not placed."""
        out = np.tile(np.eye(4), (len(self._corners), 1, 1))
        for k, placed in self._placed.items():
            out[k] = placed.pose
        return out

    def _link(self, a: int, others: list[int], pinhole: Pinhole | None = None) -> tuple[Link, npt.NDArray[np.intp]]:
        """What other frames show of a frame's corners, and the rows of these corners."""
        seen = np.full((len(self._corners[a]), len(others), 2), np.nan)
        for v, b in enumerate(others):
            pairs = self.matches(a, b)
            seen[pairs[:, 0], v] = self._corners[b].pixels[pairs[:, 1]]
        rows = np.flatnonzero(np.isfinite(seen[..., 0]).any(axis=1)) if others else np.empty(0, np.intp)
        rays = rays_of(self._corners[a].pixels[rows], self._pinhole)
        return Link(a, tuple(others), rays, seen[rows], np.zeros(len(rows))), rows

    def _adjust_local(self) -> None:
        """Adjust the frames placed last; the older ones that they share points with stay where they are."""
        recent = self._order[-LOCAL_FRAMES:]
        self._adjust(recent, {a: self._neighbours(a) for a in recent}, set(recent), LOCAL_STEPS)

    def _adjust_all(self) -> None:
        """Adjust everything, together with what is seen again."""
        self._report("looking for places seen again", 0.0)
        for k in self._placed:
            self._placed[k].neighbours = self._revisits(k)
        for number in range(2):
            self._report("adjusting all poses", 0.3 + 0.35 * number)
            frames = sorted(self._placed)
            free = set(frames) - {self._order[0]}
            self._adjust(frames, {a: self._neighbours(a) for a in frames}, free, GLOBAL_STEPS)

    def _revisits(self, k: int) -> list[int]:
        """Frames from another time that look at the same place, as far as matches confirm it."""
        mine = self._placed[k]
        known = mine.inverse[mine.inverse > 0]
        if len(known) == 0:
            return []
        reach = SAME_VIEW_DEPTHS / float(np.median(known))
        found = []
        for p, other in self._placed.items():
            step = invert(mine.pose) @ other.pose
            distance = float(np.linalg.norm(step[:3, 3]))
            if abs(p - k) > REVISIT_AFTER and distance < reach and rotation_angle_rad(step) < SAME_VIEW_RAD:
                found.append((distance / reach + rotation_angle_rad(step) / SAME_VIEW_RAD, p))
        near = [p for _, p in sorted(found)[: 2 * MAX_REVISITS]]
        return [p for p in near if len(self.matches(k, p)) >= MIN_REVISIT_MATCHES][:MAX_REVISITS]

    def _adjust(self, anchors: list[int], neighbours: dict[int, list[int]], free: set[int], num_steps: int) -> None:
        frames = sorted({*anchors, *(b for others in neighbours.values() for b in others)})
        index = {k: i for i, k in enumerate(frames)}
        links = []
        for a in anchors:
            link, _ = self._link(a, neighbours[a])
            links.append(replace(link, anchor=index[a], others=tuple(index[b] for b in link.others)))
        poses = np.stack([self._placed[k].pose for k in frames])
        firm = np.array([k not in free for k in frames])
        bundle = adjust(links, poses, self._pinhole, prior=LOOSE, num_steps=num_steps, is_firm=firm)
        for k in free:
            self._placed[k].pose = bundle.world_T_camera[index[k]]
        self._add_points(anchors)

    def _drop_bad(self) -> None:
        """Take frames out that do not agree with the others after all."""
        for k in sorted(self._placed):
            if (self._placed[k].inverse > 0).sum() < MIN_INLIERS:
                self._lost[k] = "too few of its corners have a depth"
                del self._placed[k]

    def _trajectory(self) -> Trajectory:
        poses: list[TrackedPose] = []
        first = min(self._placed, default=0)
        origin = self._placed[first].pose if self._placed else np.eye(4)
        last = np.eye(4)
        for k in range(len(self._corners)):
            placed = self._placed.get(k)
            if placed is None:
                poses.append(TrackedPose(last.copy(), self._lost.get(k, "hangs together with no other picture")))
                continue
            last = invert(origin) @ placed.pose
            known = int((placed.inverse > 0).sum())
            poses.append(TrackedPose(last, "", known, keyframe_index=placed.by, is_keyframe=True, tracks=placed.tracks))
        return Trajectory(tuple(poses))
