"""Walking on and against what memory holds: floor, steps, sliding along what blocks.

Points near the body are counted into cells of 5 cm in the level frame (y along gravity). A column of cells blocks when
it and its neighbours hold at least 20 cm of surface between step height and head. The floor's plane carries the walker
where memory is empty.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..renderer.pages import unpack_chunk
from ..world.chunks import CHUNK_SIDE, OFFSET_STEPS, Chunk, ChunkKey
from ..world.transforms import level_frame
from .cells import CELL_M, blocking_columns, gather_cells
from .rig import CameraRig, RigState

if TYPE_CHECKING:
    from .world import World

BODY_RADIUS_M = 0.22
STEP_HEIGHT_M = 0.30
HEAD_ROOM_M = 0.10
FLOOR_BAND_M = 0.12
"""Surface within this of the floor's plane is floor: two cells, for noise."""
REACH_M = 0.8
DEFAULT_EYE_HEIGHT_M = 1.5
GRAVITY_M_S2 = 9.81
RISE_TIME_S = 0.10
CHUNKS_PER_TICK = 24
"""New chunks turned into cells in one tick, so that a merge around the body delays no frame."""


_Window = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Cells of one chunk: (M, 3) int32 keys in the level frame and the (M,) highest surface in each, metres."""

    revision: int
    keys: npt.NDArray[np.int32]
    top_m: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What a walker may meet, as columns of cells of ``CELL_M`` in the level frame (y along gravity).

    Attributes:
        world_R_level: (3, 3) level frame to world.
        floor_y_m: Height (y, down) of the floor at the centre.
        center_level: (3,) metres, the place that was surveyed.
        blocking: (C, 2) x and z keys of columns that block.
        floor: (F, 2) x and z keys of columns with surface at the floor's height.
    """

    world_R_level: npt.NDArray[np.float64]  # noqa: N815
    floor_y_m: float
    center_level: npt.NDArray[np.float64]
    blocking: npt.NDArray[np.int64]
    floor: npt.NDArray[np.int64]


