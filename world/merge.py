"""Merging points into chunks, and staging what a clip proposes.

Pure: computes new chunks from old ones on any thread, touching nothing; the owner of memory takes them over with
``SpatialMemory.apply``.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .carve import stage_carve
from .changes import MergeReport, Overlaid, StagedChange
from .chunks import MAX_VOXEL_WEIGHT, Chunk, ChunkKey, addresses_of, chunk_from
from .errors import WeightOverflowError
from .partition import Partition, partition, run_all
from .points import PointBatch
from .snapshot import MemorySnapshot
from .updates import MapUpdate
from .withdraw import stage_withdraw, without


def stage_update(snapshot: MemorySnapshot, update: MapUpdate) -> StagedChange:
    """Compute what a clip's update makes of memory: take back what moves, carve free space, then insert points.

    Any thread; releases the interpreter's lock while it computes.

    Args:
        snapshot: Memory as it is.
        update: What the clip proposes.

    Raises:
        ValueError: Points are malformed, see ``stage_insert``.
        WeightOverflowError: More weight falls on one voxel at once than its sums hold.
    """
    if update.withdrawn:
        return _after_withdrawal(snapshot, update)
    carved = stage_carve(snapshot, update.free_space)
    present = Overlaid(snapshot.chunks, carved.chunks)
    inserted = stage_insert(present, snapshot.voxel_size_m, update.points, revision=snapshot.revision + 1)
    chunks = {**carved.chunks, **inserted.chunks}
    base = {**inserted.base, **carved.base}
    return StagedChange(base, chunks, carved.report + inserted.report)


def _after_withdrawal(snapshot: MemorySnapshot, update: MapUpdate) -> StagedChange:
    """The rest of an update, on memory without what it takes back."""
    gone = stage_withdraw(snapshot, update.withdrawn)
    rest = stage_update(without(snapshot, gone), replace(update, withdrawn=()))
    return StagedChange({**rest.base, **gone.base}, {**gone.chunks, **rest.chunks}, gone.report + rest.report)


def stage_insert(
    chunks: Mapping[ChunkKey, Chunk], voxel_size_m: float, batch: PointBatch, *, revision: int, num_threads: int = 1
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
        num_threads: Threads that share the work; the result is the same for any number.

    Raises:
        ValueError: A position is not finite or beyond ±2^20 chunks, or a weight or priority is too low.
        WeightOverflowError: More weight falls on one empty voxel at once than its sums hold.
    """
    if len(batch) == 0:
        return StagedChange({}, {})
    parts = partition(batch, voxel_size_m, num_threads)
    old = [chunks.get(key) for key in parts.keys]
    buffers, is_changed, counts = _merge(parts, old, num_threads)
    out: dict[ChunkKey, Chunk | None] = {
        key: chunk_from(key, revision, buffer)
        for key, buffer, changed in zip(parts.keys, buffers, is_changed.tolist(), strict=True)
        if changed
    }
    base = dict(zip(parts.keys, old, strict=True))
    added, refreshed, replaced, outranked, saturated = counts.tolist()
    return StagedChange(base, out, MergeReport(added, refreshed, replaced, outranked, 0, tuple(sorted(out)), saturated))


def _merge(
    parts: Partition, old: list[Chunk | None], num_threads: int
) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Buffers of the merged chunks, whether each changed, and counts in the order of ``MergeReport``'s."""
    from . import kernels  # imports Numba, which takes most of a second

    counts, addresses = addresses_of(old)
    status = np.zeros(len(old), np.uint8)
    ends = np.cumsum(parts.counts.sum(0))
    edges = [0, *np.searchsorted(ends, np.linspace(0, ends[-1], num_threads + 1)[1:-1]).tolist(), len(old)]

    def merge(first: int, end: int) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int64]]:
        report = np.zeros(5, np.int64)
        some = slice(first, end)
        pages = np.ascontiguousarray(parts.counts[:, some]), np.ascontiguousarray(parts.first_page[:, some])
        into = counts[some], addresses[some], MAX_VOXEL_WEIGHT, report, status[some]
        return kernels.merge_records(*pages, parts.next_page, parts.records, *into), report

    spans = [(a, b) for a, b in itertools.pairwise(edges) if a < b]
    done = run_all([lambda a=a, b=b: merge(a, b) for a, b in spans], num_threads)
    if (status == kernels.OVERFLOWED).any():
        raise WeightOverflowError(
            f"more than {MAX_VOXEL_WEIGHT} of weight falls on one voxel at once; nothing was changed, thin the points"
        )
    buffers = [buffer for some, _ in done for buffer in some]
    return buffers, status != kernels.UNCHANGED, np.sum([report for _, report in done], axis=0)
