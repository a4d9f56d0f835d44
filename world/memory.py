"""The spatial memory: chunks by key, changed by one thread, read by all through snapshots."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from .carve import stage_carve
from .changes import MergeReport, StagedChange, stage_recolor, stage_remove
from .chunks import Chunk, ChunkKey, check_chunk
from .errors import StaleChangeError
from .merge import stage_insert
from .points import PointBatch
from .snapshot import MemorySnapshot
from .updates import DepthView

__all__ = ["DEFAULT_VOXEL_SIZE_M", "MemorySnapshot", "MergeReport", "SpatialMemory", "StagedChange"]

DEFAULT_VOXEL_SIZE_M = 0.01


class SpatialMemory:
    """De-duplicated points of the static scene, in immutable chunks.

    Only the thread that owns it (the session's) may call what changes it; ``snapshot`` gives any other thread a view.
    What takes long is staged elsewhere (``merge.stage_update``) and taken over by ``apply``.

    Args:
        voxel_size_m: Side of a voxel in metres.
    """

    def __init__(self, voxel_size_m: float = DEFAULT_VOXEL_SIZE_M) -> None:
        if not np.isfinite(voxel_size_m) or voxel_size_m <= 0:
            raise ValueError(f"voxel_size_m: expected a positive number of metres, got {voxel_size_m}")
        self._voxel_size_m = float(voxel_size_m)
        self._chunks: dict[ChunkKey, Chunk] = {}
        self._revision = 0
        self._last_snapshot: MemorySnapshot | None = None

    @property
    def voxel_size_m(self) -> float:
        """Side of a voxel in metres; fixed for life."""
        return self._voxel_size_m

    @property
    def revision(self) -> int:
        """Raised by every change; the revision of a chunk is memory's at its last change."""
        return self._revision

    @property
    def chunks(self) -> Mapping[ChunkKey, Chunk]:
        """Read-only view of the chunks by key; follows later changes."""
        return MappingProxyType(self._chunks)

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return sum(c.num_points for c in self._chunks.values())

    def snapshot(self) -> MemorySnapshot:
        """References to the present chunks, no copies: O(chunks) after a change, otherwise the last one again."""
        if self._last_snapshot is None or self._last_snapshot.revision != self._revision:
            chunks = MappingProxyType(dict(self._chunks))
            self._last_snapshot = MemorySnapshot(self._voxel_size_m, self._revision, chunks)
        return self._last_snapshot

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
            ValueError: A position is not finite or beyond ±2^20 chunks, or a weight or priority is 0.
            WeightOverflowError: More weight falls on one voxel at once than its sums hold; nothing was changed.
        """
        return self.apply(stage_insert(self._chunks, self._voxel_size_m, batch, revision=self._revision + 1))

    def carve(self, views: Sequence[DepthView]) -> MergeReport:
        """Count what views confirm and see through, and remove what they refute; see ``carve.stage_carve``."""
        return self.apply(stage_carve(self.snapshot(), views))

    def remove(self, masks: Mapping[ChunkKey, npt.NDArray[np.bool_]]) -> MergeReport:
        """Take out the voxels whose mask is True; costs what it touches.

        Args:
            masks: (N,) bool by chunk key, in the order of the chunk's codes; keys that memory lacks are passed over.

        Raises:
            ValueError: A mask is not bool or not as long as its chunk.
        """
        return self.apply(stage_remove(self._chunks, masks, revision=self._revision + 1))

    def remove_box(self, low_world: npt.ArrayLike, high_world: npt.ArrayLike) -> MergeReport:
        """Take out the voxels whose mean position lies in [low, high).

        Args:
            low_world: (3,) metres, lowest corner.
            high_world: (3,) metres, highest corner.
        """
        low, high = np.asarray(low_world, np.float64).reshape(3), np.asarray(high_world, np.float64).reshape(3)
        masks = {}
        for key in self.snapshot().chunks_in_box(low, high):
            position = self._chunks[key].positions_world(self._voxel_size_m)
            masks[key] = ((position >= low) & (position < high)).all(1)
        return self.remove(masks)

    def recolor(self, masks: Mapping[ChunkKey, npt.NDArray[np.bool_]], color: tuple[int, int, int]) -> MergeReport:
        """Paint the voxels whose mask is True; costs what it touches.

        Args:
            masks: (N,) bool by chunk key, in the order of the chunk's codes; keys that memory lacks are passed over.
            color: sRGB, 0..255 each.

        Raises:
            ValueError: A mask is not bool or not as long as its chunk, or the colour is out of range.
        """
        return self.apply(stage_recolor(self._chunks, masks, color, revision=self._revision + 1))

    def is_stale(self, change: StagedChange) -> bool:
        """Whether a chunk that the change was computed from has changed since, so that ``apply`` would refuse it."""
        return any(self._chunks.get(key) is not chunk for key, chunk in change.base.items())

    def apply(self, change: StagedChange) -> MergeReport:
        """Take over a staged change: swaps references of the changed chunks, copies no points.

        The change keeps the chunks that it replaced; let the thread that staged it drop it, since freeing takes
        longer than swapping.

        Raises:
            StaleChangeError: A chunk that it replaces has changed since; nothing was changed, stage again.
        """
        if self.is_stale(change):
            raise StaleChangeError(f"some of {len(change.base)} chunks changed since staging; stage again")
        if change.chunks:
            self._replace(change.chunks)
        return change.report

    def restore(self, snapshot: MemorySnapshot) -> MergeReport:
        """Go back to a snapshot of this memory: chunks that differ get its content under a new revision.

        Returns:
            The keys of changed chunks, and how many voxels the world has more or fewer.

        Raises:
            ValueError: The snapshot's voxels are of another size.
        """
        if snapshot.voxel_size_m != self._voxel_size_m:
            raise ValueError(f"snapshot: expected voxels of {self._voxel_size_m} m, got {snapshot.voxel_size_m} m")
        keys = {*self._chunks, *snapshot.chunks}
        differing: dict[ChunkKey, Chunk | None] = {
            key: snapshot.chunks.get(key) for key in keys if self._chunks.get(key) is not snapshot.chunks.get(key)
        }
        before = self.num_points
        if differing:
            self._replace(differing)
        gained = self.num_points - before
        return MergeReport(added=max(0, gained), removed=max(0, -gained), changed=tuple(sorted(differing)))

    def load(self, chunks: Iterable[Chunk]) -> MergeReport:
        """Take over chunks as they are, with their revisions, such as those of a save file.

        Raises:
            ValueError: A chunk is malformed or of a key that memory has already; nothing was changed.
        """
        fresh: dict[ChunkKey, Chunk] = {}
        for chunk in chunks:
            check_chunk(chunk)
            if chunk.key in self._chunks or chunk.key in fresh:
                raise ValueError(f"chunk {chunk.key}: memory has it already; load into an empty memory")
            fresh[chunk.key] = chunk
        if fresh:
            self._revision = max(self._revision + 1, *(c.revision for c in fresh.values()))
            self._chunks.update(fresh)
        return MergeReport(added=sum(c.num_points for c in fresh.values()), changed=tuple(sorted(fresh)))

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
