"""Keyframes: frames kept with their pose and intrinsics, candidates for references and for drawing."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .errors import StaleChangeError
from .moving_views import MovingView, join_owners, view_at
from .points import PointClass, priority_of
from .retrieval import MAX_REFERENCES, assign_one_to_one, count_shared, select_greedy
from .snapshot import MemorySnapshot
from .transforms import Transform, apply, invert, rotation_angle_rad
from .visibility import render_depth

_log = logging.getLogger(__name__)

DEFAULT_BANK_BYTES = 128 * 2**20

LEAST_NEW_SURFACE = 0.1
"""A frame is kept if at least this share of its surface is new."""

SAMPLES_X, SAMPLES_Y = 16, 12
"""Pixels of a frame at which its surface is compared with what other frames see."""

SAME_SURFACE_M, SAME_SURFACE_SHARE = 0.05, 0.05
"""Depths that differ by no more than the larger of these show the same surface."""

MUCH_FARTHER = 2.0
"""A frame that sees a surface from more than so many times the distance sees it too coarsely to stand in."""

ALIKE_DISTANCE_M, ALIKE_ANGLE_RAD = 0.25, 0.26
"""Frames without depth are alike if their cameras are this near."""

RETRIEVAL_WIDTH = 208
RETRIEVAL_POINTS = 60_000
"""Size of the views and number of points that retrieval compares; enough to rank frames, little enough to be quick."""


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A frame that memory keeps.

    Attributes:
        keyframe_id: Identity, 1 or more; points carry it as their provenance. 0 means none.
        request_id: The clip request that made it; 0 for a source's own frames.
        color: (H, W, 3) uint8 sRGB, read-only.
        pinhole: Intrinsics in pixels of this image.
        world_T_camera: (4, 4) float64 pose, OpenCV axes.
        point_class: Observed, estimated or invented.
        rank: Rank of the generator that invented it, 0 otherwise.
        depth_m: (H, W) float32 metres along +Z, 0 unknown, or None where it is not kept.
        moving: (H, W) bool, True where something moves, or None.
        prompt: The words that it was generated with.
        tick: Simulation tick of its merge.
        moving_by: Who found what moves, such as "residual+sam2"; empty where nothing does.
    """

    keyframe_id: int
    request_id: int
    color: npt.NDArray[np.uint8]
    pinhole: Pinhole
    world_T_camera: Transform
    point_class: PointClass
    rank: int = 0
    depth_m: npt.NDArray[np.float32] | None = None
    moving: npt.NDArray[np.bool_] | None = None
    prompt: str = ""
    tick: int = 0
    moving_by: str = ""

    def __post_init__(self) -> None:
        expected = (self.pinhole.height, self.pinhole.width, 3)
        if self.color.shape != expected or self.color.dtype != np.uint8:
            raise ValueError(f"keyframe colour: expected {expected} uint8, got {self.color.shape} {self.color.dtype}")
        for name in ("depth_m", "moving"):
            array = getattr(self, name)
            if array is not None and array.shape != expected[:2]:
                raise ValueError(f"keyframe {name}: expected {expected[:2]}, got {array.shape}")
        for array in (self.color, self.depth_m, self.moving, self.world_T_camera):
            if array is not None:
                array.flags.writeable = False

    @property
    def priority(self) -> int:
        """Class and rank as one byte (``points.priority_of``)."""
        return priority_of(self.point_class, self.rank)

    @property
    def num_bytes(self) -> int:
        """Memory held by its images."""
        return sum(array.nbytes for array in (self.color, self.depth_m, self.moving) if array is not None)

    def sees(self, points_world: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """(N,) bool: which of (N, 3) world points this frame shows, judged by its depth where it has one."""
        return np.isfinite(self._distance(points_world))

    def _distance(self, points_world: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(N,) depth in metres at which the frame shows each point; infinite where it does not."""
        uv, z = self.pinhole.project(points_world, self.world_T_camera)
        width, height = self.pinhole.size
        inside = (z > 0) & (uv[:, 0] >= 0) & (uv[:, 0] < width) & (uv[:, 1] >= 0) & (uv[:, 1] < height)
        if self.depth_m is not None and inside.any():
            column, row = uv[inside].astype(np.int64).T
            margin = np.maximum(SAME_SURFACE_M, SAME_SURFACE_SHARE * z[inside])
            inside[inside] = np.abs(self.depth_m[row, column] - z[inside]) <= margin
        return np.where(inside, z, np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A kept frame with a sample of its surface.

    Attributes:
        frame: The keyframe.
        samples_world: (S, 3) float64 points that it sees.
        distance_m: (S,) their depth in it.
        shown_by: (S,) int32, how many other kept frames show each point about as well.
    """

    frame: Keyframe
    samples_world: npt.NDArray[np.float64]
    distance_m: npt.NDArray[np.float64]
    shown_by: npt.NDArray[np.int32]

    def is_shown_by(self, frame: Keyframe) -> npt.NDArray[np.bool_]:
        """(S,) bool: which samples another frame shows about as well."""
        return frame._distance(self.samples_world) <= MUCH_FARTHER * self.distance_m

    def with_change(self, frame: Keyframe, change: int) -> "_Entry":
        """The entry after another frame came (+1) or went (-1)."""
        shown_by = self.shown_by + change * self.is_shown_by(frame).astype(np.int32)
        return _Entry(self.frame, self.samples_world, self.distance_m, shown_by)

    @property
    def unique_share(self) -> float:
        """Share of the samples that no other kept frame shows; 1 without samples."""
        return float((self.shown_by == 0).mean()) if len(self.shown_by) else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class BankSnapshot:
    """What a ``FrameBank`` holds at one time: references, immutable; any thread may read it.

    Attributes:
        entries: Kept frames, in order of admission.
        next_id: First identity that was never given out.
    """

    entries: tuple[_Entry, ...]
    next_id: int

    @property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """Kept frames, in order of admission."""
        return tuple(entry.frame for entry in self.entries)


@dataclass(frozen=True, slots=True, eq=False)
class StagedFrames:
    """Frames that were judged but not taken over yet.

    Attributes:
        base: State of the bank that they were judged against.
        result: State after them.
        kept: Identities of those that are kept.
    """

    base: BankSnapshot
    result: BankSnapshot
    kept: tuple[int, ...]


class FrameBank:
    """The keyframes of a world, within a byte budget.

    A frame is admitted if enough of its surface is new: not shown about as well by kept frames of the same or a higher
    class and rank. When the budget is exceeded the frame goes that is of the lowest class and has the least surface of
    its own. Its state is immutable and swapped, so that a snapshot is a reference; only the thread that owns the bank
    may call what changes it.

    Args:
        max_bytes: Budget for the frames' images.
    """

    def __init__(self, max_bytes: int = DEFAULT_BANK_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes: expected at least 1, got {max_bytes}")
        self.max_bytes = max_bytes
        self._state = BankSnapshot((), 1)

    @property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """Kept frames, in order of admission."""
        return self._state.keyframes

    @property
    def num_bytes(self) -> int:
        """Memory held by the frames' images."""
        return sum(entry.frame.num_bytes for entry in self._state.entries)

    @property
    def next_id(self) -> int:
        """First identity that was never given out."""
        return self._state.next_id

    def get(self, keyframe_id: int) -> Keyframe | None:
        """The kept frame of an identity, or None."""
        return next((e.frame for e in self._state.entries if e.frame.keyframe_id == keyframe_id), None)

    def reserve_ids(self, n: int) -> int:
        """Set n identities aside, never to be given out again, not even after ``restore``.

        Returns:
            The first of them.
        """
        if n < 0:
            raise ValueError(f"n: expected 0 or more identities, got {n}")
        first = self._state.next_id
        self._state = BankSnapshot(self._state.entries, first + n)
        return first

    def add(self, keyframe: Keyframe) -> bool:
        """Keep a frame if it shows enough new surface; may evict others to stay within the budget.

        Returns:
            Whether it is kept.

        Raises:
            ValueError: Its identity is below 1 or taken.
        """
        return bool(self.apply(self.stage((keyframe,))))

    def stage(self, keyframes: Iterable[Keyframe], moving_before: Sequence[MovingView] = ()) -> StagedFrames:
        """Judge frames in order against the present state, changing nothing. Any thread.

        Args:
            keyframes: Candidates.
            moving_before: What turned out to move in frames that are kept; it joins their masks first.

        Raises:
            ValueError: An identity is below 1 or taken.
        """
        base = self._state
        entries, next_id = _marked(base.entries, moving_before), base.next_id
        offered = set[int]()
        for frame in keyframes:
            number = frame.keyframe_id
            if number < 1 or number in offered or any(e.frame.keyframe_id == number for e in base.entries):
                raise ValueError(f"keyframe identity: expected a new one of 1 or more, got {number}")
            offered.add(number)
            next_id = max(next_id, number + 1)
            admitted = _admitted(entries, frame)
            if admitted is not None:
                entries = _within(admitted, self.max_bytes)
        kept = tuple(e.frame.keyframe_id for e in entries if e.frame.keyframe_id in offered)
        return StagedFrames(base, BankSnapshot(entries, next_id), kept)

    def stage_poses(self, world_T_camera: Mapping[int, Transform]) -> StagedFrames:
        """Give kept frames other poses, changing nothing yet; none is dropped. Any thread.

        Args:
            world_T_camera: (4, 4) poses by identity; other frames keep theirs, unknown identities are passed over.
        """
        base = self._state
        moved = [k for e in base.entries if (k := e.frame).keyframe_id in world_T_camera]
        if not moved:
            return StagedFrames(base, base, ())
        entries: tuple[_Entry, ...] = ()
        for entry in base.entries:
            pose = world_T_camera.get(entry.frame.keyframe_id)
            frame = entry.frame if pose is None else replace(entry.frame, world_T_camera=pose.copy())
            entries = _inserted(entries, _entry_of(frame))
        return StagedFrames(base, BankSnapshot(entries, base.next_id), tuple(k.keyframe_id for k in moved))

    def is_stale(self, staged: StagedFrames) -> bool:
        """Whether frames came or went since, so that ``apply`` would refuse them."""
        return staged.base.entries is not self._state.entries

    def apply(self, staged: StagedFrames) -> tuple[int, ...]:
        """Take over judged frames; swaps a reference.

        Returns:
            Identities of those that are kept.

        Raises:
            StaleChangeError: Other frames came or went since; nothing was changed, stage again.
        """
        if self.is_stale(staged):
            raise StaleChangeError("the bank's frames changed since staging; stage again")
        self._state = BankSnapshot(staged.result.entries, max(self._state.next_id, staged.result.next_id))
        return staged.kept

    def load(self, keyframes: Iterable[Keyframe], next_id: int = 1) -> None:
        """Take over frames as they are, without the rule of admission, such as those of a save file."""
        for keyframe in keyframes:
            entries = _inserted(self._state.entries, _entry_of(keyframe))
            self._state = BankSnapshot(entries, max(self._state.next_id, keyframe.keyframe_id + 1, next_id))
        self._state = BankSnapshot(self._state.entries, max(self._state.next_id, next_id))

    def remove_request(self, request_id: int) -> tuple[int, ...]:
        """Drop the frames that a request made.

        Returns:
            The identities of the dropped frames.
        """
        gone = [e.frame for e in self._state.entries if e.frame.request_id == request_id]
        entries = self._state.entries
        for frame in gone:
            entries = _without(entries, frame)
        self._state = BankSnapshot(entries, self._state.next_id)
        return tuple(frame.keyframe_id for frame in gone)

    def snapshot(self) -> BankSnapshot:
        """A reference to the present state."""
        return self._state

    def restore(self, snapshot: BankSnapshot) -> None:
        """Go back to an earlier state; identities given out since stay given out."""
        self._state = BankSnapshot(snapshot.entries, max(self._state.next_id, snapshot.next_id))

    def nearest(
        self, world_T_camera: Transform, max_distance_m: float = np.inf, max_angle_rad: float = np.pi
    ) -> Keyframe | None:
        """The frame whose camera is nearest in place and direction, within both limits, or None."""
        best: tuple[float, Keyframe] | None = None
        for frame in self.keyframes:
            frame_T_camera = invert(frame.world_T_camera) @ world_T_camera
            distance = float(np.linalg.norm(frame_T_camera[:3, 3]))
            angle = rotation_angle_rad(frame_T_camera)
            # a metre counts as a radian: about what moves a picture as much
            if distance <= max_distance_m and angle <= max_angle_rad and (best is None or distance + angle < best[0]):
                best = (distance + angle, frame)
        return None if best is None else best[1]

    def retrieve(
        self,
        snapshot: MemorySnapshot,
        pinhole: Pinhole,
        world_T_camera: npt.NDArray[np.float64],
        k: int = MAX_REFERENCES,
        method: Literal["greedy", "one_to_one"] = "greedy",
    ) -> list[Keyframe]:
        """References for a path: frames that see the same surface of memory.

        Any thread. Costs about a drawing of memory for each of up to k of the path's frames.

        Args:
            snapshot: Memory whose surface is compared.
            pinhole: Intrinsics of the path's frames.
            world_T_camera: (F, 4, 4) float64 path.
            k: Most references.
            method: Greedy by shared surface (the paper), or one-to-one along the path (the release).

        Returns:
            Up to k different frames; greedy: best first, one-to-one: in the order of the path.

        Raises:
            ValueError: An unknown method.
        """
        if method not in ("greedy", "one_to_one"):
            raise ValueError(f'method: expected "greedy" or "one_to_one", got {method!r}')
        frames = self.keyframes
        poses = np.asarray(world_T_camera, np.float64).reshape(-1, 4, 4)
        targets = poses[:: max(1, -(-len(poses) // max(k, 1)))]
        if method == "one_to_one":
            targets = targets[: len(frames)]
        points = _surface_points(snapshot, pinhole, targets)
        if not frames or not len(points) or k < 1:
            return []
        target_sees = np.stack([_target_sees(snapshot, pinhole, pose, points) for pose in targets])
        frame_sees = np.stack([frame.sees(points) for frame in frames])
        choose = select_greedy if method == "greedy" else assign_one_to_one
        return [frames[i] for i in choose(target_sees, frame_sees, k)]


def _entry_of(frame: Keyframe) -> _Entry:
    """A frame with samples of its surface: on a grid of pixels, where depth is known and nothing moves."""
    if frame.depth_m is None:
        return _Entry(frame, np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int32))
    rows = ((np.arange(SAMPLES_Y) + 0.5) * frame.pinhole.height / SAMPLES_Y).astype(np.int64)
    columns = ((np.arange(SAMPLES_X) + 0.5) * frame.pinhole.width / SAMPLES_X).astype(np.int64)
    row, column = (grid.reshape(-1) for grid in np.meshgrid(rows, columns, indexing="ij"))
    depth = frame.depth_m[row, column].astype(np.float64)
    known = depth > 0
    if frame.moving is not None:
        known &= ~frame.moving[row, column]
    row, column, depth = row[known], column[known], depth[known]
    p = frame.pinhole
    camera = (
        np.stack([(column + 0.5 - p.cx) / p.fx, (row + 0.5 - p.cy) / p.fy, np.ones(len(depth))], 1) * depth[:, None]
    )
    return _Entry(frame, apply(frame.world_T_camera, camera), depth, np.zeros(len(depth), np.int32))


def _marked(entries: tuple[_Entry, ...], views: Sequence[MovingView]) -> tuple[_Entry, ...]:
    """The entries in their order, with what moves taken into the masks of the frames that show it."""
    return tuple(_entry_marked(e, entries, views) for e in entries) if views else entries


def _entry_marked(entry: _Entry, entries: tuple[_Entry, ...], views: Sequence[MovingView]) -> _Entry:
    frame = entry.frame
    size = frame.color.shape[0], frame.color.shape[1]
    view = view_at(views, request_id=frame.request_id, world_T_camera=frame.world_T_camera, size=size)
    if view is None:
        return entry
    moving = view.moving.copy() if frame.moving is None else frame.moving | view.moving
    marked = _entry_of(replace(frame, moving=moving, moving_by=join_owners(frame.moving_by, view.moving_by)))
    for other in entries:
        if other is not entry:
            marked = marked.with_change(other.frame, +1)
    return marked


def _admitted(entries: tuple[_Entry, ...], frame: Keyframe) -> tuple[_Entry, ...] | None:
    """The entries with a frame, or None if it shows too little that is new."""
    entry = _entry_of(frame)
    rivals = [e.frame for e in entries if e.frame.priority >= frame.priority]
    if len(entry.samples_world):
        shown = np.zeros(len(entry.samples_world), np.bool_)
        for rival in rivals:
            shown |= entry.is_shown_by(rival)
        is_new = float((~shown).mean()) >= LEAST_NEW_SURFACE
    else:
        is_new = not any(_is_alike(frame, rival) for rival in rivals)
    return _inserted(entries, entry) if is_new else None


def _is_alike(a: Keyframe, b: Keyframe) -> bool:
    a_T_b = invert(a.world_T_camera) @ b.world_T_camera
    return bool(np.linalg.norm(a_T_b[:3, 3]) < ALIKE_DISTANCE_M) and rotation_angle_rad(a_T_b) < ALIKE_ANGLE_RAD


def _inserted(entries: tuple[_Entry, ...], entry: _Entry) -> tuple[_Entry, ...]:
    updated = tuple(e.with_change(entry.frame, +1) for e in entries)
    for other in entries:
        entry = entry.with_change(other.frame, +1)
    return (*updated, entry)


def _without(entries: tuple[_Entry, ...], frame: Keyframe) -> tuple[_Entry, ...]:
    return tuple(e.with_change(frame, -1) for e in entries if e.frame is not frame)


def _within(entries: tuple[_Entry, ...], max_bytes: int) -> tuple[_Entry, ...]:
    """Evict until the images fit: lowest class first, then least surface of its own, then newest."""
    total = sum(e.frame.num_bytes for e in entries)
    while total > max_bytes and len(entries) > 1:
        victim = min(entries, key=lambda e: (e.frame.point_class, e.unique_share, -e.frame.keyframe_id)).frame
        _log.debug("keyframe %s evicted: %s of %s bytes", victim.keyframe_id, total, max_bytes)
        entries = _without(entries, victim)
        total -= victim.num_bytes
    return entries


def shared_surface(
    snapshot: MemorySnapshot,
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    frames: Sequence[Keyframe],
) -> npt.NDArray[np.int64]:
    """How much of memory's surface cameras and frames both see.

    Args:
        snapshot: Memory.
        pinhole: Intrinsics of the cameras.
        world_T_camera: (T, 4, 4) float64.
        frames: C frames.

    Returns:
        (T, C) int64 points of an even sample.
    """
    points = _surface_points(snapshot, pinhole, world_T_camera)
    if not frames or not len(points):
        return np.zeros((len(world_T_camera), len(frames)), np.int64)
    target_sees = np.stack([_target_sees(snapshot, pinhole, pose, points) for pose in world_T_camera])
    return count_shared(target_sees, np.stack([frame.sees(points) for frame in frames]))


def _surface_points(
    snapshot: MemorySnapshot, pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(N, 3) an even sample of memory's points in the cameras' frusta."""
    chunks = [snapshot.chunks[key] for key in snapshot.chunks_in_frusta(pinhole, world_T_camera)]
    step = max(1, -(-sum(c.num_points for c in chunks) // RETRIEVAL_POINTS))
    # codes are in Morton order, so every n-th voxel of a chunk is spread evenly over its surface
    parts = [c.positions_world(snapshot.voxel_size_m)[::step] for c in chunks]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros((0, 3))


def _target_sees(
    snapshot: MemorySnapshot, pinhole: Pinhole, world_T_camera: Transform, points_world: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """(N,) bool: which points a camera of the path would see of memory."""
    scale = min(1.0, RETRIEVAL_WIDTH / pinhole.width)
    small = pinhole.resized(max(1, round(pinhole.width * scale)), max(1, round(pinhole.height * scale)))
    depth = render_depth(snapshot, small, world_T_camera).depth_m
    black = np.zeros((small.height, small.width, 3), np.uint8)
    return Keyframe(1, 0, black, small, world_T_camera.copy(), PointClass.OBSERVED, depth_m=depth).sees(points_world)
