"""The public façade: a world that can be made, rendered, walked, saved and opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..generator.requests import ClipRequest
from ..renderer.interface import DrawOptions, View
from ..renderer.software import SoftwareRenderer
from ..saves.journal import JournalEntry
from ..saves.sources import Source, SourceFrame, load_source
from ..saves.store import WorldFile
from ..world.camera import Pinhole
from ..world.ground import Plane, fit_floor
from ..world.keyframes import FrameBank
from ..world.memory import DEFAULT_VOXEL_SIZE_M, SpatialMemory
from ..world.merge import stage_update
from ..world.points import PointBatch
from ..world.slam.estimators import FrameStack
from ..world.slam.learned.monocular import installed_monocular
from ..world.slam.update import recommended_voxel_size_m, source_update
from ..world.transforms import Transform, as_rigid
from .checkpoint import copy_walk
from .director import Tail
from .errors import UserError
from .settled import Settled

if TYPE_CHECKING:
    from ..saves.diff import WorldDiff
    from ..saves.history import Branches, SnapshotInfo
    from ..saves.timeline import CheckoutReport, GcReport, MergeReport
    from .tracked import KnownDistance

DEFAULT_UP = (0.0, -1.0, 0.0)
BANK_BYTES = 60 * 2**20
"""Memory for keyframes' pictures and depth; those that show least of their own go first."""
FRAMES_PER_MERGE = 8
"""Frames of a recording that are merged at once: each merge rewrites the voxels that it touches."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class WorldInfo:
    """What never changes in a world.

    Attributes:
        name: Short name, also of its folder.
        note: How scale and intrinsics were come by.
        is_metric: False where depth was guessed from a lone photo.
        seed: Of everything random.
        up_world: Direction away from gravity.
        floor: Plane that carries the walker where memory is empty, or None.
        pinhole: The first keyframe's intrinsics.
        world_T_start: Where the walk begins.
        place: Name of the procedural place that the world is, such as "rooms:7:day"; empty for any other world.
    """

    name: str
    note: str
    is_metric: bool
    seed: int
    up_world: tuple[float, float, float]
    floor: Plane | None
    pinhole: Pinhole
    world_T_start: Transform
    place: str = ""


@dataclass(slots=True)
class WalkState:
    """Where the walk stands; saved with the world, changed by the session alone."""

    world_T_camera: Transform
    is_flying: bool = False
    prompt: str = ""
    tick: int = 0
    next_request_id: int = 1
    settled: list[Settled] = field(default_factory=list)
    held: list[Settled] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    marks: list[tuple[float, float, float]] = field(default_factory=list)
    path: list[tuple[float, float, float, float]] = field(default_factory=list)
    fov_rad: float | None = None
    generator: str = ""


class World:
    """Memory, keyframes and everything else that a ``.spatia`` file holds.

    Made by ``create``, ``open`` or a sample. One thread at a time changes it.
    """

    def __init__(self, info: WorldInfo, memory: SpatialMemory, bank: FrameBank, walk: WalkState) -> None:
        self.info = info
        self.memory = memory
        self.bank = bank
        self.walk = walk
        self.journal: list[JournalEntry] = []
        self.file: WorldFile | None = None
        self.damage: tuple[str, ...] = ()
        self._renderer: SoftwareRenderer | None = None

    @property
    def default_size(self) -> tuple[int, int]:
        """The source's (width, height), floored to even."""
        return self.info.pinhole.width // 2 * 2, self.info.pinhole.height // 2 * 2

    def pinhole_for(self, size: tuple[int, int]) -> Pinhole:
        """The first keyframe's intrinsics at another size: scaled to cover it, the centre cropped."""
        return self.info.pinhole.covering(*size)

    def render(
        self,
        world_T_camera: npt.ArrayLike,
        size: tuple[int, int] | None = None,
        *,
        intrinsics: Pinhole | None = None,
    ) -> View:
        """Render memory alone; nothing is filled.

        Args:
            world_T_camera: (4, 4) pose, camera to world, OpenCV axes.
            size: (width, height); the source's floored to even if not given.
            intrinsics: The first keyframe's, made to cover ``size``, if not given.

        Returns:
            Colour (H, W, 3) uint8, depth (H, W) float32 in metres and coverage (H, W) in [0, 1].

        Raises:
            ValueError: The pose is not a rigid transform.
        """
        pose = as_rigid(world_T_camera, "world_T_camera")
        if intrinsics is None:
            pinhole = self.pinhole_for(size or self.default_size)
        else:
            pinhole = intrinsics if size is None else intrinsics.covering(*size)
        if self._renderer is None:
            self._renderer = SoftwareRenderer()
        snapshot = self.memory.snapshot()
        if self.memory.pager is not None:  # what is on the disk is read as far as it can be seen
            snapshot = snapshot.subset(snapshot.chunks_in_frusta(pinhole, pose))
        self._renderer.update(snapshot, self.bank.keyframes)
        return self._renderer.render(pose, pinhole, DrawOptions())

    def fork(self) -> "World":
        """A world that goes its own way from here: shares the points, which never change, and no file."""
        memory, bank = SpatialMemory(self.memory.voxel_size_m), FrameBank(self.bank.max_bytes)
        memory.restore(self.memory.snapshot())
        bank.restore(self.bank.snapshot())
        other = World(self.info, memory, bank, copy_walk(self.walk))
        other.journal = list(self.journal)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> "World":
        return self.fork()

    def content_hash(self) -> str:
        """Hash of memory's content, independent of the order in which it came."""
        return self.memory.content_hash()

    def add_journal(self, request: ClipRequest, outcome: dict[str, Any]) -> None:
        """Append what became of a request."""
        data: dict[str, Any] = {
            "request_id": request.request_id,
            "purpose": request.purpose,
            "seed": request.seed,
            "prompt": request.prompt,
        }
        data |= {key: _plain(value) for key, value in outcome.items()}
        self.journal.append(JournalEntry("clip", request.tick, data))

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the world to a ``.spatia`` file; only what changed if it is this world's file already.

        Raises:
            WorldFileError: The file is foreign, locked by another process or cannot be written; it is left as it was.
        """
        from .persistence import save_world

        return save_world(self, Path(path))

    def snapshot(self, name: str = "", note: str = "") -> "SnapshotInfo":
        """Save, and keep this moment: memory, keyframes, pose, and what the director has settled.

        It is nearly free: a snapshot shares all that did not change. Like all methods about history it needs a world
        that was opened from its file, and no session that walks it at the same time.

        Args:
            name: Unique among snapshots and branches, or empty.
            note: Why.

        Raises:
            WorldHistoryError: The name is taken, or the world has no file.
            WorldWriteError: The disk refused.
        """
        from .history import take_snapshot

        return take_snapshot(self, name, note)

    @property
    def branches(self) -> "Branches":
        """The branches, and which of them this is."""
        from .history import branches_of

        return branches_of(self)

    def log(self, *, everything: bool = False) -> "list[SnapshotInfo]":
        """Snapshots that this moment goes on from, newest first; or all."""
        from .history import branches_of, log_of

        branches_of(self)
        return [] if self.file is None else log_of(self.file, is_whole=everything)

    def branch(self, name: str) -> "SnapshotInfo":
        """Save, and go on on a new branch.

        Raises:
            WorldHistoryError, WorldWriteError: See ``snapshot``.
        """
        from .history import start_branch

        return start_branch(self, name)

    def checkout(self, name: str) -> "CheckoutReport":
        """Go to a snapshot or the end of a branch. A snapshot of this moment is taken first.

        Raises:
            WorldHistoryError: There is no such name. See also ``snapshot``.
        """
        from .history import check_out

        return check_out(self, name)

    def diff(self, a: str, b: str = "now") -> "WorldDiff":
        """Points and keyframes added, removed and changed from ``a`` to ``b``.

        Raises:
            WorldHistoryError: There is no such name.
        """
        from .history import diff_of

        return diff_of(self, a, b)

    def merge(self, branch: str, prefer: Literal["ours", "theirs"] | None = None) -> "MergeReport":
        """Bring another branch's chunks and keyframes in; the walk stays where it is.

        Args:
            branch: Its name, or a snapshot's.
            prefer: Whose chunk to take where both changed it.

        Raises:
            MergeConflictError: Both changed the same chunks (listed in ``conflicts``) and ``prefer`` is None, or their
                poses were corrected differently. Nothing was changed.
            WorldHistoryError: There is no such name.
        """
        from .history import merge_branch

        return merge_branch(self, branch, prefer)

    def gc(self, *, prune: bool = False) -> "GcReport":
        """Remove from the file what no branch or name leads to; with ``prune`` also snapshots without a name."""
        from .history import collect_garbage

        return collect_garbage(self, prune=prune)

    def close(self) -> None:
        """Let go of the world's file, if it has one open; safe to call twice. Saves nothing."""
        self.memory.close()
        if self.file is not None:
            self.file.close()
            self.file = None
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def create(
    source: str | PathLike[str] | Source,
    *,
    depth: str | PathLike[str] | npt.NDArray[np.floating] | None = None,
    intrinsics: Any = None,
    mask: str | PathLike[str] | None = None,
    frames: slice | None = None,
    seed: int = 0,
    voxel_size_m: float | None = None,
    prompt: str = "",
    progress: Progress | None = None,
    scale: "KnownDistance | float | None" = None,
    sheet: str | PathLike[str] | None = None,
) -> World:
    """Make a world from a photo, a recording's folder, a video, a folder of pictures, or a point cloud.

    Recordings without poses are tracked; of videos and pictures the depth is found as well.

    Args:
        source: Path, or a source that was loaded already.
        depth: Depth of a photo: 16-bit PNG in millimetres (0 and 65535 unknown), or (H, W) metres.
        intrinsics: Normalised (fx, fy, cx, cy), a file of them, or a ``Pinhole``.
        mask: Picture whose white pixels move and stay out of memory.
        frames: Which frames of a recording to take.
        seed: Of everything random in this world.
        voxel_size_m: Side of a voxel; near the photo's pixel footprint, or 1 cm for a recording, if not given.
        prompt: Words for generators that take them.
        progress: Called with what is going on and the share that is done.
        scale: Metres from the first to the last camera of a video or of pictures, or between two others; without it
            such a world is not metric.
        sheet: Where a contact sheet of what was tracked goes (PNG), if anything has to be.

    Raises:
        UserError: A scale where depth is measured, or of frames that were lost.
        SourceError: The source or what came with it is not as expected.
    """
    loaded = (
        source
        if isinstance(source, Source)
        else load_source(source, depth=depth, intrinsics=intrinsics, mask=mask, frames=frames)
    )
    report = progress or (lambda what, share: None)
    if not loaded.has_poses:
        from .tracked import KnownDistance, track_source

        known = KnownDistance(float(scale)) if isinstance(scale, (int, float)) else scale
        loaded = track_source(loaded, report, scale=known, sheet=None if sheet is None else Path(sheet)).source
    elif scale is not None:
        raise UserError("no --scale where poses or points come along", "one", "leave it out")
    if loaded.points is not None:
        return _from_points(loaded, loaded.points, seed=seed, voxel_size_m=voxel_size_m, prompt=prompt)
    first = loaded.frames[0]
    has_depth = first.depth_m is not None
    estimator = "" if has_depth else installed_monocular()
    if estimator:
        loaded, has_depth = _with_metric_estimate(loaded, estimator), True
    memory, bank = SpatialMemory(voxel_size_m or _voxel_size_m(loaded)), FrameBank(BANK_BYTES)
    for start in range(0, len(loaded.frames), FRAMES_PER_MERGE):
        report("lifting frames", start / len(loaded.frames))
        batch = list(loaded.frames[start : start + FRAMES_PER_MERGE])
        stack, is_estimated = _stack_of(batch), loaded.has_estimated_depth
        _merge_source(memory, bank, stack, prompt, estimator or None, is_estimated=is_estimated)
    report("lifting frames", 1.0)
    return _assemble(loaded, memory, bank, first.pinhole, first.world_T_camera, seed, prompt, has_depth)


