"""Chunks as renderers need them: positions and colours unpacked once for each revision, within a time budget."""

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..world.blocks import Block, DrawKey
from ..world.chunks import CHUNK_SIDE, OFFSET_STEPS, Chunk, ChunkKey
from ..world.coarse import COARSE_LEVEL
from ..world.drawn import DrawChange
from ..world.memory import MemorySnapshot
from ..world.paging import Pager
from ..world.points import PointClass, priority_of
from ..world.spacing import spacing_voxels
from ..world.stored import StoredChunk, entries_of
from .pages import unpack_chunk

KNOWN = priority_of(PointClass.ESTIMATED)
"""Priority from which points are known: what is below was invented."""

COARSER = -1
"""Revision under which a block counts as held: that of no chunk."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a renderer stored a chunk's points already: its first page, and how many points each level has."""

    head: int
    ends: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class ExtractedChunk:
    """One chunk, or block of chunks, ready to be drawn.

    Attributes:
        key: Chunk or block key.
        revision: Revision that it was made from; ``COARSER`` for a block.
        origin_world: (3,) float64 metres, corner of the chunk or block where local (0, 0, 0) begins.
        step_m: Metres of one local step (a voxel has 256, a cell of a block as well).
        local_q8: (N, 3) uint16; a point lies at ``origin_world + (local_q8 + 0.5) * step_m``.
        color_rgba: (N,) uint32, red in the lowest byte, alpha 255.
        priority: (N,) uint8, class and rank.
        spacing_m: Typical distance between neighbouring points on the surface, measured; at level 0, whatever the
            level.
        low_world: (3,) float64 smallest coordinates of its points.
        high_world: (3,) float64 largest coordinates of its points.
        codes: (N,) uint32 Morton codes of its voxels; none of a block.
        level: Level of detail that its points are: one in a block of 2^level voxels' or cells' side.
        is_new: Whether points that were not drawn before may fade in; False for those that were merely not in memory.
        place: Where they are stored already, or None.
        parts: Itself as ``split_classes`` gives it, stored already; none where it is not.
    """

    key: DrawKey
    revision: int
    origin_world: npt.NDArray[np.float64]
    step_m: float
    local_q8: npt.NDArray[np.uint16]
    color_rgba: npt.NDArray[np.uint32]
    priority: npt.NDArray[np.uint8]
    spacing_m: float
    low_world: npt.NDArray[np.float64]
    high_world: npt.NDArray[np.float64]
    codes: npt.NDArray[np.uint32]
    level: int = 0
    is_new: bool = True
    place: Place | None = None
    parts: tuple["ExtractedChunk", ...] = ()

    @property
    def num_points(self) -> int:
        """Points of the chunk."""
        return len(self.color_rgba)


def extract_chunk(
    chunk: Chunk, voxel_size_m: float, *, is_new: bool = True, spacing: float | None = None
) -> ExtractedChunk:
    """Unpack a chunk for drawing; the same positions and colours as ``Chunk`` gives. Fresh arrays.

    Args:
        chunk: In full.
        voxel_size_m: Side of a voxel in metres.
        is_new: Whether its points may fade in.
        spacing: Of all its points in voxels, where it is known; measured otherwise.
    """
    n = chunk.num_points
    local = np.empty((n, 3), np.uint16)
    color = np.empty(n, np.uint32)
    bounds = np.zeros((2, 3), np.int64)
    unpack_chunk(chunk.codes, chunk.rows, local, color, bounds)
    step = voxel_size_m / OFFSET_STEPS
    origin = np.array(chunk.key, np.float64) * (CHUNK_SIDE * voxel_size_m)
    low, high = (bounds + 0.5) * step + origin
    spacing = (spacing_voxels(local) if spacing is None else spacing) * voxel_size_m
    return ExtractedChunk(
        chunk.key, chunk.revision, origin, step, local, color, chunk.priority, spacing, low, high,
        chunk.codes, 0, is_new,
    )  # fmt: skip


