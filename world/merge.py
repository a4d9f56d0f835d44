"""Staging: compute what a change would make of memory's chunks, off the session's thread, touching nothing.

A staged change holds finished chunks. Applying it is a swap of references on the thread that owns memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .chunks import (
    CHUNK_BITS,
    CHUNK_SIDE,
    COLUMN_B,
    COLUMN_KEYFRAME,
    COLUMN_R,
    COLUMN_WEIGHT,
    OFFSET_BITS,
    OFFSET_STEPS,
    Chunk,
    ChunkKey,
    morton,
)
from .errors import WeightOverflowError
from .points import PointBatch

MAX_CHUNK_KEY = 1 << 20
MAX_VOXEL_WEIGHT = (2**32 - 1) // 255
"""Largest sum of weights whose sums of offsets and colours surely fit 32 bits."""


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


@dataclass(frozen=True, slots=True, eq=False)
class StagedChange:
    """New chunks, computed from others; nothing has happened yet.

    Attributes:
        base: The chunk that each touched key had; None where there was none.
        chunks: The chunk that each touched key gets; None where it is dropped.
        report: What applying it will have done.
    """

    base: Mapping[ChunkKey, Chunk | None]
    chunks: Mapping[ChunkKey, Chunk | None]
    report: MergeReport = field(default_factory=MergeReport)


def stage_insert(
    chunks: Mapping[ChunkKey, Chunk], voxel_size_m: float, batch: PointBatch, *, revision: int
) -> StagedChange:
    """Merge points into chunks: per voxel only points of the highest priority count, equal ones add up.

    Args:
        chunks: Present chunks by key.
        voxel_size_m: Side of a voxel in metres.
        batch: Any number of points, any order.
        revision: Revision that new chunks carry.

    Raises:
        ValueError: A position is not finite or beyond ±2^20 chunks, or a weight or priority is 0.
        WeightOverflowError: More weight falls on one voxel at once than its sums hold.
    """
    if len(batch) == 0:
        return StagedChange({}, {})
    position = np.floor(batch.positions_world.astype(np.float64) / voxel_size_m * OFFSET_STEPS)
    _check(batch, position)
    q = position.astype(np.int64)
    keys, chunk_index = np.unique(q >> (OFFSET_BITS + CHUNK_BITS), axis=0, return_inverse=True)
    chunk_index = chunk_index.reshape(-1)
    local = (q >> OFFSET_BITS) & (CHUNK_SIDE - 1)
    codes = morton(local[:, 0], local[:, 1], local[:, 2])
    rows = _rows_of(batch, q & (OFFSET_STEPS - 1))
    order = np.argsort(chunk_index, kind="stable")
    bounds = np.searchsorted(chunk_index[order], np.arange(len(keys) + 1))
    base: dict[ChunkKey, Chunk | None] = {}
    out: dict[ChunkKey, Chunk | None] = {}
    counts = np.zeros(4, np.int64)
    for i, k in enumerate(keys.tolist()):
        key = (k[0], k[1], k[2])
        pick = order[bounds[i] : bounds[i + 1]]
        base[key] = chunks.get(key)
        merged, count = _merge_chunk(key, base[key], codes[pick], rows[pick], batch.priority[pick], revision=revision)
        counts += count
        if merged is not base[key]:
            out[key] = merged
    base = {key: base[key] for key in out}
    added, refreshed, replaced, outranked = (int(c) for c in counts)
    return StagedChange(base, out, MergeReport(added, refreshed, replaced, outranked, 0, tuple(sorted(out))))


def _check(batch: PointBatch, position: npt.NDArray[np.float64]) -> None:
    limit = float(MAX_CHUNK_KEY * CHUNK_SIDE * OFFSET_STEPS)
    if not np.isfinite(position).all():
        raise ValueError("positions_world: expected finite metres, got NaN or infinity; leave such points out")
    if position.min() < -limit or position.max() >= limit:
        raise ValueError("positions_world: expected positions within 2^20 chunks of the origin; check units and pose")
    if batch.weights.min() == 0:
        raise ValueError("weights: expected 1 or more, got 0; leave points without confidence out")
    if batch.priority.min() < 64:
        raise ValueError("priority: expected 64..255 from priority_of, got less; 0 means nothing")


def _rows_of(batch: PointBatch, offset: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """(N, 8) uint64 rows of single points."""
    rows = np.empty((len(batch), 8), np.uint64)
    weight = batch.weights.astype(np.uint64)
    rows[:, :3] = offset.astype(np.uint64) * weight[:, None]
    rows[:, COLUMN_WEIGHT] = weight
    rows[:, COLUMN_R : COLUMN_B + 1] = batch.colors.astype(np.uint64) * weight[:, None]
    rows[:, COLUMN_KEYFRAME] = batch.keyframe
    return rows


def _merge_chunk(
    key: ChunkKey,
    old: Chunk | None,
    codes: npt.NDArray[np.uint32],
    rows: npt.NDArray[np.uint64],
    priority: npt.NDArray[np.uint8],
    *,
    revision: int,
) -> tuple[Chunk | None, tuple[int, int, int, int]]:
    """One chunk with points merged in, and counts of added, refreshed, replaced, outranked."""
    old_codes = np.zeros(0, np.uint32) if old is None else old.codes
    voxels, index = np.unique(np.concatenate([old_codes, codes]), return_inverse=True)
    n, num_old = len(voxels), len(old_codes)
    old_index, new_index = index[:num_old], index[num_old:]
    had = np.zeros(n, np.uint8)
    out = np.zeros((n, 8), np.uint64)
    out[:, COLUMN_KEYFRAME] = 2**32 - 1
    evidence = np.zeros((n, 2), np.uint8)
    if old is not None:
        had[old_index], out[old_index], evidence[old_index] = old.priority, old.rows, old.evidence
    top = had.copy()
    np.maximum.at(top, new_index, priority)
    replaced = (had > 0) & (top > had)
    out[replaced, :COLUMN_KEYFRAME], out[replaced, COLUMN_KEYFRAME], evidence[replaced] = 0, 2**32 - 1, 0
    counts = priority == top[new_index]
    np.add.at(out[:, :COLUMN_KEYFRAME], new_index[counts], rows[counts, :COLUMN_KEYFRAME])
    np.minimum.at(out[:, COLUMN_KEYFRAME], new_index[counts], rows[counts, COLUMN_KEYFRAME])
    if out[:, COLUMN_WEIGHT].max() > MAX_VOXEL_WEIGHT:
        raise WeightOverflowError(f"chunk {key}: a voxel's weight would exceed {MAX_VOXEL_WEIGHT}; nothing was changed")
    hit = np.zeros(n, bool)
    hit[new_index[counts]] = True
    refreshed = int((hit & (had > 0) & ~replaced).sum())
    outranked = int((~counts).sum())
    report = (n - num_old, refreshed, int(replaced.sum()), outranked)
    if old is not None and not hit.any():
        return old, report
    return Chunk(key, revision, voxels, out.astype(np.uint32), top, evidence), report
