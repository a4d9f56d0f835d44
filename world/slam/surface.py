"""Memory's surface as one camera sees it, averaged behind the front: what alignment leans on."""

import numba
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..chunks import CHUNK_SIDE
from ..memory import MemorySnapshot
from ..points import PointClass
from ..transforms import Transform, apply, invert

BAND_M, BAND_SHARE = 0.03, 0.015
"""Points this far behind the front-most one are the same, thick surface; the front alone is 1 % too near."""


def points_in_view(
    snapshot: MemorySnapshot,
    pinhole: Pinhole,
    world_T_camera: Transform,
    *,
    min_priority: int = 0,
    margin: float = 0.1,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Copy the points of the chunks that a camera may see.

    Args:
        snapshot: Memory.
        pinhole: The camera.
        world_T_camera: Its pose.
        min_priority: Points below it are left out.
        margin: Growth of the view on each side, as a share of its size.

    Returns:
        (N, 3) float32 camera-frame positions in metres and their (N,) uint8 priorities.
    """
    keys = sorted(snapshot.chunks)
    if not keys:
        return np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)
    camera_T_world = invert(world_T_camera)
    side = CHUNK_SIDE * snapshot.voxel_size_m
    centre = apply(camera_T_world, (np.asarray(keys, np.float64) + 0.5) * side)
    near = _may_see(centre, side * np.sqrt(3) / 2, pinhole, margin)
    positions, priorities = [], []
    for index in np.flatnonzero(near):
        chunk = snapshot.chunks[keys[index]]
        counts = chunk.priority >= min_priority
        positions.append(chunk.positions_world(snapshot.voxel_size_m)[counts])
        priorities.append(chunk.priority[counts])
    if not positions:
        return np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)
    world = np.concatenate(positions).astype(np.float64)
    return apply(camera_T_world, world).astype(np.float32), np.concatenate(priorities)


def _may_see(centre: npt.NDArray[np.float64], radius: float, pinhole: Pinhole, margin: float) -> npt.NDArray[np.bool_]:
    """True for (K, 3) camera-frame spheres that touch the frustum."""
    visible = centre[:, 2] > -radius
    for axis, size, focal, middle in (
        (0, pinhole.width, pinhole.fx, pinhole.cx),
        (1, pinhole.height, pinhole.fy, pinhole.cy),
    ):
        low, high = (-margin * size - middle) / focal, ((1 + margin) * size - middle) / focal
        visible &= (centre[:, axis] - low * centre[:, 2]) / np.hypot(1, low) > -radius
        visible &= (high * centre[:, 2] - centre[:, axis]) / np.hypot(1, high) > -radius
    return visible


def view_surface(
    points_camera: npt.NDArray[np.float32], pinhole: Pinhole, *, radius_m: float = 0.0
) -> npt.NDArray[np.float32]:
    """Depth of the nearest surface in each pixel: the mean of what lies within a band behind the front-most point.

    Args:
        points_camera: (N, 3) float32 camera-frame metres.
        pinhole: The pixel grid.
        radius_m: Half the side of the square that a point covers; 0 covers one pixel.

    Returns:
        (H, W) float32 metres along +Z; 0 where nothing is.
    """
    intrinsics = np.array([pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy], np.float64)
    front = np.full((pinhole.height, pinhole.width), np.inf, np.float32)
    total, weight = np.zeros_like(front), np.zeros_like(front)
    points = np.ascontiguousarray(points_camera, np.float32)
    _splat(points, intrinsics, float(radius_m), front, total, weight)
    return np.where(weight > 0, total / np.maximum(weight, 1e-9), 0).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _splat(points, intrinsics, radius_m, front, total, weight):  # type: ignore[no-untyped-def]
    """Front-most depth, then sums over the band behind it. Arrays float32 (N, 3), float64 (4,), float32 (H, W) x 3."""
    height, width = front.shape
    fx, fy, cx, cy = intrinsics
    for second in range(2):
        for i in range(points.shape[0]):
            z = points[i, 2]
            if not z > 0.05:
                continue
            u = fx * points[i, 0] / z + cx
            v = fy * points[i, 1] / z + cy
            r = radius_m * fx / z
            if r < 0.5:
                r = 0.0
            elif r > 8.0:
                r = 8.0
            if u + r < 0 or v + r < 0 or u - r >= width or v - r >= height:
                continue
            x0, x1 = max(0, int(np.floor(u - r))), min(width - 1, int(np.floor(u + r)))
            y0, y1 = max(0, int(np.floor(v - r))), min(height - 1, int(np.floor(v + r)))
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    if second == 0:
                        if z < front[y, x]:
                            front[y, x] = z
                    elif z <= front[y, x] + BAND_M + BAND_SHARE * z:
                        du, dv = x + 0.5 - u, y + 0.5 - v
                        share = 1.0 / (0.25 + du * du + dv * dv)
                        total[y, x] += share * z
                        weight[y, x] += share


def observed_first(
    points_camera: npt.NDArray[np.float32], priority: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Split camera-frame points into observed ones and all."""
    return points_camera[(priority >> 6) == PointClass.OBSERVED], points_camera
