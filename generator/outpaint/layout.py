"""Where the walls, the floor and the ceiling of a room stand, from points of which only a part is known."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...world.transforms import Transform, level_frame, rotation_about

Points = npt.NDArray[np.float32]

WALL_BIN_M = 0.03
"""Depth of the slices in which a wall's surface is looked for."""
CELL_M = 0.05
"""Side of the cells that measure how much surface a slice holds, whatever the density of its points."""
MIN_WALL_M2 = 0.25
"""Surface in a slice that makes it a wall."""
PEAK_SHARE = 0.25
"""A wall behind furniture is seen in parts: the farthest slice with this share of the fullest one counts."""
STANDING_LOW_M = 0.15
"""Points lower than this over the floor belong to it, or to what lies on it."""
RELIEF_MAX_M = 0.62
"""What stands nearer to a wall than this is furniture at the wall and part of its relief."""
DEEPEST_M = 0.9
"""Furniture at a wall is no deeper."""
BEYOND_SHARE = 0.25
"""Where more surface than this share of a wall's own lies behind it, it is no wall."""
MIN_SHARE_AT_WALLS = 0.45
"""Where less of what stands upright is at the walls, the box misses what the place is made of."""
FACE_MARGIN_M = 0.12
"""A face of furniture that is not quite parallel to its wall still belongs to it."""
MIN_BAND_M2 = 0.9
"""Least surface at the wall and in its relief that can lend its looks to the other walls."""
MIN_WALL_DISTANCE_M, MAX_WALL_DISTANCE_M = 1.0, 9.0
"""Nearer than this there is nothing to walk in; farther it is no room, but a yard or a landscape."""
CEILING_M = 2.5
"""Usual height of a ceiling that nobody saw."""
REAR_CLEARANCE_M, SIDE_CLEARANCE_M = 2.9, 2.4
"""Least distance from the camera to walls that nobody saw: a step back or aside, and 0.8 m to the furniture."""


@dataclass(frozen=True, slots=True)
class WallSighting:
    """One of the four walls.

    Attributes:
        axis: 0 for walls across x, 2 across z.
        sign: -1 for the wall at the low end of the axis, +1 at the high end.
        offset_m: Coordinate of its plane.
        seen_m2: Known surface in its relief band; 0 for a wall that nobody saw.
        relief_m: What stands nearer to the wall than this is furniture at it, and part of its relief.
        top_m: Height up to which it is known.
    """

    axis: int
    sign: int
    offset_m: float
    seen_m2: float
    relief_m: float = RELIEF_MAX_M
    top_m: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RoomLayout:
    """A box in level axes: x and z along the walls, y down with 0 at the floor, origin below the camera.

    Attributes:
        world_T_room: (4, 4) float64.
        walls: The four walls in walking order, clockwise seen from above: +z, +x, -z, -x.
        ceiling_m: Height of the ceiling over the floor.
        eye_m: Height of the camera over the floor.
    """

    world_T_room: Transform
    walls: tuple[WallSighting, ...]
    ceiling_m: float
    eye_m: float

    @property
    def low(self) -> npt.NDArray[np.float64]:
        """(3,) low corner in room axes: left, ceiling, rear."""
        return np.array([self.walls[3].offset_m, -self.ceiling_m, self.walls[2].offset_m])

    @property
    def high(self) -> npt.NDArray[np.float64]:
        """(3,) high corner in room axes: right, floor, front."""
        return np.array([self.walls[1].offset_m, 0.0, self.walls[0].offset_m])

    @property
    def best_wall(self) -> int:
        """Index of the wall of which most is known; one known only up to a counter's height counts little."""
        return int(np.argmax([w.seen_m2 * w.top_m**3 for w in self.walls]))


