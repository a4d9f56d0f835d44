"""What is to be in memory from where the walker stands: a pure decision over arrays.

A chunk's *importance* is its distance from the way just ahead, times a factor outside of the view. The most important
are drawn in full as far as the coarser level would show, and as far as the budget goes; others in their coarser level.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .chunks import CHUNK_SIDE, VOXEL_BYTES, Chunk, ChunkKey
from .coarse import COARSE_LEVEL
from .stored import StoredChunk
from .transforms import Transform

ABSENT = -1
"""Level of a chunk that is not drawn."""

DRAWN_PAGE_POINTS, DRAWN_PAGE_BYTES = 512, 512 * 11
"""A renderer keeps 11 bytes a point, in pages."""

COARSE_SHARE = 1.0 / 8.0
"""Points of the coarser level, at most and about; what it really has is known once it was read."""

COARSE_PX = 1.0
"""The coarser level is drawn where its points lie no farther apart than this on the picture, as a renderer's levels."""

BEHIND = 2.5
"""What is not in view counts as so many times as far."""

VIEW_MARGIN = 0.35
"""Of the view's half width, beyond its edge."""

NEAR_M = 2.5
"""Chunks within are held for collision and for merging, wherever the walker looks."""

FIRST_FULL_M = 6.0
"""Chunks within are read in full before what is far away is read at all."""

AHEAD_S = 1.5
STICKY = 0.85
"""What is drawn in full counts as a little nearer, so that nothing changes to and fro."""


