"""The spatial memory: chunks by key, changed by one thread, read by all through snapshots."""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from .chunks import COLUMN_WEIGHT, Chunk, ChunkKey
from .errors import StaleChangeError
from .merge import MergeReport, StagedChange, stage_insert
from .points import PointBatch

DEFAULT_VOXEL_SIZE_M = 0.01


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

    def content_hash(self) -> str:
        """SHA-256 hex of voxel size, sorted keys and content (codes, rows, priority; not revision, not evidence).

        Independent of the order and split of plain insertion.
        """
        digest = hashlib.sha256(struct.pack("<d", self.voxel_size_m))
        for key in sorted(self.chunks):
            chunk = self.chunks[key]
            digest.update(struct.pack("<4q", *key, chunk.num_points))
            digest.update(np.ascontiguousarray(chunk.codes, "<u4").data)
            digest.update(np.ascontiguousarray(chunk.rows, "<u4").data)
            digest.update(np.ascontiguousarray(chunk.priority).data)
        return digest.hexdigest()

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

    def content_hash(self) -> str:
        """SHA-256 hex of the content, see ``MemorySnapshot.content_hash``."""
        return self.snapshot().content_hash()

    def insert(self, batch: PointBatch) -> MergeReport:
        """Merge points; where priorities differ in a voxel only the highest count.

        Args:
            batch: Any number of points, any order.

        Returns:
            Counts and the keys of changed chunks.

        Raises:
            ValueError: A position is not finite or beyond ±2^20 chunks.
            WeightOverflowError: More weight falls on one voxel at once than its sums hold; nothing was changed.
        """
        return self.apply(stage_insert(self._chunks, self.voxel_size_m, batch, revision=self._revision + 1))

    def apply(self, change: StagedChange) -> MergeReport:
        """Take over a staged change: swaps references of the changed chunks, copies no points.

        Raises:
            StaleChangeError: A chunk that it replaces has changed since; nothing was changed, stage again.
        """
        stale = [key for key, chunk in change.base.items() if self._chunks.get(key) is not chunk]
        if stale:
            raise StaleChangeError(f"{len(stale)} of {len(change.base)} chunks changed since staging; stage again")
        if change.chunks:
            self._replace(change.chunks)
        return change.report

    def _replace(self, chunks: Mapping[ChunkKey, Chunk | None]) -> None:
        self._revision += 1
        for key, chunk in chunks.items():
            if chunk is None:
                self._chunks.pop(key, None)
            else:
                self._chunks[key] = _at_revision(chunk, self._revision)


def _at_revision(chunk: Chunk, revision: int) -> Chunk:
    if chunk.revision == revision:
        return chunk
    return Chunk(chunk.key, revision, chunk.codes, chunk.rows, chunk.priority, chunk.evidence)