def find_layout(
    points_world: Points,
    *,
    floor: tuple[float, float, float, float],
    world_T_camera: Transform,
) -> RoomLayout | None:
    """Fit a box with upright walls to what is known.

    Args:
        points_world: (N, 3) known surface, metres.
        floor: Plane n·x + d = 0, n upwards.
        world_T_camera: Where the photo was taken; the room's +z is the wall axis nearest its view.

    Returns:
        The box, or None where no wall is seen that could lend its looks to the others.
    """
    normal, d = np.asarray(floor[:3], np.float64), float(floor[3])
    eye = world_T_camera[:3, 3]
    eye_m = float(normal @ eye + d)
    if not 0.3 < eye_m < 4.0:
        return None
    world_T_level = _level_pose(normal, eye - normal * eye_m, world_T_camera[:3, 2])
    level = _to_frame(points_world, world_T_level)
    standing = level[(level[:, 1] < -STANDING_LOW_M) & (np.abs(level[:, [0, 2]]).max(1) < 2 * MAX_WALL_DISTANCE_M)]
    if len(standing) < 500:
        return None
    yaw = wall_yaw(standing)
    world_T_room = world_T_level.copy()
    world_T_room[:3, :3] = world_T_level[:3, :3] @ rotation_about((0, 1, 0), yaw)
    room = (standing.astype(np.float64) @ rotation_about((0, 1, 0), yaw)).astype(np.float32)
    return _box(room, world_T_room, eye_m)


def wall_yaw(points_level: Points) -> float:
    """Turn about the vertical that lines the axes up with the walls.

    The sharpest histograms along both axes win: the largest sum of squared counts.

    Args:
        points_level: (N, 3) points above the floor, y down.

    Returns:
        Radians in (-pi/4, pi/4].
    """
    cells = _unique_cells(points_level, 0.04)
    flat = cells[:, [0, 2]]
    best = 0.0
    for width, step in ((np.pi / 4, np.radians(1.0)), (np.radians(1.2), np.radians(0.1))):
        angles = best + np.arange(-width, width, step)
        scores = [_sharpness(flat, a) for a in angles]
        best = float(angles[int(np.argmax(scores))])
    return best


def _sharpness(flat: npt.NDArray[np.float64], angle: float) -> float:
    """Sum of the squared counts of the histograms along both turned axes."""
    c, s = np.cos(angle), np.sin(angle)
    total = 0.0
    for axis in ((c, -s), (s, c)):
        bins = np.floor((flat @ np.array(axis)) / WALL_BIN_M).astype(np.int64)
        counts = np.bincount(bins - bins.min()).astype(np.float64)
        total += float((counts**2).sum())
    return total


def _unique_cells(points: Points, side_m: float) -> npt.NDArray[np.float64]:
    """One mean point for each occupied cell, so that near, dense surface counts no more than far."""
    keys = np.floor(points / side_m).astype(np.int64) + (1 << 20)
    packed = (keys[:, 0] << 42) | (keys[:, 1] << 21) | keys[:, 2]
    _, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    sums = [np.bincount(inverse, points[:, k], len(counts)) for k in range(3)]
    return np.stack(sums, 1) / counts[:, None]


def _level_pose(
    normal: npt.NDArray[np.float64], foot: npt.NDArray[np.float64], heading: npt.NDArray[np.float64]
) -> Transform:
    """Level frame at the foot of the camera, z along its heading where it has one."""
    out = np.eye(4)
    flat = heading - normal * (heading @ normal)
    if np.linalg.norm(flat) < 0.2:
        out[:3, :3] = level_frame(normal)
    else:
        forward = flat / np.linalg.norm(flat)
        out[:3, :3] = np.stack([np.cross(-normal, forward), -normal, forward], 1)
    out[:3, 3] = foot
    return out


def _to_frame(points_world: Points, world_T_frame: Transform) -> Points:
    """(N, 3) float32 coordinates of world points in a frame."""
    r = world_T_frame[:3, :3]
    return ((points_world - world_T_frame[:3, 3].astype(np.float32)) @ r.astype(np.float32)).astype(np.float32)


def _box(room: Points, world_T_room: Transform, eye_m: float) -> RoomLayout | None:
    """Four walls and a ceiling around points in room axes."""
    sides = ((2, 1), (0, 1), (2, -1), (0, -1))
    seen = [_sight_wall(room, axis, sign) for axis, sign in sides]
    if max(sight[1] for sight in seen) < MIN_BAND_M2:
        return None
    depth = max(sight[0] for sight in seen if sight[1] > 0)
    walls = []
    for (axis, sign), (offset, m2, relief, top) in zip(sides, seen, strict=True):
        if m2 == 0.0:
            reach = float(np.percentile(sign * room[:, axis], 99.7))
            least = SIDE_CLEARANCE_M if axis == 0 else REAR_CLEARANCE_M
            offset = max(reach + 0.05, least, 0.5 * min(depth, 7.0))
        walls.append(WallSighting(axis, sign, sign * offset, m2, relief, top))
    if _share_at_walls(room, walls) < MIN_SHARE_AT_WALLS:
        return None
    return RoomLayout(world_T_room, tuple(walls), _ceiling_m(room), eye_m)


