"""What is to be in memory from where the walker stands: a pure decision over arrays.

A block's *importance* is its distance from the way just ahead, times a factor outside of the view. The most important
blocks are drawn in full, chunk by chunk, as far as their coarser level would show, and as far as the budget goes; those
beyond as one, in the coarser level; those from which its points lie closer than pixels, in the far level.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .chunks import VOXEL_BYTES
from .coarse import COARSE_LEVEL, FAR_LEVEL
from .paging_table import ABSENT, PagedTable
from .transforms import Transform

DRAWN_PAGE_POINTS, DRAWN_PAGE_BYTES = 512, 512 * 11
"""A renderer keeps 11 bytes a point, in pages."""

FAR_SHARE = 1.0 / 64.0
"""Of a chunk's points, about as many are in its far level, where that is not known."""

COARSE_OF_FAR = 5
"""A block has at most so many times as many points in the coarser level as in the far one; known once it was made."""

COARSE_PX = 1.0
"""A coarser level is drawn where its points lie no farther apart than this on the picture, as a renderer's levels."""

BEHIND = 2.5
"""What is not in view counts as so many times as far."""

VIEW_MARGIN = 0.35
"""Of the view's half width, beyond its edge."""

NEAR_M = 2.5
"""Chunks within are held for collision and for merging, wherever the walker looks."""

FIRST_FULL_M = 6.0
"""Blocks within are read in full before anything is drawn of what is farther off."""

AHEAD_S = 1.5
STICKY = 0.85
"""What is drawn finer counts as a little nearer, so that nothing changes to and fro."""


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


class StepKind(Enum):
    """What a step does."""

    HOLD = 1
    """Read the chunk in a row and hold it."""
    FULL = 2
    """Draw the chunk in a row by itself, in full."""
    BLOCK = 3
    """Draw a block as one in a level, or not at all, and its chunks not by themselves."""
    HIDE = 4
    """Draw a block only by its chunks."""


class Step(NamedTuple):
    """One thing to be done for a chunk's or block's row."""

    kind: StepKind
    row: int
    level: int = ABSENT


@dataclass(frozen=True, slots=True, eq=False)
class PagingPlan:
    """What is to be done.

    Attributes:
        steps: Most important first.
        reach_m: Importance up to which blocks are wanted in full.
        cache_bytes: What chunks held for work may take.
        fits: The whole world fits the budget.
    """

    steps: list[Step]
    reach_m: float
    cache_bytes: int
    fits: bool


class _Blocks(NamedTuple):
    """What a plan knows of blocks, an array each; chunks that are not on the disk yet count nothing.

    Attributes:
        importance: Metres. is_seen: May be seen soon. full_bytes, far_bytes: What a renderer needs for it.
        far_points: Of its far level, about. spacing_m: Metres between points in full. num_stored: Chunks.
        is_split: A chunk of it is drawn by itself.
    """

    importance: npt.NDArray[np.float32]
    is_seen: npt.NDArray[np.bool_]
    full_bytes: npt.NDArray[np.int64]
    far_bytes: npt.NDArray[np.int64]
    far_points: npt.NDArray[np.int64]
    spacing_m: npt.NDArray[np.float64]
    num_stored: npt.NDArray[np.int64]
    is_split: npt.NDArray[np.bool_]


