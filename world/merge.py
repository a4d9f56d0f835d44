"""Merging points into chunks, and staging what a clip proposes.

Pure: computes new chunks from old ones on any thread, touching nothing; the owner of memory takes them over with
``SpatialMemory.apply``.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .carve import stage_carve
from .changes import MergeReport, StagedChange
from .chunks import MAX_CHUNK_KEY, MAX_VOXEL_WEIGHT, Chunk, ChunkKey, addresses_of
from .errors import WeightOverflowError
from .points import PointBatch
from .snapshot import MemorySnapshot
from .updates import MapUpdate

MAX_POINTS_PER_CHUNK = 16_000_000
"""With more points of one chunk in one batch, a sum of weights (255 each at most) could wrap before it is checked."""

_MISTAKES = {
    -2: "positions_world: expected finite metres, got NaN or infinity; leave such points out",
    -3: "positions_world: expected positions within 2^20 chunks of the origin; check units and pose",
    -4: "weights: expected 1 or more, got 0; leave points without confidence out",
    -5: "priority: expected 64..255 from priority_of, got less; 0 means nothing",
}


def stage_update(snapshot: MemorySnapshot, update: MapUpdate) -> StagedChange:
    """Compute what a clip's update makes of memory: first carve free space, then insert points.

    Any thread; releases the interpreter's lock while it computes.

    Args:
        snapshot: Memory as it is.
        update: What the clip proposes.

    Raises:
        ValueError: Points are malformed, see ``stage_insert``.
        WeightOverflowError: More weight falls on one voxel at once than its sums hold.
    """
    carved = stage_carve(snapshot, update.free_space)
    after = {**snapshot.chunks, **carved.chunks} if carved.chunks else snapshot.chunks
    present = {key: chunk for key, chunk in after.items() if chunk is not None}
    inserted = stage_insert(present, snapshot.voxel_size_m, update.points, revision=snapshot.revision + 1)
    chunks = {**carved.chunks, **inserted.chunks}
    base = {key: snapshot.chunks.get(key) for key in {**chunks, **inserted.base}}
    return StagedChange(base, chunks, carved.report + inserted.report)


def stage_insert(
    chunks: Mapping[ChunkKey, Chunk], voxel_size_m: float, batch: PointBatch, *, revision: int
) -> StagedChange:
    """Merge points into chunks: per voxel only points of the highest priority count, equal ones add up.

    The result has the same bits for any order and split of the points. One exception: a voxel whose weights would
    exceed ``chunks.MAX_VOXEL_WEIGHT`` (a million points of full confidence) keeps what it has and leaves a batch's
    points out.

    Args:
        chunks: Present chunks by key.
        voxel_size_m: Side of a voxel in metres.
        batch: Any number of points, any order.
        revision: Revision that new chunks carry.

    Raises:
        ValueError: A position is not finite or beyond ±2^20 chunks, or a weight or priority is too low.
        WeightOverflowError: More weight falls on one empty voxel at once than its sums hold.
    """
    if len(batch) == 0:
        return StagedChange({}, {})
    from . import kernels  # imports Numba, which takes most of a second

    keys, bounds, records = _partition(batch, voxel_size_m)
    old = [chunks.get(key) for key in keys]
    counts, addresses = addresses_of(old)
    report, status = np.zeros(5, np.int64), np.zeros(len(keys), np.uint8)
    buffers = kernels.merge_records(bounds, records, counts, addresses, MAX_VOXEL_WEIGHT, report, status)
    if (status == kernels.OVERFLOWED).any():
        raise WeightOverflowError(
            f"more than {MAX_VOXEL_WEIGHT} of weight falls on one voxel at once; nothing was changed, thin the points"
        )
    out: dict[ChunkKey, Chunk | None] = {
        key: _chunk_from(key, revision, buffer)
        for key, buffer, state in zip(keys, buffers, status.tolist(), strict=True)
        if state != kernels.UNCHANGED
    }
    base = dict(zip(keys, old, strict=True))
    added, refreshed, replaced, outranked, saturated = report.tolist()
    return StagedChange(base, out, MergeReport(added, refreshed, replaced, outranked, 0, tuple(sorted(out)), saturated))


def _partition(
    batch: PointBatch, voxel_size_m: float
) -> tuple[list[ChunkKey], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Keys of the chunks that the points fall in, the bounds of their records, and the records, chunk by chunk."""
    from . import kernels

    n = len(batch)
    chunk_index, first_word = np.empty(n, np.uint32), np.empty(n, np.uint64)
    capacity = 1 << 12
    while True:
        table = np.full(capacity * 4, kernels.EMPTY, np.int32)
        found, counts = np.empty(capacity, np.uint64), np.zeros(capacity, np.int64)
        num_chunks = kernels.assign_chunks(
            np.ascontiguousarray(batch.positions_world).reshape(-1),
            np.ascontiguousarray(batch.weights),
            np.ascontiguousarray(batch.priority),
            voxel_size_m,
            table,
            found,
            counts,
            chunk_index,
            first_word,
        )
        if num_chunks != kernels.TABLE_IS_FULL:
            break
        capacity *= 8
    if num_chunks < 0:
        raise ValueError(_MISTAKES[num_chunks])
    if counts.max() > MAX_POINTS_PER_CHUNK:
        raise WeightOverflowError(
            f"{counts.max()} points fall in one chunk at once, at most {MAX_POINTS_PER_CHUNK} can be summed; split them"
        )
    bounds = np.zeros(num_chunks + 1, np.int64)
    np.cumsum(counts[:num_chunks], out=bounds[1:])
    records = np.empty((n, 2), np.uint64)
    kernels.scatter_records(
        chunk_index,
        first_word,
        np.ascontiguousarray(batch.colors),
        np.ascontiguousarray(batch.keyframe),
        bounds[:-1].copy(),
        records,
    )
    return _unpacked(found[:num_chunks]), bounds, records


def _unpacked(packed: npt.NDArray[np.uint64]) -> list[ChunkKey]:
    """Chunk keys of words that hold x, y, z in 21 bits each, two's complement."""
    parts = [(packed >> np.uint64(shift)) & np.uint64((1 << 21) - 1) for shift in (0, 21, 42)]
    signed = [((part.astype(np.int64) + MAX_CHUNK_KEY) % (2 * MAX_CHUNK_KEY) - MAX_CHUNK_KEY).tolist() for part in parts]
    return list(zip(*signed, strict=True))


def _chunk_from(key: ChunkKey, revision: int, buffer: npt.NDArray[np.uint8]) -> Chunk:
    """A chunk whose arrays lie behind one another in one buffer (see ``kernels.VOXEL_BYTES``)."""
    n = len(buffer) // 39
    return Chunk(
        key,
        revision,
        buffer[32 * n : 36 * n].view(np.uint32),
        buffer[: 32 * n].view(np.uint32).reshape(n, 8),
        buffer[36 * n : 37 * n],
        buffer[37 * n :].reshape(n, 2),
    )