def _from_points(source: Source, points: PointBatch, *, seed: int, voxel_size_m: float | None, prompt: str) -> "World":
    """A world of a bare point cloud; it is looked at from outside its near side, as high as its middle."""
    memory = SpatialMemory(voxel_size_m or DEFAULT_VOXEL_SIZE_M)
    memory.insert(points)
    extent = memory.snapshot().extent()
    if extent is None:
        raise UserError("a point cloud with points", f"none in {source.name}", "give another file")
    low, high = extent
    start = np.eye(4)
    start[:3, 3] = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] - 0.7 * max(high - low))
    pinhole = Pinhole.from_fov(832, 480, float(np.radians(70.0)))
    return _assemble(source, memory, FrameBank(), pinhole, start, seed, prompt, True)


def _assemble(
    source: Source,
    memory: SpatialMemory,
    bank: FrameBank,
    pinhole: Pinhole,
    world_T_start: Transform,
    seed: int,
    prompt: str,
    has_depth: bool,
) -> "World":
    floor = fit_floor(
        memory.points().positions_world,
        up_hint=tuple(-world_T_start[:3, 1]),
        camera_position=tuple(world_T_start[:3, 3]),
        seed=0,
    )
    info = WorldInfo(
        name=source.name,
        note=source.note,
        is_metric=source.metric and has_depth,
        seed=seed,
        up_world=DEFAULT_UP if floor is None else floor.plane.normal,
        floor=None if floor is None else floor.plane,
        pinhole=pinhole,
        world_T_start=world_T_start.copy(),
        place=source.place,
    )
    return World(info, memory, bank, WalkState(world_T_start.copy(), prompt=prompt))