def _share_at_walls(room: Points, walls: list[WallSighting]) -> float:
    """Share of the known upright surface that stands at the walls that were found."""
    cells = _unique_cells(room, CELL_M)
    at_wall = np.zeros(len(cells), bool)
    for wall in walls:
        if wall.seen_m2 > 0:
            gap = wall.sign * (wall.offset_m - cells[:, wall.axis])
            at_wall |= (gap < wall.relief_m) & (gap > -0.3)
    return float(at_wall.mean())


def _sight_wall(room: Points, axis: int, sign: int) -> tuple[float, float, float, float]:
    """Distance of the farthest wall, surface in its relief band (0 if there is none), the band's depth and height."""
    nothing = (0.0, 0.0, RELIEF_MAX_M, 0.0)
    along = 2 - axis
    out = sign * room[:, axis]
    keep = (out > MIN_WALL_DISTANCE_M) & (room[:, 1] > -3.5)
    if not keep.any():
        return nothing
    out = out[keep]
    cell = np.floor(room[keep][:, [along, 1]] / CELL_M).astype(np.int64) + (1 << 12)
    cell_key = (cell[:, 0] << 13) | cell[:, 1]
    slices = np.floor(out / WALL_BIN_M).astype(np.int64)
    held = np.unique((slices << 26) | cell_key) >> 26
    area = np.bincount(held) * CELL_M**2
    area[1:] = area[1:] + 0.5 * area[:-1]  # a wall seldom falls into one slice
    candidates = np.nonzero(area >= max(MIN_WALL_M2, PEAK_SHARE * area.max()))[0]
    if len(candidates) == 0:
        return nothing
    last = int(candidates[-1])
    window = (slices >= last - 1) & (slices <= last)
    face = float(np.median(out[window])) + 0.5 * WALL_BIN_M
    offset = max(face, _outermost(slices, cell_key, face))
    near = area[max(0, last - round(DEEPEST_M / WALL_BIN_M)) : last + 1]  # the fullest slice is furniture's face
    fullest = last + 1 - len(near) + int(near.argmax())
    relief = float(np.clip(offset - fullest * WALL_BIN_M + FACE_MARGIN_M, RELIEF_MAX_M, DEEPEST_M))
    band = (out > offset - relief) & (out < offset + 0.1)
    band_m2 = len(np.unique(cell_key[band])) * CELL_M**2
    beyond_m2 = len(np.unique(cell_key[out > offset + 0.1])) * CELL_M**2
    if offset > MAX_WALL_DISTANCE_M or band_m2 < 0.5 * MIN_BAND_M2 or beyond_m2 > BEYOND_SHARE * band_m2:
        return nothing
    top = float(np.percentile(-room[keep][band, 1], 98))
    return offset, band_m2, relief, top


def _outermost(slices: npt.NDArray[np.int64], cell_key: npt.NDArray[np.int64], offset: float) -> float:
    """Where the surface ends that lies up to the depth of furniture behind a plane: a counter's wall is behind it."""
    near = np.abs(slices * WALL_BIN_M - offset) < RELIEF_MAX_M
    held = np.unique((slices[near] << 26) | cell_key[near]) >> 26
    return float(np.percentile(held, 97) + 0.5) * WALL_BIN_M


def _ceiling_m(room: Points) -> float:
    """Height of a level plane overhead, else a usual height over everything known."""
    heights = -room[:, 1]
    overhead = room[heights > 1.9]
    if len(overhead) > 200:
        cells = _unique_cells(overhead, CELL_M)
        slices = np.floor(-cells[:, 1] / CELL_M).astype(np.int64)
        area = np.bincount(slices) * CELL_M**2
        if area.max() > 1.0:
            return float((area.argmax() + 1) * CELL_M)
    return max(CEILING_M, float(np.percentile(heights, 99.5)) + 0.15)
