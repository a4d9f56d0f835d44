"""The small map: memory seen from above, the path walked and where you look."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ..world.chunks import Chunk, ChunkKey
from ..world.memory import MemorySnapshot
from ..world.transforms import Transform, level_frame

CELL_M = 0.06
"""Side of the map's cells."""

MAX_CELLS = 2048
"""Side of the largest map; what lies farther from the start is left out."""

POINTS_PER_CHUNK = 600
"""About as many points of a chunk are looked at: enough for its cells, and quick."""

CEILING_M = 0.35
"""What lies higher above the eye than this is left out, so that a ceiling does not hide the room."""

STRIDE_CELLS = 8
"""The part of the map that is drawn moves by this many cells at once."""

GROUND_COLOR = (16, 19, 24)
PATH_COLOR = (255, 184, 77)
YOU_COLOR = (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class _Share:
    """What a chunk adds to the map: cells and sums of red, green, blue and points."""

    revision: int
    cells: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float32]


class Minimap:
    """Memory seen from above, kept up to date chunk by chunk. One thread uses it.

    Args:
        up_world: Direction away from gravity.
        eye_world: (3,) where the eye is; what lies well above it is left out.
        side_m: Side of the map around that place.
    """

    def __init__(
        self, up_world: npt.ArrayLike = (0.0, -1.0, 0.0), eye_world: npt.ArrayLike = (0, 0, 0), *, side_m: float = 60.0
    ) -> None:
        self._level_R_world = level_frame(up_world).T
        eye = self._level_R_world @ np.asarray(eye_world, np.float64)
        self._ceiling = float(eye[1]) - CEILING_M  # y points down
        self._side = int(min(MAX_CELLS, max(16, round(side_m / CELL_M))))
        self._corner = np.floor(eye[[0, 2]] / CELL_M) - self._side // 2
        self._sums = np.zeros((self._side, self._side, 4), np.float32)
        self._shares: dict[ChunkKey, _Share] = {}
        self._snapshot: MemorySnapshot | None = None
        self._pending: list[ChunkKey] = []
        self._version = 0
        self._part: tuple[tuple[int, int, int, int], npt.NDArray[np.uint8]] = (
            (0, 0, 0, -1),
            np.zeros((0, 0, 3), np.uint8),
        )

    @property
    def num_pending(self) -> int:
        """Chunks that the map does not show yet."""
        return len(self._pending)

    def update(self, snapshot: MemorySnapshot, max_chunks: int = 2) -> bool:
        """Take over changed chunks, a few at each call (about 0.3 ms each).

        Args:
            snapshot: What memory holds now.
            max_chunks: At most this many.

        Returns:
            Whether the map changed.
        """
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            changed = [k for k, c in snapshot.chunks.items() if self._revision_of(k) != c.revision]
            self._pending = [k for k in self._shares if k not in snapshot.chunks] + changed
        taken = self._pending[:max_chunks]
        del self._pending[:max_chunks]
        for key in taken:
            self._replace(key, snapshot.chunks.get(key), snapshot.voxel_size_m)
        self._version += bool(taken)
        return bool(taken)

    def _revision_of(self, key: ChunkKey) -> int:
        share = self._shares.get(key)
        return -1 if share is None else share.revision

    def _replace(self, key: ChunkKey, chunk: Chunk | None, voxel_size_m: float) -> None:
        flat = self._sums.reshape(-1, 4)
        old = self._shares.pop(key, None)
        if old is not None:
            flat[old.cells] -= old.sums
        if chunk is not None:
            share = self._share_of(chunk, voxel_size_m)
            flat[share.cells] += share.sums
            self._shares[key] = share

    def _share_of(self, chunk: Chunk, voxel_size_m: float) -> _Share:
        every = max(1, chunk.num_points // POINTS_PER_CHUNK)
        few = Chunk(
            chunk.key,
            chunk.revision,
            codes=chunk.codes[::every].copy(),
            rows=chunk.rows[::every].copy(),
            priority=chunk.priority[::every].copy(),
            evidence=chunk.evidence[::every].copy(),
        )
        level = few.positions_world(voxel_size_m) @ self._level_R_world.T
        columns = np.floor(level[:, 0] / CELL_M - self._corner[0]).astype(np.int64)
        rows = np.floor(level[:, 2] / CELL_M - self._corner[1]).astype(np.int64)
        inside = (level[:, 1] > self._ceiling) & (columns >= 0) & (columns < self._side)
        inside &= (rows >= 0) & (rows < self._side)
        cells, at = np.unique(rows[inside] * self._side + columns[inside], return_inverse=True)
        sums = np.zeros((len(cells), 4), np.float32)
        values = np.concatenate([few.colors()[inside], np.ones((int(inside.sum()), 1))], axis=1)
        for channel in range(4):
            sums[:, channel] = np.bincount(at, weights=values[:, channel], minlength=len(cells))
        return _Share(chunk.revision, cells, sums)

    def draw(
        self,
        world_T_camera: Transform,
        path_world: Sequence[npt.ArrayLike] | npt.NDArray[np.floating] = (),
        *,
        size_px: int = 132,
        radius_m: float = 4.0,
    ) -> npt.NDArray[np.uint8]:
        """A square map around the camera; up on it is the start's way forward.

        Args:
            world_T_camera: Where you are.
            path_world: (N, 3) places walked, oldest first.
            size_px: Side in pixels.
            radius_m: Metres from the middle to an edge.

        Returns:
            (size_px, size_px, 4) uint8 sRGB with straight alpha. Fresh memory.
        """
        here = (self._level_R_world @ world_T_camera[:3, 3])[[0, 2]]
        pixels_per_m = size_px / (2.0 * radius_m)
        tile = self._background(here, size_px, pixels_per_m)
        path = np.asarray(path_world, np.float64).reshape(-1, 3)
        if len(path) > 1:
            places = (path @ self._level_R_world.T)[:, [0, 2]]
            _polyline(tile, _to_pixels(places, here, size_px, pixels_per_m), PATH_COLOR)
        forward = (self._level_R_world @ world_T_camera[:3, 2])[[0, 2]]
        _draw_you(tile, float(np.arctan2(forward[0], forward[1])), size_px)
        return _rounded(tile, max(3, size_px // 24))

    def _background(self, here: npt.NDArray[np.float64], size_px: int, pixels_per_m: float) -> npt.NDArray[np.uint8]:
        """Cells around a place as a picture on a dark ground."""
        cells = round(size_px / pixels_per_m / CELL_M) + 2 + STRIDE_CELLS
        first = np.floor(here / CELL_M - self._corner).astype(int) - cells // 2
        first = first // STRIDE_CELLS * STRIDE_CELLS  # so that a few steps find the same part again
        cells += STRIDE_CELLS
        color = self._colors(int(first[0]), int(first[1]), cells)
        k = pixels_per_m * CELL_M  # pixels of a cell
        offset = size_px / 2.0 - ((here / CELL_M - self._corner) - first) * k
        # rows of cells go forward, rows of the picture go back
        matrix = np.array([[k, 0.0, offset[0] + k / 2.0 - 0.5], [0.0, -k, size_px - offset[1] - k / 2.0 - 0.5]])
        out = np.empty((size_px, size_px, 4), np.uint8)
        out[..., 3] = 225
        out[..., :3] = cv2.warpAffine(
            color, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderValue=GROUND_COLOR
        )
        return out

    def _colors(self, column: int, row: int, cells: int) -> npt.NDArray[np.uint8]:
        """(cells, cells, 3) uint8 of a part of the map; kept until the map or the part changes."""
        wanted = (column, row, cells, self._version)
        if self._part[0] == wanted:
            return self._part[1]
        first = np.array([column, row])
        sums = np.zeros((cells, cells, 4), np.float32)
        c0, r0 = np.clip(first, 0, self._side)
        c1, r1 = np.clip(first + cells, 0, self._side)
        sums[r0 - row : r1 - row, c0 - column : c1 - column] = self._sums[r0:r1, c0:c1]
        sums = np.asarray(cv2.boxFilter(sums, -1, (3, 3)), np.float32)  # few points were looked at: close their gaps
        known = sums[..., 3:] > 0.05
        color = np.where(known, sums[..., :3] / np.maximum(sums[..., 3:], 1e-3), np.array(GROUND_COLOR, np.float32))
        self._part = (wanted, color.astype(np.uint8))
        return self._part[1]


def _to_pixels(
    places: npt.NDArray[np.float64], here: npt.NDArray[np.float64], size_px: int, pixels_per_m: float
) -> npt.NDArray[np.float64]:
    """(N, 2) pixels of (N, 2) places on the level plane; forward is up."""
    return size_px / 2.0 + (places - here) * (pixels_per_m, -pixels_per_m)


def _polyline(tile: npt.NDArray[np.uint8], pixels: npt.NDArray[np.float64], color: tuple[int, int, int]) -> None:
    points = np.rint((np.clip(pixels, -4000, 4000) - 0.5) * 8).astype(np.int32).reshape(-1, 1, 2)
    thickness = max(2, tile.shape[0] // 60)
    cv2.polylines(tile, [points], False, (*color, 255), thickness, cv2.LINE_AA, shift=3)


def _draw_you(tile: npt.NDArray[np.uint8], heading_rad: float, size_px: int) -> None:
    """An arrow head in the middle; heading 0 is up, positive turns right."""
    shape = np.array([(0.0, -1.0), (0.62, 0.75), (0.0, 0.4), (-0.62, 0.75)]) * (size_px * 0.055)
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    points = shape @ np.array([[c, s], [-s, c]]) + size_px / 2.0
    corners = np.rint((points - 0.5) * 8).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(tile, [corners], (*YOU_COLOR, 255), cv2.LINE_AA, shift=3)


def _rounded(tile: npt.NDArray[np.uint8], radius: int) -> npt.NDArray[np.uint8]:
    """The tile with round corners."""
    tile[_outside_corners(tile.shape[0], radius)] = 0
    return tile


@lru_cache(maxsize=4)
def _outside_corners(size_px: int, radius: int) -> npt.NDArray[np.bool_]:
    """(size_px, size_px) True outside a square with round corners."""
    middle = size_px / 2.0
    away = np.maximum(np.abs(np.arange(size_px) + 0.5 - middle) - (middle - radius), 0.0)
    return np.hypot(away[:, None], away[None, :]) > radius