class Collision:
    """Keeps cells of the chunks around the body. Used by the session's thread alone.

    Args:
        world: Whose memory blocks and carries.

    Attributes:
        chunks_per_tick: New chunks that one tick takes in; where ticks may take their time, any number will do.
        fall_m_s: Speed of a fall that is under way.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._world_R_level = level_frame(world.info.up_world)
        self._cells: dict[ChunkKey, _Cells] = {}
        self.chunks_per_tick = CHUNKS_PER_TICK
        self.fall_m_s = 0.0
        self._rested: tuple[tuple[float, float, float], int] | None = None
        self._num_unread = 0
        self._gathered: tuple[tuple[_Window, int], tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]] | None = None
        start = self._to_level(world.info.world_T_start[:3, 3])
        self._plane_y = self._floor_below(start)
        self.eye_height_m = float(np.clip(self._plane_y(start) - start[1], 0.3, 2.5))

    def _to_level(self, point_world: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self._world_R_level.T @ np.asarray(point_world, np.float64)

    def _floor_below(self, start_level: npt.NDArray[np.float64]):
        """Level-frame height (y, down) of the floor's plane under a point."""
        floor = self._world.info.floor
        if floor is None:
            constant = float(start_level[1] + DEFAULT_EYE_HEIGHT_M)
            return lambda point: constant
        normal = self._world_R_level.T @ np.asarray(floor.normal)

        def height(point: npt.NDArray[np.float64]) -> float:
            return float(-(normal[0] * point[0] + normal[2] * point[2] + floor.offset_m) / normal[1])

        return height

    def merged(self, changed: Iterable[ChunkKey], state: RigState) -> None:
        """Chunks changed: forget their cells. What now overlaps the body does not block it."""
        for key in changed:
            self._cells.pop(key, None)

    def resolve(self, rig: CameraRig, before: RigState, wish: RigState, dt_s: float) -> RigState:
        """Where a wished step really leads: slid along what blocks, carried by floor or steps.

        Args:
            rig: The rig whose states these are.
            before: State before the tick.
            wish: State if nothing stood in the way.
            dt_s: Length of the tick.
        """
        standing = (before.position, self._world.memory.revision)
        if wish.position == before.position and standing == self._rested:
            return wish
        start, goal = self._to_level(np.asarray(before.position)), self._to_level(np.asarray(wish.position))
        cells, tops = self._nearby(start)
        foot = start[1] + self.eye_height_m
        moved = self._slide(start, goal, cells, foot)
        moved[1] = self._stand(moved, foot, cells, tops, dt_s) - self.eye_height_m
        is_still = self.fall_m_s == 0.0 and self._num_unread == 0 and float(np.abs(moved - start).max()) < 1e-7
        self._rested = standing if is_still else None
        position = self._world_R_level @ moved
        travelled = (position - np.asarray(before.position)) / dt_s
        down = rig.down_world
        planar = travelled - down * (travelled @ down)
        wished = float(np.linalg.norm(np.asarray(wish.velocity)))
        speed = float(np.linalg.norm(planar))
        velocity = planar if speed < wished else np.asarray(wish.velocity)
        return replace(
            wish,
            position=(float(position[0]), float(position[1]), float(position[2])),
            velocity=(float(velocity[0]), float(velocity[1]), float(velocity[2])),
        )

    def survey(self, center_world: npt.NDArray[np.float64], radius_m: float) -> "Survey":
        """What blocks a walker around a place, and where floor was seen, as far as memory knows.

        Args:
            center_world: (3,) metres, world frame.
            radius_m: Chunks that reach into this square, in the level frame, are looked at.
        """
        center = self._to_level(center_world)
        side_m = CHUNK_SIDE * self._world.memory.voxel_size_m
        found = [np.zeros((0, 3), np.int32)]
        chunks = self._world.memory.chunks
        for key in chunks:
            middle = self._to_level((np.asarray(key) + 0.5) * side_m)
            if np.abs(middle - center)[[0, 2]].max() <= radius_m + side_m:
                found.append(self._cells_of(chunks[key]).keys)
        cells, floor_y = np.concatenate(found), self._plane_y(center)
        y = (cells[:, 1] + 0.5) * CELL_M
        floor = np.unique(cells[np.abs(y - floor_y) < FLOOR_BAND_M][:, [0, 2]], axis=0)
        top_y = floor_y - self.eye_height_m - HEAD_ROOM_M
        blocking = blocking_columns(cells, floor_y - STEP_HEIGHT_M, top_y)
        return Survey(self._world_R_level, floor_y, center, blocking, floor.astype(np.int64))

    def _nearby(self, center_level: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Cells of the chunks around the body; the same arrays until it reaches other chunks or memory changes."""
        memory, window = self._world.memory, self._window(center_level)
        is_settled = self._num_unread == 0 and memory.pager is None  # chunks of a paged world come without a revision
        if self._gathered is None or not is_settled or self._gathered[0] != (window, memory.revision):
            self._gathered = ((window, memory.revision), self._gather(window))
        return self._gathered[1]

    def _window(self, center_level: npt.NDArray[np.float64]) -> _Window:
        """First and last chunk index of each axis around a place."""
        low = center_level - np.array([REACH_M, HEAD_ROOM_M, REACH_M])
        high = center_level + np.array([REACH_M, self.eye_height_m + STEP_HEIGHT_M, REACH_M])
        turn = self._world_R_level
        middle, half = turn @ ((low + high) / 2), np.abs(turn) @ ((high - low) / 2)
        side_m = CHUNK_SIDE * self._world.memory.voxel_size_m
        first, last = np.floor((middle - half) / side_m).astype(int), np.floor((middle + half) / side_m).astype(int)
        return (*first.tolist(), *last.tolist())

    def _gather(self, window: _Window) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Cells of a window of chunks; those of at most ``chunks_per_tick`` new ones are made."""
        memory, budget = self._world.memory, self.chunks_per_tick
        keys, tops = [np.zeros((0, 3), np.int32)], [np.zeros(0, np.float32)]
        self._num_unread = 0
        spans = [range(window[i], window[i + 3] + 1) for i in range(3)]
        for key in itertools.product(spans[0], spans[1], spans[2]):
            chunk = memory.held(key)  # never waits for the disk
            if chunk is None:
                continue
            cells = self._cells.get(key)
            if cells is None or cells.revision != chunk.revision:
                if budget == 0:
                    self._num_unread += 1
                    continue
                budget -= 1
                cells = self._cells[key] = self._cells_of(chunk)
            keys.append(cells.keys)
            tops.append(cells.top_m)
        return np.concatenate(keys), np.concatenate(tops)

    def _cells_of(self, chunk: Chunk) -> _Cells:
        size_m = self._world.memory.voxel_size_m
        local = np.empty((chunk.num_points, 3), np.uint16)
        color, bounds = np.empty(chunk.num_points, np.uint32), np.zeros((2, 3), np.int64)
        unpack_chunk(chunk.codes, chunk.rows, local, color, bounds)
        origin = self._to_level(np.array(chunk.key, np.float64) * (CHUNK_SIDE * size_m))
        turn = np.ascontiguousarray(self._world_R_level.T) * (size_m / OFFSET_STEPS)
        enough = max(2, int((0.4 * CELL_M / max(size_m, 1e-4)) ** 2 / 2))
        return _Cells(chunk.revision, *gather_cells(local, origin, turn, enough))

    def _slide(
        self,
        start: npt.NDArray[np.float64],
        goal: npt.NDArray[np.float64],
        cells: npt.NDArray[np.int32],
        foot_y: float,
    ) -> npt.NDArray[np.float64]:
        moved = goal.copy()
        columns = blocking_columns(cells, foot_y - STEP_HEIGHT_M, foot_y - self.eye_height_m - HEAD_ROOM_M)
        if len(columns) == 0:
            return moved
        centers = (columns + 0.5) * CELL_M
        reach = BODY_RADIUS_M + CELL_M / 2
        free = np.hypot(centers[:, 0] - start[0], centers[:, 1] - start[2]) >= reach
        centers = centers[free]  # what overlaps the body already does not block it
        for _ in range(3):
            offset = np.stack([moved[0] - centers[:, 0], moved[2] - centers[:, 1]], axis=1)
            distance = np.hypot(offset[:, 0], offset[:, 1])
            if len(distance) == 0 or distance.min() >= reach:
                return moved
            i = int(np.argmin(distance))
            push = offset[i] / max(distance[i], 1e-9) * (reach - distance[i] + 1e-4)
            moved[0] += push[0]
            moved[2] += push[1]
        offset = np.hypot(moved[0] - centers[:, 0], moved[2] - centers[:, 1])
        if len(offset) and offset.min() < reach - 0.01:
            moved[[0, 2]] = start[[0, 2]]
        return moved

    def _stand(
        self,
        point: npt.NDArray[np.float64],
        foot_y: float,
        cells: npt.NDArray[np.int32],
        tops: npt.NDArray[np.float32],
        dt_s: float,
    ) -> float:
        """New height of the feet (y, down): a step up within reach, otherwise the floor's plane."""
        ground = self._plane_y(point)
        near = np.hypot((cells[:, 0] + 0.5) * CELL_M - point[0], (cells[:, 2] + 0.5) * CELL_M - point[2]) < 0.16
        reachable = near & (tops > foot_y - STEP_HEIGHT_M) & (tops < ground - 0.10)
        if reachable.sum() >= 12:
            ground = min(ground, float(np.median(np.sort(tops[reachable])[:12])))
        if foot_y > ground:  # below it: rise smoothly
            self.fall_m_s = 0.0
            return float(foot_y + (ground - foot_y) * (1.0 - np.exp(-dt_s / RISE_TIME_S)))
        self.fall_m_s += GRAVITY_M_S2 * dt_s
        lower = foot_y + self.fall_m_s * dt_s
        if lower >= ground:
            self.fall_m_s = 0.0
            return float(ground)
        return float(lower)