def extract_block(block: Block, voxel_size_m: float) -> ExtractedChunk:
    """A block for drawing, like a chunk whose voxels are the block's cells. Shares its arrays."""
    cell_m = voxel_size_m * (1 << COARSE_LEVEL)
    step = cell_m / OFFSET_STEPS
    origin = np.array(block.key[:3], np.float64) * (CHUNK_SIDE * cell_m)
    low, high = ((edge + 0.5) * step + origin for edge in (block.local_q8.min(0), block.local_q8.max(0)))
    return ExtractedChunk(
        block.key, COARSER, origin, step, block.local_q8, block.color_rgba, block.priority, block.spacing * cell_m,
        low, high, np.zeros(0, np.uint32), block.level - COARSE_LEVEL, False,
    )  # fmt: skip


def split_classes(chunk: ExtractedChunk) -> tuple[ExtractedChunk, ...]:
    """What is known of a chunk and what was invented, each by itself; the chunk as it is where it has but one of them.

    Known points are as far apart as before anything was invented beside them, invented ones at most as all together.
    """
    is_known = chunk.priority >= KNOWN
    if is_known.all() or not is_known.any():
        return (chunk,)
    return _part(chunk, is_known, np.inf), _part(chunk, ~is_known, chunk.spacing_m)


def _part(chunk: ExtractedChunk, mask: npt.NDArray[np.bool_], max_spacing_m: float) -> ExtractedChunk:
    local, is_block = chunk.local_q8[mask], chunk.revision == COARSER
    low, high = ((edge + 0.5) * chunk.step_m + chunk.origin_world for edge in (local.min(0), local.max(0)))
    spacing_m = chunk.spacing_m if is_block else spacing_voxels(local) * OFFSET_STEPS * chunk.step_m
    return replace(
        chunk, local_q8=local, color_rgba=chunk.color_rgba[mask], priority=chunk.priority[mask],
        spacing_m=min(spacing_m, max_spacing_m), low_world=low, high_world=high,
        codes=chunk.codes if is_block else chunk.codes[mask],
    )  # fmt: skip


def _nothing(key: DrawKey) -> ExtractedChunk:
    """What is not drawn any more."""
    codes, corner = np.zeros(0, np.uint32), np.zeros(3)
    priority, local = np.zeros(0, np.uint8), np.zeros((0, 3), np.uint16)
    return ExtractedChunk(key, 0, corner, 1.0, local, codes, priority, 0.0, corner, corner, codes, 0, False)


