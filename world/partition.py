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

MIN_CAPACITY, POINTS_PER_CHUNK = 512, 1024
"""Chunks that there is room for at first: at least so many, and more with so many points each; eightfold if too few."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Records of points, chunk by chunk, on pages of a pool; see ``kernels``.

    Attributes:
        keys: M chunk keys.
        counts: (R, M) int64, records of each chunk in each of R runs of points.
        first_page: (R, M) int64, the page where they begin.
        next_page: (Q,) int64, the page that follows each.
        records: (Q * ``kernels.PAGE``, 2) uint64.
    """

    keys: list[ChunkKey]
    counts: npt.NDArray[np.int64]
    first_page: npt.NDArray[np.int64]
    next_page: npt.NDArray[np.int64]
    records: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What one run of points falls in: packed keys of chunks, and points and first page of each."""

    packed: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    first_page: npt.NDArray[np.int64]


def partition(batch: PointBatch, voxel_size_m: float, num_threads: int = 1) -> Partition:
    """Make records of points and put them together by chunk.

    Args:
        batch: One point or more.
        voxel_size_m: Side of a voxel in metres.
        num_threads: Threads that share the points; what is merged is the same for any number.

    Raises:
        ValueError: A position is not finite or beyond ±2^20 chunks, or a weight or priority is too low.
        WeightOverflowError: More points fall in one chunk than can be summed at once.
    """
    num_runs = max(1, min(num_threads, len(batch) // LEAST_POINTS_PER_THREAD))
    capacity = 1 << (max(MIN_CAPACITY, len(batch) // num_runs // POINTS_PER_CHUNK) - 1).bit_length()
    while (found := _paged(batch, voxel_size_m, num_runs, capacity)) is None:
        capacity *= 8
    runs, next_page, records = found
    packed, places = np.unique(np.concatenate([run.packed for run in runs]), return_inverse=True)
    ends = np.cumsum([len(run.packed) for run in runs])[:-1]
    counts, first_page = (np.zeros((num_runs, len(packed)), np.int64) for _ in range(2))
    for i, (run, numbers) in enumerate(zip(runs, np.split(places.reshape(-1), ends), strict=True)):
        counts[i, numbers], first_page[i, numbers] = run.counts, run.first_page
    if counts.sum(0).max() > MAX_POINTS_PER_CHUNK:
        raise WeightOverflowError(f"more than {MAX_POINTS_PER_CHUNK} points fall in one chunk at once; split them")
    return Partition(_unpacked(packed), counts, first_page, next_page, records)


def run_all(tasks: Sequence[Callable[[], T]], num_threads: int) -> list[T]:
    """Results of all tasks in order; errors pass through. Threads help where the tasks release the lock."""
    if num_threads <= 1 or len(tasks) <= 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(num_threads, thread_name_prefix="merge") as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _paged(
    batch: PointBatch, voxel_size_m: float, num_runs: int, capacity: int
) -> tuple[list[_Run], npt.NDArray[np.int64], npt.NDArray[np.uint64]] | None:
    """Runs of points, the pages' followers and the pool; None if a run has more chunks than ``capacity``."""
    from . import kernels  # imports Numba, which takes most of a second

    edges = np.linspace(0, len(batch), num_runs + 1).astype(np.int64).tolist()
    spans = list(itertools.pairwise(edges))
    pages = [(b - a) // kernels.PAGE + min(capacity, b - a) + 1 for a, b in spans]
    next_page = np.empty(sum(pages), np.int64)
    records = np.empty((sum(pages) * kernels.PAGE, 2), np.uint64)  # only what is used takes memory
    free = [0, *np.cumsum(pages).tolist()]

    def run(i: int) -> _Run | None:
        some = slice(*spans[i])
        table = np.full(capacity * 4, kernels.EMPTY, np.int32)
        packed, counts, first = (
            np.empty(capacity, np.uint64),
            np.zeros(capacity, np.int64),
            np.zeros(capacity, np.int64),
        )
        found = kernels.partition_points(
            np.ascontiguousarray(batch.positions_world[some]).reshape(-1),
            np.ascontiguousarray(batch.colors[some]).reshape(-1),
            np.ascontiguousarray(batch.weights[some]),
            np.ascontiguousarray(batch.priority[some]),
            np.ascontiguousarray(batch.keyframe[some]),
            voxel_size_m,
            table,
            packed,
            counts,
            first,
            free[i],
            next_page,
            records,
        )
        if found == kernels.TABLE_IS_FULL:
            return None
        if found < 0:
            raise ValueError(_mistake(int(found)))
        return _Run(packed[:found], counts[:found], first[:found])

    runs = run_all([lambda i=i: run(i) for i in range(num_runs)], num_runs)
    if any(found is None for found in runs):
        return None
    return [found for found in runs if found is not None], next_page, records


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
