"""Walls as pictures with relief: drawn from known points, cleaned, and turned back into closed surface."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.ndimage import distance_transform_edt

from .layout import RoomLayout

RELIEF_WEIGHT = 150.0
"""Levels of colour that one metre of relief counts for in a seam."""
BEHIND_M = 0.08
"""Points this far behind a wall's plane are noise of the wall."""
FLOOR_CLEARANCE_M = 0.02
"""Lower points belong to the floor."""
RELIEF_NOISE_M = 0.03
"""Steps of this height are noise of depth rather than edges."""
SPECK_M2 = 0.003
"""Smaller patches of known wall are specks between things that stand further in front."""
EDGE_COLOR_LEVELS = 40.0
"""A skirt continues its face's texture as far as the colour stays within this."""
FREE_RELIEF_M = 0.12
"""What stands out less than this may hang on a wall."""
SPIKE_M2 = 0.05
"""Invented relief stands out only in connected parts of at least this size."""
SKIRT_TEXELS = 1.5
"""Steps of relief higher than this are closed by a skirt."""


@dataclass(frozen=True, slots=True)
class WallFrame:
    """Coordinates on one wall, seen from inside: columns to the right, rows from the ceiling down.

    Attributes:
        corner: (x, z) of the left end in room axes.
        along: (x, z) unit vector to the right.
        inward: (x, z) unit vector into the room.
        length_m: Extent along the wall.
        height_m: Height of the ceiling.
        relief_m: Depth of what counts as the wall's relief.
    """

    corner: tuple[float, float]
    along: tuple[float, float]
    inward: tuple[float, float]
    length_m: float
    height_m: float
    relief_m: float

    def to_wall(self, points_room: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(N, 3) along, height, relief in metres of points in room axes."""
        x, z = points_room[:, 0] - self.corner[0], points_room[:, 2] - self.corner[1]
        out = np.empty_like(points_room)
        out[:, 0] = x * self.along[0] + z * self.along[1]
        out[:, 1] = -points_room[:, 1]
        out[:, 2] = x * self.inward[0] + z * self.inward[1]
        return out

    def to_room(self, points_wall: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Room axes of (N, 3) along, height, relief."""
        out = np.empty_like(points_wall)
        for k, index in ((0, 0), (1, 2)):
            out[:, index] = self.corner[k] + points_wall[:, 0] * self.along[k] + points_wall[:, 2] * self.inward[k]
        out[:, 1] = -points_wall[:, 1]
        return out


def wall_frames(layout: RoomLayout) -> tuple[WallFrame, ...]:
    """Frames of the four walls, clockwise: +z, +x, -z, -x; each ends where the next begins."""
    (x0, _, z0), (x1, _, z1) = layout.low, layout.high
    h, r = layout.ceiling_m, [w.relief_m for w in layout.walls]
    return (
        WallFrame((x0, z1), (1.0, 0.0), (0.0, -1.0), x1 - x0, h, r[0]),
        WallFrame((x1, z1), (0.0, -1.0), (-1.0, 0.0), z1 - z0, h, r[1]),
        WallFrame((x1, z0), (-1.0, 0.0), (0.0, 1.0), x1 - x0, h, r[2]),
        WallFrame((x0, z0), (0.0, 1.0), (1.0, 0.0), z1 - z0, h, r[3]),
    )


@dataclass(slots=True, eq=False)
class WallMap:
    """A wall as a picture.

    Attributes:
        frame: Where it stands.
        texel_m: Side of a texel.
        picture: (H, W, 4) float32: colour and relief times ``RELIEF_WEIGHT``.
        known: (H, W) bool.
    """

    frame: WallFrame
    texel_m: float
    picture: npt.NDArray[np.float32]
    known: npt.NDArray[np.bool_]

    @property
    def relief_m(self) -> npt.NDArray[np.float32]:
        """(H, W) metres in front of the wall's plane."""
        return self.picture[..., 3] / RELIEF_WEIGHT


def draw_wall(
    frame: WallFrame,
    texel_m: float,
    points_room: npt.NDArray[np.float32],
    colors: npt.NDArray[np.uint8],
    spacing_m: npt.NDArray[np.float32],
) -> WallMap:
    """Draw known points on a wall, the foremost within its relief.

    Args:
        frame: The wall.
        texel_m: Side of a texel.
        points_room: (N, 3) room axes; any points, those off the wall are passed over.
        colors: (N, 3).
        spacing_m: (N,) distance between neighbouring points.
    """
    shape = (max(1, round(frame.height_m / texel_m)), max(1, round(frame.length_m / texel_m)))
    wall = frame.to_wall(points_room)
    keep = (wall[:, 2] > -BEHIND_M) & (wall[:, 2] < frame.relief_m) & (wall[:, 1] > FLOOR_CLEARANCE_M)
    keep &= (wall[:, 0] > 0) & (wall[:, 0] < frame.length_m) & (wall[:, 1] < frame.height_m)
    wall = wall[keep]
    column = wall[:, 0] / texel_m
    row = shape[0] - wall[:, 1] / texel_m
    reach = np.clip(0.6 * spacing_m[keep] / texel_m, 0.5, 4.0).astype(np.float32)
    picture = np.zeros((*shape, 4), np.float32)
    weight = np.zeros(shape, np.float32)
    _draw_foremost(column, row, wall[:, 2], colors[keep], reach, np.float32(0.03), picture, weight)
    known = weight > 0
    picture[known] /= weight[known][:, None]
    picture[..., 3] = np.clip(picture[..., 3], -0.02, frame.relief_m) * RELIEF_WEIGHT
    result = WallMap(frame, texel_m, picture, known)
    _clean(result)
    return result


@njit(cache=True, nogil=True)
def _draw_foremost(column, row, relief, colors, reach, tolerance, picture, weight):
    """Two passes: the foremost relief of each texel, then the mean of what lies within a tolerance of it."""
    height, width = weight.shape
    front = np.full((height, width), np.float32(-9.0))
    for turn in range(2):
        for i in range(len(relief)):
            r = reach[i]
            y0, y1 = max(int(np.floor(row[i] - r + 0.5)), 0), min(int(np.floor(row[i] + r - 0.5)), height - 1)
            x0, x1 = max(int(np.floor(column[i] - r + 0.5)), 0), min(int(np.floor(column[i] + r - 0.5)), width - 1)
            y1, x1 = max(y0, y1), max(x0, x1)
            if y1 >= height or x1 >= width:
                continue
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    if turn == 0:
                        front[y, x] = max(front[y, x], relief[i])
                    elif relief[i] > front[y, x] - tolerance:
                        d = (y + 0.5 - row[i]) ** 2 + (x + 0.5 - column[i]) ** 2
                        w = np.float32(1.0 / (0.1 + d))
                        weight[y, x] += w
                        picture[y, x, 0] += w * colors[i, 0]
                        picture[y, x, 1] += w * colors[i, 1]
                        picture[y, x, 2] += w * colors[i, 2]
                        picture[y, x, 3] += w * relief[i]


def _clean(wall: WallMap) -> None:
    """Drop specks and thinly known parts, close pinholes, smooth the relief's noise. In place."""
    relief = nearest_filled(wall.picture, wall.known)[..., 3]
    smooth = cv2.medianBlur(relief, 5)
    close = (np.abs(relief - smooth) < 0.05 * RELIEF_WEIGHT) & wall.known
    size = max(3, round(0.10 / wall.texel_m)) | 1
    density = cv2.blur(wall.known.astype(np.float32), (size, size))
    known = close & (density > 0.45)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(known.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * wall.texel_m**2 > SPECK_M2
    large[0] = False
    known = large[np.asarray(labels, np.int64)] if count > 1 else known
    kernel = np.ones((5, 5), np.uint8)
    closed = cv2.morphologyEx(np.pad(known, 4).astype(np.uint8), cv2.MORPH_CLOSE, kernel)[4:-4, 4:-4] > 0
    wall.picture[:] = nearest_filled(wall.picture, known)
    relief = cv2.medianBlur(np.ascontiguousarray(wall.picture[..., 3]), 5)
    wall.picture[..., 3] = cv2.bilateralFilter(relief, 9, RELIEF_NOISE_M * RELIEF_WEIGHT, 3.0)
    wall.known[:] = closed | known


def nearest_filled(
    picture: npt.NDArray[np.float32], known: npt.NDArray[np.bool_], upright: float = 1.0
) -> npt.NDArray[np.float32]:
    """Every unknown texel takes its nearest known one.

    Args:
        picture: (H, W, K) float32.
        known: (H, W) bool.
        upright: Weight of vertical distance; below 1 columns hold together.

    Returns:
        (H, W, K) float32. Fresh memory.
    """
    if not known.any() or known.all():
        return picture.copy()
    nearest = np.empty((2, *known.shape), np.int32)
    distance_transform_edt(
        ~known, sampling=(upright, 1.0), return_distances=False, return_indices=True, indices=nearest
    )
    return picture[nearest[0], nearest[1]]


def supported(relief_m: npt.NDArray[np.float32], band: int, reach: int) -> npt.NDArray[np.float32]:
    """Relief in which nothing above a band stands out further than what stands below it.

    Args:
        relief_m: (H, W) metres.
        band: Rows from the floor up that carry the rest.
        reach: Columns that a thing may hang over its support.

    Returns:
        (H, W) float32. Fresh memory.
    """
    support = np.percentile(relief_m[-band:], 85, axis=0).astype(np.float32)
    support = cv2.dilate(support[None], np.ones((1, 2 * reach + 1), np.uint8))[0]
    out = relief_m.copy()
    out[:-band] = np.minimum(out[:-band], np.maximum(support, FREE_RELIEF_M))
    return out


def without_spikes(relief_m: npt.NDArray[np.float32], texel_m: float) -> npt.NDArray[np.float32]:
    """Relief whose every level is made of parts of some size: a post alone in front of a wall falls back on it.

    Args:
        relief_m: (H, W) metres.
        texel_m: Side of a texel.

    Returns:
        (H, W) float32, nowhere higher. Fresh memory.
    """
    out = relief_m.copy()
    least = SPIKE_M2 / texel_m**2
    for level in np.arange(0.86, 0.05, -0.06, dtype=np.float32):
        above = (out > level).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] < least
        small[0] = False
        if count > 1 and small.any():
            out[small[np.asarray(labels, np.int64)]] = level
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Points of one kind of surface in room axes.

    Attributes:
        points_room: (N, 3) float32.
        colors: (N, 3) float32, 0..255.
        spacing_m: (N,) float32.
    """

    points_room: npt.NDArray[np.float32]
    colors: npt.NDArray[np.float32]
    spacing_m: npt.NDArray[np.float32]

    @classmethod
    def concatenate(cls, parts: "list[Surface]") -> "Surface":
        """All points, in order."""
        return cls(
            np.concatenate([p.points_room for p in parts]),
            np.concatenate([p.colors for p in parts]),
            np.concatenate([p.spacing_m for p in parts]),
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> "Surface":
        """The points that are kept."""
        return Surface(self.points_room[keep], self.colors[keep], self.spacing_m[keep])


def wall_surface(wall: WallMap) -> Surface:
    """Points of the wall's face and the skirts that close the steps of its relief."""
    relief, color = np.ascontiguousarray(wall.relief_m), np.ascontiguousarray(wall.picture[..., :3])
    total = relief.size + _emit_skirts(relief, color, wall.texel_m, np.zeros((0, 3), np.float32), color[0, :0])
    points = np.empty((total, 3), np.float32)
    colors = np.empty((total, 3), np.float32)
    h, w = relief.shape
    rows, columns = np.mgrid[:h, :w]
    points[: relief.size] = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5, relief.ravel()], 1)
    colors[: relief.size] = color.reshape(-1, 3)
    _emit_skirts(relief, color, wall.texel_m, points[relief.size :], colors[relief.size :])
    points[:, 0] *= wall.texel_m
    points[:, 1] = wall.frame.height_m - points[:, 1] * wall.texel_m
    spacing = np.full(total, 1.15 * wall.texel_m, np.float32)
    spacing[relief.size :] = 1.6 * wall.texel_m
    return Surface(wall.frame.to_room(points), colors, spacing)


