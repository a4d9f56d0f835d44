"""Points on their way into memory, put together by the chunk that they fall in."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .chunks import MAX_CHUNK_KEY, ChunkKey
from .errors import WeightOverflowError
from .points import PointBatch

MAX_POINTS_PER_CHUNK = 16_000_000
"""With more points of one chunk in one batch, a sum of weights (255 each at most) could wrap before it is checked."""

LEAST_POINTS_PER_THREAD = 50_000
"""Below, starting a thread costs more than it gains."""

FIRST_CAPACITY = 1 << 12
"""Chunks that a table holds at first; it grows eightfold when they are more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Records of points, chunk by chunk.

    Attributes:
        keys: M chunk keys.
        bounds: (M + 1,) int64, the records of chunk c are ``records[bounds[c]:bounds[c + 1]]``.
        records: (N, 2) uint64, see ``kernels``.
    """

    keys: list[ChunkKey]
    bounds: npt.NDArray[np.int64]
    records: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class _Assigned:
    """A run of points with the chunks that they fall in: packed keys, points in each, and by point."""

    packed: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    chunk_index: npt.NDArray[np.uint32]
    first_word: npt.NDArray[np.uint64]


def partition(batch: PointBatch, voxel_size_m: float, num_threads: int = 1) -> Partition:
    """Make records of points and put them together by chunk.

    Args:
        batch: One point or more.
        voxel_size_m: Side of a voxel in metres.
        num_threads: Threads that share the points; the result is the same for any number.

    Raises:
        ValueError: A position is not finite or beyond ±2^20 chunks, or a weight or priority is too low.
        WeightOverflowError: More points fall in one chunk than can be summed at once.
    """
    from . import kernels  # imports Numba, which takes most of a second

    n = len(batch)
    num_runs = max(1, min(num_threads, n // LEAST_POINTS_PER_THREAD))
    edges = np.linspace(0, n, num_runs + 1).astype(np.int64).tolist()
    runs = [slice(a, b) for a, b in itertools.pairwise(edges)]
    assigned = run_all([lambda run=run: _assign(batch, voxel_size_m, run) for run in runs], num_runs)
    packed, places = np.unique(np.concatenate([part.packed for part in assigned]), return_inverse=True)
    ends = np.cumsum([len(part.packed) for part in assigned])[:-1]
    numbers = [np.asarray(part, np.int64) for part in np.split(places.reshape(-1), ends)]
    counts = np.zeros((num_runs, len(packed)), np.int64)
    for row, part, number in zip(counts, assigned, numbers, strict=True):
        row[number] = part.counts
    bounds = np.concatenate([[0], np.cumsum(counts.sum(0))]).astype(np.int64)
    if np.diff(bounds).max() > MAX_POINTS_PER_CHUNK:
        raise WeightOverflowError(f"more than {MAX_POINTS_PER_CHUNK} points fall in one chunk at once; split them")
    first = bounds[:-1] + np.cumsum(counts, axis=0) - counts  # a run's records of a chunk follow those of earlier runs
    records = np.empty((n, 2), np.uint64)

    def scatter(i: int) -> None:
        part = assigned[i]
        colors, keyframe = np.ascontiguousarray(batch.colors), np.ascontiguousarray(batch.keyframe)
        cursors = first[i][numbers[i]]
        kernels.scatter_records(part.chunk_index, part.first_word, colors[runs[i]], keyframe[runs[i]], cursors, records)

    run_all([lambda i=i: scatter(i) for i in range(num_runs)], num_runs)
    return Partition(_unpacked(packed), bounds, records)


def run_all(tasks: Sequence[Callable[[], T]], num_threads: int) -> list[T]:
    """Results of all tasks in order; errors pass through. Threads help where the tasks release the lock."""
    if num_threads <= 1 or len(tasks) <= 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(num_threads, thread_name_prefix="merge") as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _assign(batch: PointBatch, voxel_size_m: float, run: slice) -> _Assigned:
    from . import kernels

    positions, weights = np.ascontiguousarray(batch.positions_world[run]), np.ascontiguousarray(batch.weights[run])
    priority = np.ascontiguousarray(batch.priority[run])
    chunk_index, first_word = np.empty(len(weights), np.uint32), np.empty(len(weights), np.uint64)
    capacity = FIRST_CAPACITY
    while True:
        table = np.full(capacity * 4, kernels.EMPTY, np.int32)
        packed, counts = np.empty(capacity, np.uint64), np.zeros(capacity, np.int64)
        found = kernels.assign_chunks(
            positions.reshape(-1), weights, priority, voxel_size_m, table, packed, counts, chunk_index, first_word
        )
        if found >= 0:
            return _Assigned(packed[:found], counts[:found], chunk_index, first_word)
        if found != kernels.TABLE_IS_FULL:
            raise ValueError(_mistake(int(found)))
        capacity *= 8


def _mistake(code: int) -> str:
    from . import kernels

    return {
        kernels.IS_NOT_FINITE: "positions_world: expected finite metres, got NaN or infinity; leave such points out",
        kernels.IS_TOO_FAR: "positions_world: expected places within 2^20 chunks of the origin; check units and pose",
        kernels.HAS_NO_WEIGHT: "weights: expected 1 or more, got 0; leave points without confidence out",
        kernels.HAS_NO_PRIORITY: "priority: expected 64..255 from priority_of, got less; 0 means nothing",
    }[code]


def _unpacked(packed: npt.NDArray[np.uint64]) -> list[ChunkKey]:
    """Chunk keys of words that hold x, y, z in 21 bits each, two's complement."""
    parts = [(packed >> np.uint64(shift)) & np.uint64((1 << 21) - 1) for shift in (0, 21, 42)]
    signed = [
        ((part.astype(np.int64) + MAX_CHUNK_KEY) % (2 * MAX_CHUNK_KEY) - MAX_CHUNK_KEY).tolist() for part in parts
    ]
    return list(zip(*signed, strict=True))
