"""The spatial memory: chunks by key, changed by one thread, read by all through snapshots."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from .chunks import (
    CHUNK_BITS,
    CHUNK_SIDE,
    COLUMN_KEYFRAME,
    COLUMN_WEIGHT,
    OFFSET_BITS,
    OFFSET_STEPS,
    Chunk,
    ChunkKey,
    morton,
)
from .points import PointBatch

DEFAULT_VOXEL_SIZE_M = 0.01


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What one change did to memory.

    Attributes:
        added: Voxels that were empty before.
        refreshed: Voxels that got more points of their own priority.
        replaced: Voxels whose lower points gave way to higher ones.
        outranked: Points that fell on a voxel of higher priority and were left out.
        removed: Voxels removed.
        changed: Keys of the chunks that were replaced or dropped.
    """

    added: int = 0
    refreshed: int = 0
    replaced: int = 0
    outranked: int = 0
    removed: int = 0
    changed: tuple[ChunkKey, ...] = ()


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """A consistent, immutable view of memory: references, no copies. Any thread may read it."""

    voxel_size_m: float
    revision: int
    chunks: Mapping[ChunkKey, Chunk]

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return sum(c.num_points for c in self.chunks.values())

    def points(self, keys: Iterable[ChunkKey] | None = None) -> PointBatch:
        """Copy points out: voxel means in metres, world frame.

        Args:
            keys: Chunks to copy, in this order; all, sorted by key, if not given. Unknown keys are passed over.
        """
        wanted = sorted(self.chunks) if keys is None else [k for k in keys if k in self.chunks]
        return PointBatch.concatenate([self._points_of(self.chunks[k]) for k in wanted])

    def _points_of(self, chunk: Chunk) -> PointBatch:
        weights = np.minimum(chunk.rows[:, COLUMN_WEIGHT], 255).astype(np.uint8)
        return PointBatch(
            chunk.positions_world(self.voxel_size_m),
            chunk.colors(),
            weights,
            chunk.priority.copy(),
            chunk.keyframes().copy(),
        )


class SpatialMemory:
    """De-duplicated points of the static scene, in immutable chunks.

    Only the thread that owns it (the session's) may call what changes it; ``snapshot`` gives any other thread a view.

    Args:
        voxel_size_m: Side of a voxel in metres.
    """

    def __init__(self, voxel_size_m: float = DEFAULT_VOXEL_SIZE_M) -> None:
        if not np.isfinite(voxel_size_m) or voxel_size_m <= 0:
            raise ValueError(f"voxel_size_m: expected a positive number of metres, got {voxel_size_m}")
        self.voxel_size_m = float(voxel_size_m)
        self._chunks: dict[ChunkKey, Chunk] = {}
        self._revision = 0

    @property
    def revision(self) -> int:
        """Raised by every change; the revision of a chunk is memory's at its last change."""
        return self._revision

    @property
    def chunks(self) -> Mapping[ChunkKey, Chunk]:
        """Read-only view of the chunks by key."""
        return MappingProxyType(self._chunks)

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return sum(c.num_points for c in self._chunks.values())

    def snapshot(self) -> MemorySnapshot:
        """References to the present chunks: costs O(chunks), copies no points."""
        return MemorySnapshot(self.voxel_size_m, self._revision, MappingProxyType(dict(self._chunks)))

    def points(self) -> PointBatch:
        """Copy of all points, chunk by chunk in key order."""
        return self.snapshot().points()

    def insert(self, batch: PointBatch) -> MergeReport:
        """Merge points; where priorities differ in a voxel only the highest count.

        Args:
            batch: Any number of points, any order.

        Returns:
            Counts and the keys of changed chunks.

        Raises:
            ValueError: A position is not finite or beyond ±2^20 chunks.
        """
        raise NotImplementedError
