"""Chunks as renderers need them: positions and colours unpacked once for each revision, within a time budget."""

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..world.chunks import CHUNK_SIDE, OFFSET_STEPS, Chunk, ChunkKey
from ..world.memory import MemorySnapshot
from .pages import measure_spacing, unpack_chunk

MAX_SPACING_VOXELS = 4.0
"""Points farther apart than this are drawn as separate dots."""

MAX_LOOSE_SPACING_VOXELS = 2.0
"""The same in a chunk whose points are too few for a surface of their spacing: strays, such as at silhouettes."""

MIN_SPACING_VOXELS = 0.8
"""A smaller spacing is that of a thick cloud, whose front still has gaps of about this size."""

SPACING_SAMPLES, SPACING_REACH = 48, 64
"""Points looked at for the spacing of a chunk, and how far around each: 10 µs a chunk."""


@dataclass(frozen=True, slots=True, eq=False)
class ExtractedChunk:
    """One chunk ready to be drawn.

    Attributes:
        key: Chunk key.
        revision: Revision that it was made from.
        origin_world: (3,) float64 metres, corner of the chunk where local (0, 0, 0) begins.
        step_m: Metres of one local step (a voxel has 256).
        local_q8: (N, 3) uint16; a point lies at ``origin_world + (local_q8 + 0.5) * step_m``.
        color_rgba: (N,) uint32, red in the lowest byte, alpha 255.
        priority: (N,) uint8, class and rank.
        spacing_m: Typical distance between neighbouring points on the surface, measured.
        low_world: (3,) float64 smallest coordinates of its points.
        high_world: (3,) float64 largest coordinates of its points.
    """

    key: ChunkKey
    revision: int
    origin_world: npt.NDArray[np.float64]
    step_m: float
    local_q8: npt.NDArray[np.uint16]
    color_rgba: npt.NDArray[np.uint32]
    priority: npt.NDArray[np.uint8]
    spacing_m: float
    low_world: npt.NDArray[np.float64]
    high_world: npt.NDArray[np.float64]

    @property
    def num_points(self) -> int:
        """Points of the chunk."""
        return len(self.color_rgba)


def extract_chunk(chunk: Chunk, voxel_size_m: float) -> ExtractedChunk:
    """Unpack a chunk for drawing; the same positions and colours as ``Chunk`` gives. Fresh arrays."""
    n = chunk.num_points
    local = np.empty((n, 3), np.uint16)
    color = np.empty(n, np.uint32)
    bounds = np.zeros((2, 3), np.int64)
    unpack_chunk(chunk.codes, chunk.rows, local, color, bounds)
    step = voxel_size_m / OFFSET_STEPS
    origin = np.array(chunk.key, np.float64) * (CHUNK_SIDE * voxel_size_m)
    low, high = (bounds + 0.5) * step + origin
    spacing = _spacing_voxels(local) * voxel_size_m
    return ExtractedChunk(chunk.key, chunk.revision, origin, step, local, color, chunk.priority, spacing, low, high)


def _spacing_voxels(local: npt.NDArray[np.uint16]) -> float:
    spacing = float(measure_spacing(local, SPACING_SAMPLES, SPACING_REACH)) / OFFSET_STEPS
    is_surface = len(local) * spacing**2 > 0.5 * CHUNK_SIDE**2
    return min(max(spacing, MIN_SPACING_VOXELS), MAX_SPACING_VOXELS if is_surface else MAX_LOOSE_SPACING_VOXELS)


class ChunkExtractor:
    """Tells a renderer which chunks changed since it last looked, and unpacks them within a time budget.

    Args:
        clock: Seconds that only rise; for the budget.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._held: dict[ChunkKey, tuple[int, weakref.ref[npt.NDArray[np.uint32]]]] = {}
        self._pending: list[ChunkKey] = []
        self._snapshot: MemorySnapshot | None = None

    @property
    def num_pending(self) -> int:
        """Chunks of the last snapshot that were not taken over yet."""
        return len(self._pending)

    def begin(self, snapshot: MemorySnapshot, focus_world: npt.NDArray[np.float64] | None = None) -> list[ChunkKey]:
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
        removed: list[ChunkKey] = []
        if before is not None and before.voxel_size_m != snapshot.voxel_size_m:
            removed = list(self._held)
        else:
            removed = [key for key in self._held if key not in snapshot.chunks]
        for key in removed:
            del self._held[key]
        pending = [key for key, chunk in snapshot.chunks.items() if not self._holds(key, chunk)]
        self._pending = self._far_first(pending, snapshot.voxel_size_m, focus_world)
        return removed

    def _holds(self, key: ChunkKey, chunk: Chunk) -> bool:
        """Whether this very content was taken over; revisions alone say nothing about another memory's chunks."""
        held = self._held.get(key)
        return held is not None and held[0] == chunk.revision and held[1]() is chunk.rows

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
        while self._pending and self._snapshot is not None:
            key = self._pending.pop()
            chunk = self._snapshot.chunks[key]
            self._held[key] = (chunk.revision, weakref.ref(chunk.rows))
            yield extract_chunk(chunk, self._snapshot.voxel_size_m)
            if budget_s is not None and self._clock() - start >= budget_s:
                return
