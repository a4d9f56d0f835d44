"""The spatial memory: chunks by key, changed by one thread, read by all through snapshots."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt

from .carve import stage_carve
from .changes import MergeReport, StagedChange, stage_recolor, stage_remove
from .chunks import CHUNK_SIDE, Chunk, ChunkKey, check_chunk
from .errors import StaleChangeError
from .merge import stage_insert
from .paging import Pager
from .points import PointBatch
from .snapshot import MemorySnapshot
from .stored import PagedChunks, StoredChunk, entries_of, is_same_content
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
        self._entries: dict[ChunkKey, Chunk | StoredChunk] = {}
        self._pager: Pager | None = None
        self._revision = 0
        self._last_snapshot: MemorySnapshot | None = None
        self._to_draw: MemorySnapshot | None = None

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
        """Read-only view of the chunks by key; follows later changes. Looking up one that is on the disk reads it."""
        return _view(self._entries, self._pager)

    @property
    def pager(self) -> Pager | None:
        """Reads and draws what is on the disk; None where all is in memory."""
        return self._pager

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return sum(entry.num_points for entry in self._entries.values())

    def snapshot(self) -> MemorySnapshot:
        """References to the present chunks, no copies: O(chunks) after a change, otherwise the last one again."""
        if self._last_snapshot is None or self._last_snapshot.revision != self._revision:
            chunks = _view(dict(self._entries), self._pager)
            self._last_snapshot = MemorySnapshot(self._voxel_size_m, self._revision, chunks)
        return self._last_snapshot

    def is_absent(self, key: ChunkKey) -> bool:
        """Whether a chunk is there but cannot be had without reading the disk."""
        return key in self._entries and self.held(key) is None

    def to_draw(self) -> MemorySnapshot:
        """The snapshot for the one renderer that draws the walk: where memory is paged, the pager decides what it gets.

        Anything else that draws takes a ``snapshot``, or a subset of it, and gets all of that in full.
        """
        if self._pager is None:
            return self.snapshot()
        if self._to_draw is None or self._to_draw.revision != self._revision:
            self._to_draw = replace(self.snapshot(), scene=self._pager)
        return self._to_draw

    def held(self, key: ChunkKey) -> Chunk | None:
        """A chunk if it can be had without reading the disk, otherwise None."""
        entry = self._entries.get(key)
        return self._pager.held(entry) if isinstance(entry, StoredChunk) and self._pager is not None else entry  # type: ignore[return-value]

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
        return self.apply(stage_insert(self.chunks, self._voxel_size_m, batch, revision=self._revision + 1))

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
        return self.apply(stage_remove(self.chunks, masks, revision=self._revision + 1))

    def remove_box(self, low_world: npt.ArrayLike, high_world: npt.ArrayLike) -> MergeReport:
        """Take out the voxels whose mean position lies in [low, high).

        Args:
            low_world: (3,) metres, lowest corner.
            high_world: (3,) metres, highest corner.
        """
        low, high = np.asarray(low_world, np.float64).reshape(3), np.asarray(high_world, np.float64).reshape(3)
        masks = {}
        for key in self.snapshot().chunks_in_box(low, high):
            position = self.chunks[key].positions_world(self._voxel_size_m)
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
        return self.apply(stage_recolor(self.chunks, masks, color, revision=self._revision + 1))

    def is_stale(self, change: StagedChange) -> bool:
        """Whether a chunk that the change was computed from has changed since, so that ``apply`` would refuse it."""
        return not all(is_same_content(self._entries.get(key), chunk) for key, chunk in change.base.items())

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
        wanted = entries_of(snapshot.chunks)
        differing = {
            key: wanted.get(key)
            for key in {*self._entries, *wanted}
            if not is_same_content(self._entries.get(key), wanted.get(key))
        }
        if self._pager is None:  # a memory of its own, such as a fork: nobody would read what is on the disk
            stored = [key for key, entry in differing.items() if isinstance(entry, StoredChunk)]
            differing.update({key: snapshot.chunks[key] for key in stored})
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
            if chunk.key in self._entries or chunk.key in fresh:
                raise ValueError(f"chunk {chunk.key}: memory has it already; load into an empty memory")
            fresh[chunk.key] = chunk
        if fresh:
            self._revision = max(self._revision + 1, *(c.revision for c in fresh.values()))
            self._entries.update(fresh)
        return MergeReport(added=sum(c.num_points for c in fresh.values()), changed=tuple(sorted(fresh)))

    def held_near(self, center_world: npt.NDArray[np.float64], radius_m: float) -> MemorySnapshot:
        """The chunks around a place that can be had without reading the disk; all of them where nothing is paged."""
        if self._pager is None:
            return self.snapshot()
        side_m = CHUNK_SIDE * self._voxel_size_m
        first, last = (np.floor((center_world + sign * radius_m) / side_m).astype(int) for sign in (-1, 1))
        xs, ys, zs = (range(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True))
        keys = [(x, y, z) for x in xs for y in ys for z in zs]
        found = {key: chunk for key in keys if (chunk := self.held(key)) is not None}
        return MemorySnapshot(self._voxel_size_m, self._revision, MappingProxyType(found))

    # Paging: the owner's thread decides what is held by reference alone; a pager reads it when it is needed.

    def page(self, stored: Iterable[StoredChunk], pager: Pager) -> None:
        """Take over chunks that lie on the disk.

        Args:
            stored: Of keys that memory does not have yet.
            pager: Reads and draws them; memory closes it.

        Raises:
            ValueError: Memory is paged already, or has a chunk of such a key; nothing was changed.
        """
        fresh = {entry.key: entry for entry in stored}
        if self._pager is not None or any(key in self._entries for key in fresh):
            raise ValueError("stored chunks: expected an empty memory without a pager, got one that has them already")
        self._pager = pager
        self._revision = max([self._revision + 1, *(entry.revision for entry in fresh.values())])
        self._entries.update(fresh)
        pager.follow(self._entries)

    def release(self, saved: Mapping[ChunkKey, StoredChunk]) -> int:
        """Hold chunks that were saved by reference alone, so that they may be dropped. Changes no content.

        Args:
            saved: What a store has accepted; those that changed since are kept.

        Returns:
            How many were given to the pager; 0 where nothing is paged.
        """
        if self._pager is None:
            return 0
        released: dict[ChunkKey, StoredChunk] = {}
        for key, stored in saved.items():
            entry = self._entries.get(key)
            if isinstance(entry, Chunk) and entry.revision == stored.revision:
                self._pager.keep(stored, entry)
                released[key] = stored
        self._take_over(released)
        return len(released)

    def hold_all(self) -> bool:
        """Hold everything in memory and let go of the pager, if it has read everything.

        Returns:
            True if nothing is paged any more.
        """
        if self._pager is None:
            return True
        chunks = self._pager.all_held(self._entries)
        if chunks is None:
            return False
        self._entries, self._last_snapshot = dict(chunks), None
        self.close()
        return True

    def close(self) -> None:
        """Stop reading from the disk; safe to call twice. What was not read then cannot be looked up any more."""
        pager, self._pager = self._pager, None
        if pager is not None:
            pager.close()

    def _take_over(self, entries: Mapping[ChunkKey, StoredChunk]) -> None:
        if entries:
            self._entries.update(entries)
            self._last_snapshot = None

    def _replace(self, chunks: Mapping[ChunkKey, Chunk | StoredChunk | None]) -> None:
        self._revision += 1
        for key, chunk in chunks.items():
            if chunk is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = _at_revision(chunk, self._revision)
        if self._pager is not None:
            self._pager.changed({key: self._entries.get(key) for key in chunks})


def _view(entries: Mapping[ChunkKey, Chunk | StoredChunk], pager: Pager | None) -> Mapping[ChunkKey, Chunk]:
    if pager is not None:
        return PagedChunks(entries, pager)
    return MappingProxyType(cast(dict[ChunkKey, Chunk], entries))


def _at_revision(chunk: Chunk | StoredChunk, revision: int) -> Chunk | StoredChunk:
    if chunk.revision == revision:
        return chunk
    if isinstance(chunk, StoredChunk):
        return replace(chunk, revision=revision)
    return Chunk(chunk.key, revision, chunk.codes, chunk.rows, chunk.priority, chunk.evidence)