def open(path: str | PathLike[str], *, read_only: bool = False, memory_limit: int | None = None) -> World:
    """Open a saved world.

    Args:
        path: A ``.spatia`` file.
        read_only: Take no lock and never write.
        memory_limit: Bytes that its points may take: then they are read when they are needed and the world may be
            larger than memory. None reads all of them now, unless they would take more than half of this machine's
            memory. Close such a world when you are done.

    Raises:
        WorldFileError: The file is missing, foreign, too new, damaged beyond reading, or locked.
    """
    from .persistence import open_world

    return open_world(Path(path), read_only=read_only, budget_bytes=memory_limit)


def _stack_of(frames: Sequence[SourceFrame]) -> FrameStack:
    depths = [f.depth_m for f in frames if f.depth_m is not None]
    masks = [f.moving for f in frames if f.moving is not None]
    trust = [f.confidence for f in frames if f.confidence is not None]
    return FrameStack(
        color=np.stack([f.color for f in frames]),
        depth_m=np.stack(depths) if len(depths) == len(frames) else None,
        confidence=np.stack(trust) if len(trust) == len(frames) else None,
        moving=np.stack(masks) if len(masks) == len(frames) else None,
        new_surface=None,
        world_T_camera=np.stack([f.world_T_camera for f in frames]),
        pinhole=frames[0].pinhole,
    )


def _voxel_size_m(source: Source) -> float:
    first = source.frames[0]
    if len(source.frames) > 1 or first.depth_m is None:
        return DEFAULT_VOXEL_SIZE_M
    return recommended_voxel_size_m(first.depth_m, first.pinhole)


def _with_metric_estimate(source: Source, estimator: str) -> Source:
    """The source, whose depth a network gives in metres."""
    note = source.note.removesuffix("; no depth: not metric")
    return replace(source, metric=True, note=f"{note}; depth by {estimator}, in metres as it was trained")


def _merge_source(
    memory: SpatialMemory,
    bank: FrameBank,
    stack: FrameStack,
    prompt: str,
    estimator: str | None,
    *,
    is_estimated: bool,
) -> None:
    update = source_update(
        stack,
        memory=memory.snapshot(),
        estimator=estimator,
        first_keyframe_id=bank.reserve_ids(len(stack)),
        prompt=prompt,
        is_estimated=is_estimated,
    )
    memory.apply(stage_update(memory.snapshot(), update))
    for keyframe in update.keyframes:
        bank.add(keyframe)


def _plain(value: Any) -> Any:
    """A value that msgpack and JSON know."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    return value