@dataclass(frozen=True, slots=True, eq=False)
class Viewpoint:
    """Where the walker is, looks and goes.

    Attributes:
        world_T_camera: Pose.
        pinhole: Camera of the picture.
        velocity_m_s: (3,) of the walk.
    """

    world_T_camera: Transform
    pinhole: Pinhole
    velocity_m_s: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def differs(self, other: "Viewpoint", distance_m: float, cos_angle: float) -> bool:
        """Whether it is farther off, turned farther, or another camera."""
        moved = float(np.linalg.norm(self.world_T_camera[:3, 3] - other.world_T_camera[:3, 3]))
        turned = float(self.world_T_camera[:3, 2] @ other.world_T_camera[:3, 2])
        return moved > distance_m or turned < cos_angle


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that points may take.

    Attributes:
        total: All together.
        cache_bytes: Of it for chunks that are held for work.
    """

    total: int
    cache_bytes: int = 0

    def __post_init__(self) -> None:
        if self.total <= 0:
            raise ValueError(f"budget_bytes: expected a positive number of bytes, got {self.total}")
        if self.cache_bytes == 0:
            object.__setattr__(self, "cache_bytes", self.total // 4)

    @property
    def drawn_bytes(self) -> int:
        """Of it for a renderer."""
        return self.total - self.total // 4

    def with_cache(self, cache_bytes: int) -> "Budget":
        """With another share for chunks held."""
        return replace(self, cache_bytes=cache_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class PagingPlan:
    """What is to be done, most important first.

    Attributes:
        wanted: (row, level) to be read and drawn.
        dropped: Rows not to be drawn any more.
        reach_m: Importance up to which chunks are wanted in full.
        cache_bytes: What chunks held for work may take.
        fits: The whole world fits the budget.
    """

    wanted: list[tuple[int, int]]
    dropped: list[int]
    reach_m: float
    cache_bytes: int
    fits: bool


_COLUMNS = ("center", "num_points", "drawn", "level", "is_dirty", "coarse_m")


class PagedTable:
    """All chunks of a world as columns. Guarded by its pager's lock.

    Attributes:
        center: (N, 3) float32 metres, middles of the chunks. num_points: (N,) of each; 0 in a row that is empty.
        level: (N,) int8, what was given to the renderer: ``ABSENT``, 0 or ``COARSE_LEVEL``.
        drawn: (N,) int64, points given to it.
        is_dirty: (N,) bool: not on the disk yet.
        coarse_m: (N,) float32: from so many metres a pixel of focal length on, the coarser level shows as much.
    """

    def __init__(self, voxel_size_m: float) -> None:
        self.voxel_size_m = voxel_size_m
        self.num_rows = 0
        self._row_of: dict[ChunkKey, int] = {}
        self._entries: list[Chunk | StoredChunk | None] = []
        self._keys: list[ChunkKey] = []
        self.center = np.zeros((0, 3), np.float32)
        self.num_points, self.drawn = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.level, self.is_dirty = np.zeros(0, np.int8), np.zeros(0, np.bool_)
        self.coarse_m = np.zeros(0, np.float32)

    def put(self, key: ChunkKey, entry: Chunk | StoredChunk | None, *, keeps_level: bool = False) -> int:
        """Store what memory has under a key now; its row."""
        row = self._row_of.get(key)
        if row is None:
            row = self._add(key)
        self._entries[row] = entry
        self.num_points[row] = 0 if entry is None else entry.num_points
        self.is_dirty[row] = isinstance(entry, Chunk)
        spacing = entry.facts.spacing if isinstance(entry, StoredChunk) else 1.0
        self.coarse_m[row] = spacing * self.voxel_size_m * (1 << COARSE_LEVEL) / COARSE_PX
        if not keeps_level:
            self.level[row] = ABSENT
        return row

    def _add(self, key: ChunkKey) -> int:
        if self.num_rows == len(self.level):
            self._grow(max(1024, 2 * self.num_rows))
        row, self.num_rows = self.num_rows, self.num_rows + 1
        self._row_of[key] = row
        self._entries.append(None)
        self._keys.append(key)
        self.center[row] = (np.array(key, np.float64) + 0.5) * (CHUNK_SIDE * self.voxel_size_m)
        return row

    def copy(self) -> "PagedTable":
        """Its columns as they are now, without entries and keys, for planning beside the lock."""
        other = PagedTable(self.voxel_size_m)
        other.num_rows = self.num_rows
        for name in _COLUMNS:
            setattr(other, name, getattr(self, name)[: self.num_rows].copy())
        return other

    def _grow(self, length: int) -> None:
        for name in _COLUMNS:
            old = getattr(self, name)
            new = np.zeros((length, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def entry(self, row: int) -> Chunk | StoredChunk | None:
        """What memory has in a row."""
        return self._entries[row]

    def key(self, row: int) -> ChunkKey:
        """The key of a row."""
        return self._keys[row]

    def rows(self) -> Iterator[tuple[int, Chunk | StoredChunk]]:
        """Rows that hold something."""
        return ((row, entry) for row, entry in enumerate(self._entries) if entry is not None)


def plan_paging(table: PagedTable, view: Viewpoint, budget: Budget, *, is_drawing: bool) -> PagingPlan:
    """Decide what is to be read, drawn and dropped.

    Args:
        table: All chunks.
        view: Where the walker is.
        budget: What points may take.
        is_drawing: A renderer takes what is drawn; otherwise only the chunks near by are read.
    """
    n = table.num_rows
    points, level, is_dirty = table.num_points[:n], table.level[:n], table.is_dirty[:n]
    distance, is_seen = _distance_and_view(table.center[:n], view)
    importance = np.where(is_seen, distance, distance * BEHIND)
    total = int(points.sum())
    dirty_bytes = int(points[is_dirty].sum()) * VOXEL_BYTES
    fits = total * VOXEL_BYTES + int(_page_bytes(points).sum()) <= budget.total
    cache_bytes = budget.total if fits else max(1, budget.total // 4 - dirty_bytes // 4)
    near = np.flatnonzero((distance < NEAR_M) & ~is_dirty & (points > 0))
    wanted = [(int(row), 0) for row in near[np.argsort(distance[near])]]
    if not is_drawing:
        return PagingPlan(wanted, [], 0.0, cache_bytes, fits)
    if fits:
        order = np.argsort(importance, kind="stable")
        missing = order[(level[order] != 0) & (points[order] > 0)]
        return PagingPlan([(int(r), 0) for r in missing], [], np.inf, cache_bytes, fits)
    room = budget.drawn_bytes - dirty_bytes
    sticky = np.where(level == 0, importance * STICKY, importance)
    corner_m = 0.87 * CHUNK_SIDE * table.voxel_size_m
    switch_m = table.coarse_m[:n] * max(view.pinhole.fx, view.pinhole.fy) + corner_m
    is_full, reach_m = _wanted_in_full(points, sticky, is_dirty, level == 0, room * 3 // 4, switch_m)
    left = room - int(_page_bytes(points[is_full]).sum())
    is_coarse = _wanted_coarse(table, importance, is_full | is_dirty, left)
    dropped = np.flatnonzero((level != ABSENT) & ~is_full & ~is_coarse & ~is_dirty)
    to_coarse = _by(importance, is_coarse & (level != COARSE_LEVEL))
    to_full = _by(importance, is_full & (level != 0))
    is_bare = (level[to_full] == ABSENT) & (distance[to_full] > NEAR_M)
    is_first, is_soon = importance[to_full] < FIRST_FULL_M, is_seen[to_coarse]
    is_freeing = level[to_coarse] == 0  # makes room for others, so it comes before them
    wanted += _at(to_coarse[is_freeing], COARSE_LEVEL)
    to_coarse, is_soon = to_coarse[~is_freeing], is_soon[~is_freeing]
    wanted += _at(to_full[is_bare], COARSE_LEVEL) + _at(to_full[is_first], 0)
    wanted += (
        _at(to_coarse[is_soon], COARSE_LEVEL) + _at(to_full[~is_first], 0) + _at(to_coarse[~is_soon], COARSE_LEVEL)
    )
    return PagingPlan(wanted, dropped.tolist(), reach_m, cache_bytes, fits)


def _distance_and_view(
    center: npt.NDArray[np.float32], view: Viewpoint
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Metres from the way ahead, and whether a chunk may be seen soon."""
    pose = view.world_T_camera.astype(np.float32)
    step = np.array(view.velocity_m_s, np.float32) * AHEAD_S
    away = center - pose[:3, 3]
    length2 = float(step @ step)
    if length2 > 1e-6:
        along = np.clip(away @ step / length2, 0.0, 1.0)
        distance = np.linalg.norm(away - along[:, None] * step, axis=1)
    else:
        distance = np.linalg.norm(away, axis=1)
    x, y, z = (away @ pose[:3, axis] for axis in range(3))
    p = view.pinhole
    wide = (1 + VIEW_MARGIN) * max(p.cx, p.width - p.cx) / p.fx
    high = (1 + VIEW_MARGIN) * max(p.cy, p.height - p.cy) / p.fy
    is_seen = (np.abs(x) < wide * z + 1.0) & (np.abs(y) < high * z + 1.0)
    return distance, is_seen


