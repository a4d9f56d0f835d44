"""Parts of a memory that lies on the disk, for what works on them: never coarsened where it matters, and bounded.

A memory that is held as a whole passes through unchanged.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .chunks import Chunk, ChunkKey
from .snapshot import MemorySnapshot, chunk_centers
from .stored import ChunkReader, PagedChunks, StoredChunk, entries_of

CONDITIONING_POINTS = 6_000_000
"""Voxels that a request carries at most, 240 MB; the farthest of more are left out, none is coarsened."""

COVERAGE_FULL_M, COVERAGE_FAR_M = 4.0, 24.0
"""Coverage is measured on all points within the first, on the coarser level within the second distance."""

_COARSER = 1 << 62
"""Added to the revision of a chunk that is seen in its coarser level, so that it counts as another one."""


def conditioning_view(
    snapshot: MemorySnapshot, pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64]
) -> MemorySnapshot:
    """What a generator may be conditioned on: the chunks in the cameras' frusta, in full. Reads nothing yet.

    Args:
        snapshot: Memory.
        pinhole: Intrinsics of all cameras.
        world_T_camera: (F, 4, 4) or (4, 4) float64 poses.
    """
    keys = snapshot.chunks_in_frusta(pinhole, world_T_camera)
    if isinstance(snapshot.chunks, PagedChunks) and keys:
        eyes = np.asarray(world_T_camera, np.float64).reshape(-1, 4, 4)[:, :3, 3]
        away = np.linalg.norm(chunk_centers(keys, snapshot.chunk_size_m) - eyes.mean(0), axis=1)
        keys = [keys[i] for i in np.argsort(away, kind="stable")]
        points = np.cumsum([entries_of(snapshot.chunks)[key].num_points for key in keys])
        keys = keys[: max(1, int((points <= CONDITIONING_POINTS).sum()))]
    return snapshot.subset(keys)


def coverage_view(snapshot: MemorySnapshot, position_world: npt.NDArray[np.float64]) -> MemorySnapshot:
    """What coverage around a place is measured on: all of it nearby, the coarser level farther off.

    Args:
        snapshot: Memory.
        position_world: (3,) metres.
    """
    chunks = snapshot.chunks
    if not isinstance(chunks, PagedChunks) or not chunks:
        return snapshot
    keys = list(chunks)
    away = np.linalg.norm(chunk_centers(keys, snapshot.chunk_size_m) - position_world, axis=1)
    entries: dict[ChunkKey, Chunk | StoredChunk] = {}
    for i in np.flatnonzero(away < COVERAGE_FAR_M).tolist():
        entry = chunks.entries[keys[i]]
        is_far = away[i] >= COVERAGE_FULL_M and isinstance(entry, StoredChunk)
        entries[keys[i]] = replace(entry, revision=entry.revision + _COARSER) if is_far else entry
    view = PagedChunks(entries, _TwoLevels(chunks.reader))
    return MemorySnapshot(snapshot.voxel_size_m, snapshot.revision, view)


class _TwoLevels:
    """Reads chunks whose revision says so in their coarser level."""

    def __init__(self, reader: ChunkReader) -> None:
        self._reader = reader

    def chunk(self, stored: StoredChunk) -> Chunk:
        """In full, or coarser."""
        if stored.revision < _COARSER:
            return self._reader.chunk(stored)
        return self._reader.coarse(stored)

    def coarse(self, stored: StoredChunk) -> Chunk:
        """Coarser."""
        return self._reader.coarse(stored)