class ChunkExtractor:
    """Tells a renderer which chunks changed since it last looked, and unpacks them within a time budget.

    Args:
        clock: Seconds that only rise; for the budget.
        stage: What else can be done with a chunk that a pager read, on the pager's thread.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        stage: Callable[[ExtractedChunk], ExtractedChunk] = lambda chunk: chunk,
    ) -> None:
        self._clock, self._stage = clock, stage
        self._held: dict[DrawKey, tuple[int, weakref.ref[npt.NDArray]]] = {}
        self._pending: list[ChunkKey] = []
        self._snapshot: MemorySnapshot | None = None
        self._scene: Pager | None = None
        self._voxel_size_m = 0.0

    @property
    def num_pending(self) -> int:
        """Chunks of the last snapshot that were not taken over yet."""
        return len(self._pending) if self._scene is None else self._scene.num_ready

    def begin(self, snapshot: MemorySnapshot, focus_world: npt.NDArray[np.float64] | None = None) -> list[DrawKey]:
        """Compare a snapshot with what was taken over.

        Args:
            snapshot: What memory holds now.
            focus_world: (3,) where the camera is; chunks near it come first.

        Returns:
            Keys that memory no longer holds; they are forgotten here and the renderer must drop them.
        """
        before = self._snapshot
        if before is snapshot:
            return []
        self._snapshot = snapshot
        if snapshot.scene is not self._scene:
            return self._change_scene(snapshot, focus_world)
        if snapshot.scene is not None:
            return []
        removed: list[DrawKey] = []
        if before is not None and before.voxel_size_m != snapshot.voxel_size_m:
            removed = list(self._held)
        else:
            removed = [key for key in self._held if key not in snapshot.chunks]
        for key in removed:
            del self._held[key]
        pending = [key for key, entry in self._suspects(before, snapshot) if not self._holds(key, entry)]
        self._pending = self._far_first(pending, snapshot.voxel_size_m, focus_world)
        return removed

    def _suspects(
        self, before: MemorySnapshot | None, snapshot: MemorySnapshot
    ) -> Iterator[tuple[ChunkKey, Chunk | StoredChunk]]:
        """Chunks that may have to be taken over: what was pending, and what is not the very object of before."""
        entries = entries_of(snapshot.chunks)
        if before is None or before.voxel_size_m != snapshot.voxel_size_m:
            yield from entries.items()
            return
        old, waiting = entries_of(before.chunks), set(self._pending)
        for key, entry in entries.items():
            if old.get(key) is not entry or key in waiting:
                yield key, entry

    def _change_scene(self, snapshot: MemorySnapshot, focus_world: npt.NDArray[np.float64] | None) -> list[DrawKey]:
        """Go over from memory to what a pager brings, or back when it has brought everything."""
        self._scene, self._pending = snapshot.scene, []
        if self._scene is None:
            self._snapshot = None
            return self.begin(snapshot, focus_world)
        removed = list(self._held)
        self._held.clear()
        self._voxel_size_m = snapshot.voxel_size_m
        self._scene.start_drawing(lambda change: self._stage(self._unpack(change)))
        return removed

    def _holds(self, key: ChunkKey, entry: Chunk | StoredChunk) -> bool:
        """Whether this very content was taken over; revisions alone say nothing about another memory's chunks."""
        held = self._held.get(key)
        if held is None or held[0] != entry.revision:
            return False
        return isinstance(entry, StoredChunk) or held[1]() is entry.rows

    @staticmethod
    def _far_first(
        keys: list[ChunkKey], voxel_size_m: float, focus_world: npt.NDArray[np.float64] | None
    ) -> list[ChunkKey]:
        if len(keys) < 2:
            return keys
        centres = (np.array(keys, np.float64) + 0.5) * (CHUNK_SIDE * voxel_size_m)
        focus = np.zeros(3) if focus_world is None else focus_world
        order = np.argsort(-((centres - focus) ** 2).sum(1), kind="stable")
        return [keys[i] for i in order]

    def take(self, budget_s: float | None = None) -> Iterator[ExtractedChunk]:
        """Unpack pending chunks, nearest first, until the budget is spent.

        The time that the caller spends between two chunks counts. At least one chunk is given.

        Args:
            budget_s: Seconds; None takes all.
        """
        start = self._clock()
        while self._snapshot is not None:
            extracted = self._next(self._snapshot)
            if extracted is None:
                return
            yield extracted
            if budget_s is not None and self._clock() - start >= budget_s:
                return

    def _next(self, snapshot: MemorySnapshot) -> ExtractedChunk | None:
        if self._scene is not None:
            change = self._scene.take()
            return None if change is None else self._follow(change)
        if not self._pending:
            return None
        key = self._pending.pop()
        chunk = snapshot.chunks[key]
        self._held[key] = (chunk.revision, weakref.ref(chunk.rows))
        return extract_chunk(chunk, snapshot.voxel_size_m)

    def _follow(self, change: DrawChange) -> ExtractedChunk:
        shown = change.shown
        if shown is None:
            self._held.pop(change.key, None)
            return _nothing(change.key)
        is_chunk = isinstance(shown, Chunk)
        revision, array = (shown.revision, shown.rows) if is_chunk else (COARSER, shown.local_q8)
        self._held[change.key] = (revision, weakref.ref(array))
        return self._unpack(change) if change.prepared is None else change.prepared

    def _unpack(self, change: DrawChange) -> ExtractedChunk:
        """Any thread."""
        assert change.shown is not None
        if isinstance(change.shown, Block):
            return extract_block(change.shown, self._voxel_size_m)
        return extract_chunk(change.shown, self._voxel_size_m, is_new=change.is_new, spacing=change.spacing)