def plan_paging(table: PagedTable, view: Viewpoint, budget: Budget, *, is_drawing: bool) -> PagingPlan:
    """Decide what is to be read, drawn and dropped.

    Args:
        table: All chunks.
        view: Where the walker is.
        budget: What points may take.
        is_drawing: A renderer takes what is drawn; otherwise only the chunks near by are read.
    """
    n = table.num_rows
    points, is_dirty = table.num_points[:n], table.is_dirty[:n]
    distance, _ = _distance_and_view(table.center[:n], view, 0.0)
    dirty_bytes = int(points[is_dirty].sum()) * VOXEL_BYTES
    fits = int(points.sum()) * VOXEL_BYTES + int(_page_bytes(points).sum()) <= budget.total
    cache_bytes = budget.total if fits else max(1, budget.total // 4 - dirty_bytes // 4)
    near = np.flatnonzero((distance < NEAR_M) & ~is_dirty & (points > 0))
    steps = [Step(StepKind.HOLD, row) for row in near[np.argsort(distance[near])].tolist()]
    reach_m = 0.0
    if is_drawing:
        blocks = _blocks_of(table, view)
        focal = max(view.pinhole.fx, view.pinhole.fy)
        if fits:
            wanted, reach_m = np.zeros(table.num_blocks, np.int8), np.inf
        else:
            wanted, reach_m = _wanted_levels(table, blocks, focal, budget.drawn_bytes - dirty_bytes)
        steps += _steps(table, blocks, distance, wanted)
    return PagingPlan(steps, float(reach_m), cache_bytes, fits)


def _distance_and_view(
    center: npt.NDArray[np.float32], view: Viewpoint, half_m: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Metres from cubes of half the side to the way ahead, and whether they may be seen soon."""
    pose = view.world_T_camera.astype(np.float32)
    step = np.array(view.velocity_m_s, np.float32) * np.float32(AHEAD_S)
    away = center - pose[:3, 3]
    x, y, z = (away @ pose[:3, axis] for axis in range(3))
    p, radius = view.pinhole, np.float32(2.0 * half_m + 1.0)
    wide = (1 + VIEW_MARGIN) * max(p.cx, p.width - p.cx) / p.fx
    high = (1 + VIEW_MARGIN) * max(p.cy, p.height - p.cy) / p.fy
    is_seen = (np.abs(x) < wide * z + radius) & (np.abs(y) < high * z + radius)
    length2 = float(step @ step)
    if length2 > 1e-6:
        along = np.clip(away @ step / np.float32(length2), 0.0, 1.0)
        away -= along[:, None] * step
    distance = np.linalg.norm(np.maximum(np.abs(away) - np.float32(half_m), 0.0), axis=1)
    return distance, is_seen


def _blocks_of(table: PagedTable, view: Viewpoint) -> _Blocks:
    n, b = table.num_rows, table.num_blocks
    rows = np.flatnonzero(~table.is_dirty[:n] & (table.num_points[:n] > 0))
    of, points = table.block[rows], table.num_points[rows]

    def total(values: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
        return np.bincount(of, values, b).astype(np.float64)

    distance, is_seen = _distance_and_view(table.block_center[:b], view, table.block_size_m / 2)
    far = np.where(table.num_far[rows] > 0, table.num_far[rows], points * FAR_SHARE + 1)
    far_points = total(far).astype(np.int64)
    return _Blocks(
        importance=np.where(is_seen, distance, distance * np.float32(BEHIND)),
        is_seen=is_seen,
        full_bytes=total(_page_bytes(points)).astype(np.int64),
        far_bytes=_page_bytes(far_points),
        far_points=far_points,
        spacing_m=total(table.spacing[rows] * points) / np.maximum(total(points), 1) * table.voxel_size_m,
        num_stored=np.bincount(of, minlength=b),
        is_split=total(table.drawn[rows]) > 0,
    )


def _wanted_levels(
    table: PagedTable, blocks: _Blocks, focal: float, room_bytes: int
) -> tuple[npt.NDArray[np.int8], float]:
    """(B,) 0 for what is wanted in full, a level of blocks, or ``ABSENT``; and how far the first reaches."""
    b = table.num_blocks
    wanted = np.full(b, ABSENT, np.int8)
    order = np.argsort(blocks.importance, kind="stable")
    in_room = np.cumsum(blocks.far_bytes[order]) <= room_bytes // 4
    wanted[order[in_room]] = FAR_LEVEL
    room = room_bytes - int(blocks.far_bytes[order[in_room]].sum())
    px_m = blocks.spacing_m * focal / COARSE_PX
    sticky = np.where(blocks.is_split, blocks.importance * np.float32(STICKY), blocks.importance)
    rows = np.flatnonzero((sticky < px_m * (1 << COARSE_LEVEL)) & (blocks.num_stored > 0))
    rows = rows[np.argsort(sticky[rows], kind="stable")]
    taken = int((np.cumsum(blocks.full_bytes[rows]) <= room * 3 // 4).sum())
    taken = max(taken, min(1, len(rows)))  # where the walker stands, whatever the budget
    wanted[rows[:taken]] = 0
    reach_m = float(px_m.max(initial=0.0)) * (1 << COARSE_LEVEL) if taken == len(rows) else float(sticky[rows[taken]])
    room -= int(blocks.full_bytes[rows[:taken]].sum())
    is_coarse = table.block_level[:b] == COARSE_LEVEL
    sticky = np.where(is_coarse, blocks.importance * np.float32(STICKY), blocks.importance)
    rows = np.flatnonzero((sticky < px_m * (1 << FAR_LEVEL)) & (blocks.num_stored > 0) & (wanted != 0))
    rows = rows[np.argsort(sticky[rows], kind="stable")]
    size = np.where(is_coarse[rows], table.block_drawn[rows], blocks.far_points[rows] * COARSE_OF_FAR)
    wanted[rows[np.cumsum(_page_bytes(size)) <= room]] = COARSE_LEVEL
    return wanted, reach_m


def _steps(
    table: PagedTable, blocks: _Blocks, distance: npt.NDArray[np.float32], wanted: npt.NDArray[np.int8]
) -> list[Step]:
    """What is to be done to get from what is drawn to what is wanted."""
    b = table.num_blocks
    level, is_stale, is_seen = table.block_level[:b], table.is_stale[:b], blocks.is_seen
    is_whole, has_any = wanted == 0, blocks.num_stored > 0
    goal = np.where(has_any, wanted, ABSENT)
    is_shown, is_bare = level != ABSENT, (level == ABSENT) & ~blocks.is_split & (goal != ABSENT)
    is_first = is_whole & is_seen & (blocks.importance < FIRST_FULL_M)
    is_wrong = ~is_whole & ((level != goal) | blocks.is_split | (is_shown & is_stale))
    is_freeing = is_wrong & (blocks.is_split | is_stale & is_shown | (goal == ABSENT) | (level == COARSE_LEVEL))
    full = _steps_to_full(table, blocks, distance, is_whole)

    def at(mask: npt.NDArray[np.bool_], levels: npt.NDArray[np.int8] | int) -> list[Step]:
        rows = np.flatnonzero(mask)
        rows = rows[np.argsort(blocks.importance[rows], kind="stable")]
        chosen = np.broadcast_to(levels, b)[rows]
        return [Step(StepKind.BLOCK, row, to) for row, to in zip(rows.tolist(), chosen.tolist(), strict=True)]

    is_later = is_wrong & ~is_freeing & (goal == COARSE_LEVEL)
    return [
        *at(is_freeing, goal),
        *(step for row in np.flatnonzero(is_first).tolist() for step in full.pop(row, ())),
        *at(is_bare & is_seen & ~is_first, FAR_LEVEL),
        *(step for steps in full.values() for step in steps),
        *at(is_later & is_seen, COARSE_LEVEL),
        *at(is_bare & ~is_seen & ~is_whole, FAR_LEVEL),
        *at(is_later & ~is_seen, COARSE_LEVEL),
    ]


def _steps_to_full(
    table: PagedTable, blocks: _Blocks, distance: npt.NDArray[np.float32], is_whole: npt.NDArray[np.bool_]
) -> dict[int, list[Step]]:
    """By block, the most important first: its chunks that are not drawn in full yet, then itself no more."""
    n = table.num_rows
    missing = (table.level[:n] != 0) & ~table.is_dirty[:n] & (table.num_points[:n] > 0) & is_whole[table.block[:n]]
    rows = np.flatnonzero(missing)
    rows = rows[np.lexsort((distance[rows], table.block[rows], blocks.importance[table.block[rows]]))]
    steps: dict[int, list[Step]] = {}
    for row, block in zip(rows.tolist(), table.block[rows].tolist(), strict=True):
        steps.setdefault(block, []).append(Step(StepKind.FULL, row))
    for block in np.flatnonzero(is_whole & (table.block_level[: table.num_blocks] != ABSENT)).tolist():
        steps.setdefault(block, []).append(Step(StepKind.HIDE, block))
    return steps


def _page_bytes(points: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return -(-points // DRAWN_PAGE_POINTS) * DRAWN_PAGE_BYTES