def _wanted_in_full(
    points: npt.NDArray[np.int64],
    importance: npt.NDArray[np.float32],
    is_dirty: npt.NDArray[np.bool_],
    is_there: npt.NDArray[np.bool_],
    room_bytes: int,
    switch_m: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.bool_], float]:
    rows = np.flatnonzero(((importance < switch_m) | is_there) & ~is_dirty & (points > 0))
    rows = rows[np.argsort(importance[rows], kind="stable")]
    taken = np.cumsum(_page_bytes(points[rows])) <= room_bytes
    is_full = np.zeros(len(points), np.bool_)
    is_full[rows[taken]] = True
    reach = float(switch_m.max(initial=0.0)) if taken.all() else float(importance[rows[int(taken.sum())]])
    return is_full, reach


def _wanted_coarse(
    table: PagedTable, importance: npt.NDArray[np.float32], is_other: npt.NDArray[np.bool_], room_bytes: int
) -> npt.NDArray[np.bool_]:
    n = table.num_rows
    points = table.num_points[:n]
    rows = _by(importance, ~is_other & (points > 0))
    is_known = table.level[rows] == COARSE_LEVEL
    size = np.where(is_known, table.drawn[rows], (points[rows] * COARSE_SHARE).astype(np.int64) + 1)
    is_coarse = np.zeros(n, np.bool_)
    is_coarse[rows[np.cumsum(_page_bytes(size)) <= room_bytes]] = True
    return is_coarse


def _at(rows: npt.NDArray[np.int64], level: int) -> list[tuple[int, int]]:
    return [(row, level) for row in rows.tolist()]


def _by(importance: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    rows = np.flatnonzero(mask)
    return rows[np.argsort(importance[rows], kind="stable")]


def _page_bytes(points: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return -(-points // DRAWN_PAGE_POINTS) * DRAWN_PAGE_BYTES
