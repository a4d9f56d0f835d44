"""A plan of the floor: where a walker can go, how far it is, and the picture of it from above."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from .collision import BODY_RADIUS_M, CELL_M, Collision, Survey

MARGIN_M = 1.0
"""Unknown ground around what is known that a way may lead through."""
CLOSE_GAPS_CELLS = 4
"""Floor between floor seen so near (20 cm) counts as seen: photos see it in streaks."""
OFFSETS = [(i, j) for i in range(4) for j in range(-3, 4) if np.gcd(i, j) == 1 and (i, j) > (0, 0)]
"""16 lines through a cell, 32 directions to go from it: a way is at most 1.3 % longer than with every direction."""
COLORS = {"unknown": (226, 226, 230), "seen": (250, 246, 236), "near": (214, 205, 196), "blocked": (72, 76, 88)}


class Ground(IntEnum):
    """What is known of a cell."""

    UNKNOWN = 0
    SEEN = 1
    BLOCKED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """The shortest way between two places.

    Attributes:
        length_m: Metres.
        seen_share: Share of it over floor that memory has; the rest is unknown and taken for free.
        is_geodesic: False where no way was found: the length is then the straight line's.
        points_level: (N, 2) x and z of its corners, level frame.
    """

    length_m: float
    seen_share: float
    is_geodesic: bool
    points_level: npt.NDArray[np.float64]


class FloorPlan:
    """Cells of 5 cm on the floor's plane, by the rules that the walker's collision follows.

    A cell is blocked if a body standing there would touch what blocks. Steps up to 30 cm do not block; that a walker
    then stands higher, and could step higher still, is not looked at.

    Args:
        survey: What stands around, from ``Collision.survey``.
        radius_m: Half the side of the largest plan.
    """

    def __init__(self, survey: Survey, radius_m: float) -> None:
        self._world_R_level = survey.world_R_level
        self.floor_y_m = survey.floor_y_m
        self._low, shape = _extent(survey, radius_m)
        blocked, floor = _raster(survey.blocking, self._low, shape), _raster(survey.floor, self._low, shape)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * CLOSE_GAPS_CELLS + 1,) * 2)
        seen = cv2.morphologyEx(floor.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
        clearance = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * CELL_M
        self._touched = blocked
        self.ground = np.where(seen, np.uint8(Ground.SEEN), np.uint8(Ground.UNKNOWN))
        self.ground[clearance < BODY_RADIUS_M + CELL_M / 2] = Ground.BLOCKED

    @classmethod
    def around(cls, collision: Collision, center_world: npt.NDArray[np.float64], radius_m: float) -> "FloorPlan":
        """The plan of what memory knows now around a place."""
        return cls(collision.survey(center_world, radius_m), radius_m)

    # -- places -------------------------------------------------------------------------------------------------------

    def place_of(self, position_world: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(..., 2) x and z in the level frame of (..., 3) world positions."""
        level: npt.NDArray[np.float64] = np.asarray(position_world, np.float64) @ self._world_R_level
        return level[..., [0, 2]]

    def position_of(self, place: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(3,) world position on the floor at (2,) x and z."""
        x, z = np.asarray(place, np.float64)
        return self._world_R_level @ np.array([x, self.floor_y_m, z])

    def places(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """(N, 2) middles of (N, 2) cells of the grid."""
        return (np.asarray(cells, np.float64) + self._low + 0.5) * CELL_M

    def cell_of(self, place: npt.ArrayLike) -> tuple[int, int]:
        """The cell of a place, the nearest one outside of the grid."""
        cell = np.floor(np.asarray(place) / CELL_M).astype(int) - self._low
        i, j = np.clip(cell, 0, np.array(self.ground.shape) - 1)
        return int(i), int(j)

    def is_straight(self, a: npt.ArrayLike, b: npt.ArrayLike) -> bool:
        """Whether the straight line between two places is free."""
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        num = int(np.ceil(np.linalg.norm(b - a) / (CELL_M / 2))) + 1
        line = a + (b - a) * np.linspace(0.0, 1.0, num)[:, None]
        cells = np.floor(line / CELL_M).astype(int) - self._low
        inside = ((cells >= 0) & (cells < self.ground.shape)).all(1)
        ground = self.ground[cells[inside, 0], cells[inside, 1]]
        return bool((ground != Ground.BLOCKED).all())

    @cached_property
    def _graph(self) -> csr_array:
        """(cells, cells) lengths in cells between free cells; each pair once."""
        free = self.ground != Ground.BLOCKED
        index = np.arange(free.size).reshape(free.shape)
        rows, columns, lengths = [], [], []
        for i, j in OFFSETS:
            a = (slice(0, free.shape[0] - i), slice(max(0, -j), free.shape[1] - max(0, j)))
            b = (slice(i, free.shape[0]), slice(max(0, j), free.shape[1] - max(0, -j)))
            both = free[a] & free[b]
            rows.append(index[a][both])
            columns.append(index[b][both])
            lengths.append(np.full(int(both.sum()), np.hypot(i, j)))
        pairs = (np.concatenate(rows), np.concatenate(columns))
        return csr_array((np.concatenate(lengths), pairs), shape=(free.size, free.size))

    def spread(self, cell: tuple[int, int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Metres from a cell to every cell, infinite where no way leads, and the next cell on the way to it (flat)."""
        start = int(np.ravel_multi_index(cell, self.ground.shape))
        cells, previous = dijkstra(self._graph, directed=False, indices=start, return_predecessors=True)
        return cells.reshape(self.ground.shape) * CELL_M, previous

    # -- distances ----------------------------------------------------------------------------------------------------

    def distances_to(self, place: npt.ArrayLike) -> "Distances":
        """How far it is to a place from everywhere."""
        return Distances(self, np.asarray(place, np.float64))

    def way(self, a: npt.ArrayLike, b: npt.ArrayLike, distances: "Distances | None" = None) -> Way:
        """The shortest way from a place to another.

        Args:
            a: (2,) metres, where it begins.
            b: (2,) metres, where it ends.
            distances: Those to ``b``, if they are known already.
        """
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        field = distances or self.distances_to(b)
        points = np.stack([a, b]) if self.is_straight(a, b) else field.trace(a)
        is_geodesic = points is not None
        points = np.stack([a, b]) if points is None else self._pulled(points)
        length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        return Way(length, self._seen_share(points), is_geodesic, points)

    def _pulled(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A way pulled taut: corners that can be cut are cut."""
        kept, i = [0], 0
        while i < len(points) - 1:
            ahead = range(len(points) - 1, i + 1, -1)
            i = next((j for j in ahead if self.is_straight(points[i], points[j])), i + 1)
            kept.append(i)
        return points[kept]

    def _seen_share(self, points: npt.NDArray[np.float64]) -> float:
        shares, lengths = [], []
        for a, b in pairwise(points):
            length = float(np.linalg.norm(b - a))
            steps = np.linspace(0.0, 1.0, max(2, round(length / CELL_M)))[:, None]
            cells = np.floor((a + (b - a) * steps) / CELL_M).astype(int) - self._low
            inside = ((cells >= 0) & (cells < self.ground.shape)).all(1)
            cells = np.clip(cells, 0, np.array(self.ground.shape) - 1)
            shares.append(float(((self.ground[cells[:, 0], cells[:, 1]] == Ground.SEEN) & inside).mean()))
            lengths.append(length)
        return float(np.average(shares, weights=lengths)) if sum(lengths) else 1.0

    # -- picture ------------------------------------------------------------------------------------------------------

    def picture(
        self,
        paths_world: Sequence[npt.NDArray[np.float64]] = (),
        goals_world: Sequence[npt.NDArray[np.float64]] = (),
        *,
        side_px: int = 900,
    ) -> npt.NDArray[np.uint8]:
        """The plan from above, forward (z) up, with paths and goals.

        Args:
            paths_world: (N, 3) positions of each path; a filled dot marks where it ends.
            goals_world: (3,) position of each goal, the colours as the paths'.
            side_px: Longer side of the picture.

        Returns:
            (H, W, 3) uint8 sRGB. A bar in a corner is one metre long.
        """
        scale = max(1, side_px // max(self.ground.shape))
        image = np.full((*self.ground.shape, 3), COLORS["unknown"], np.uint8)
        image[self.ground == Ground.SEEN] = COLORS["seen"]
        image[self.ground == Ground.BLOCKED] = COLORS["near"]
        image[self._touched] = COLORS["blocked"]
        image = np.ascontiguousarray(np.flipud(image.transpose(1, 0, 2)).repeat(scale, 0).repeat(scale, 1))
        _draw_metre(image, round(scale / CELL_M))
        for i, path in enumerate(paths_world):
            pixels = self._pixels(path, scale)
            cv2.polylines(image, [pixels], False, _path_color(i), max(2, scale // 2), cv2.LINE_AA, 4)
            cv2.circle(image, _point(pixels[0]), 16 * max(3, scale), _path_color(i), 2, cv2.LINE_AA, 4)
            cv2.circle(image, _point(pixels[-1]), 16 * max(3, scale), _path_color(i), -1, cv2.LINE_AA, 4)
        for i, goal in enumerate(goals_world):
            x, y = self._pixels(goal[None], scale)[0] // 16
            center = (int(x), int(y))
            cv2.drawMarker(image, center, _path_color(i), cv2.MARKER_STAR, 7 * max(3, scale), 2, cv2.LINE_AA)
        return image

    def _pixels(self, positions_world: npt.NDArray[np.float64], scale: int) -> npt.NDArray[np.int32]:
        """(N, 2) sixteenths of a pixel, x and y of the picture."""
        cells = self.place_of(positions_world) / CELL_M - self._low
        flipped = np.stack([cells[:, 0], self.ground.shape[1] - cells[:, 1]], 1)
        return np.round(flipped * scale * 16).astype(np.int32)


class Distances:
    """Shortest distances to one place over the free cells of a plan, 32 directions from a cell (Dijkstra).

    Args:
        plan: The plan.
        goal: (2,) metres, level frame.
    """

    def __init__(self, plan: FloorPlan, goal: npt.NDArray[np.float64]) -> None:
        self.plan = plan
        self.goal = goal
        free = plan.ground != Ground.BLOCKED
        self._is_usable = bool(free.any())
        self._nearest_free = _nearest(free)
        self._next = np.zeros(0, np.int32)
        self.field_m = np.full(free.shape, np.inf)
        if not self._is_usable:
            return
        start = plan.cell_of(goal)
        i, j = (int(axis[start]) for axis in self._nearest_free)
        from_cell, self._next = plan.spread((i, j))
        self.field_m = from_cell + float(np.linalg.norm(plan.places(np.array([[i, j]]))[0] - goal))

    def at(self, place: npt.ArrayLike) -> float:
        """Metres from a place; the straight line's where that is free or no way is known."""
        place = np.asarray(place, np.float64)
        straight = float(np.linalg.norm(place - self.goal))
        if not self._is_usable or self.plan.is_straight(place, self.goal):
            return straight
        cell = self._free_cell(place)
        low, high = np.maximum(cell - 1, 0), np.minimum(cell + 2, self.field_m.shape)
        around = np.argwhere(np.ones(high - low)) + low
        reach = np.linalg.norm(self.plan.places(around) - place, axis=1)
        best = float((self.field_m[around[:, 0], around[:, 1]] + reach).min())
        return max(best, straight) if np.isfinite(best) else straight

    def trace(self, place: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
        """(N, 2) the way from a place, or None if there is none."""
        if not self._is_usable:
            return None
        i, j = self._free_cell(np.asarray(place, np.float64))
        if not np.isfinite(self.field_m[i, j]):
            return None
        width = self.field_m.shape[-1]
        at = int(i * width + j)
        flat = [at]
        while self._next[at] >= 0:
            at = int(self._next[at])
            flat.append(at)
        rows, columns = np.divmod(np.array(flat, np.int64), width)
        cells = np.stack([rows, columns], 1)
        return np.concatenate([np.asarray(place, np.float64)[None], self.plan.places(cells), self.goal[None]])

    def _free_cell(self, place: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        cell = self.plan.cell_of(place)
        return np.array([axis[cell] for axis in self._nearest_free], np.int64)


def _extent(survey: Survey, radius_m: float) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
    """Lowest cell (x, z) and size of a grid that holds the centre and what is known, within the radius."""
    center = np.floor(survey.center_level[[0, 2]] / CELL_M).astype(np.int64)
    reach, margin = round(radius_m / CELL_M), round(MARGIN_M / CELL_M)
    known = np.concatenate([survey.blocking, survey.floor, center[None]])
    low = np.maximum(known.min(0) - margin, center - reach)
    high = np.minimum(known.max(0) + margin, center + reach)
    size = high - low + 1
    return low, (int(size[0]), int(size[1]))


def _raster(
    columns: npt.NDArray[np.int64], low: npt.NDArray[np.int64], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    out = np.zeros(shape, np.bool_)
    cells = columns - low
    cells = cells[((cells >= 0) & (cells < shape)).all(1)]
    out[cells[:, 0], cells[:, 1]] = True
    return out


def _nearest(free: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(2, X, Z) the nearest free cell of each cell; 0 where none is free."""
    found: Any = distance_transform_edt(~free, return_distances=False, return_indices=True)
    return np.asarray(found, np.int64) if free.any() else np.zeros((2, *free.shape), np.int64)


def _path_color(index: int) -> tuple[int, int, int]:
    """A colour for the i-th path, hues far apart."""
    hue = np.array([[[(index * 67 + 5) % 180, 210, 200]]], np.uint8)
    r, g, b = (int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])
    return r, g, b


def _draw_metre(image: npt.NDArray[np.uint8], metre_px: int) -> None:
    """A bar of one metre in the lower left corner."""
    x, y, color = 12, image.shape[0] - 14, COLORS["blocked"]
    cv2.line(image, (x, y), (x + metre_px, y), color, 3)
    cv2.putText(image, "1 m", (x, y - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)


def _point(pixel: npt.NDArray[np.int32]) -> tuple[int, int]:
    return int(pixel[0]), int(pixel[1])