@njit(cache=True, nogil=True)
def _emit_skirts(relief, color, texel_m, points, colors):
    """Close every step of the relief; returns the number of points, and writes them where there is room.

    A skirt continues the face's own texture round the edge, mirrored, and darkens away from the light.
    """
    height, width = relief.shape
    room = len(points)
    n = 0
    for y in range(height):
        for x in range(width):
            here = relief[y, x]
            for side in range(4):
                dy, dx = 0, 0
                shade = np.float32(0.74)
                if side == 0:
                    dx = 1
                elif side == 1:
                    dx = -1
                elif side == 2:
                    dy = 1
                    shade = np.float32(0.5)
                else:
                    dy = -1
                    shade = np.float32(0.95)
                yn, xn = y + dy, x + dx
                if yn < 0 or xn < 0 or yn >= height or xn >= width:
                    continue
                step = here - relief[yn, xn]
                if step <= SKIRT_TEXELS * texel_m:
                    continue
                count = int(step / texel_m)
                if room == 0:
                    n += count
                    continue
                shade = 1.0 - (1.0 - shade) * min(np.float32(1.0), max(np.float32(0.0), (step - 0.015) / 0.06))
                run = 1
                while run < count:
                    yb, xb = y - dy * run, x - dx * run
                    if yb < 0 or xb < 0 or yb >= height or xb >= width or abs(relief[yb, xb] - here) > 0.03:
                        break
                    change = np.float32(0.0)  # a board's edge goes on round the corner, not what is below it
                    for c in range(3):
                        change = max(change, abs(color[yb, xb, c] - color[y, x, c]))
                    if change > EDGE_COLOR_LEVELS:
                        break
                    run += 1
                for k in range(count):
                    if n >= room:
                        return n
                    fold = k % (2 * run)
                    back = fold if fold < run else 2 * run - 1 - fold
                    points[n, 0] = x + 0.5 + 0.5 * dx
                    points[n, 1] = y + 0.5 + 0.5 * dy
                    points[n, 2] = here - (k + 0.5) * texel_m
                    depth = np.float32(shade * (1.0 - 0.35 * min(1.0, k * texel_m / 0.4)))
                    for c in range(3):
                        colors[n, c] = color[y - dy * back, x - dx * back, c] * depth
                    n += 1
    return n
