"""What cameras see of the memory: depth drawn from its voxels, and the release's rule of visible points."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .chunks import addresses_of
from .snapshot import MemorySnapshot
from .transforms import Transform

FRONT_VOXELS = 2.0
FRONT_SHARE = 0.02
"""What lies within max(``FRONT_VOXELS`` voxels, ``FRONT_SHARE`` of the depth) behind the front is averaged: the
front-most point of a noisy cloud alone would bias depth towards the camera."""

POINTS_PER_BUFFER = 10_000_000
"""The release treats this many points at a time, each lot with a depth buffer of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class DepthBuffer:
    """Memory as a camera sees it.

    Attributes:
        depth_m: (H, W) float32 metres along +Z; 0 where memory has nothing.
        priority: (H, W) uint8, highest priority of the voxels that make the depth; 0 where nothing is.
        color: (H, W, 3) float32 sRGB in 0..255, the mean of the same voxels, if asked for; otherwise (0, 0, 3).
    """

    depth_m: npt.NDArray[np.float32]
    priority: npt.NDArray[np.uint8]
    color: npt.NDArray[np.float32]


def camera_row(pinhole: Pinhole, world_T_camera: Transform) -> npt.NDArray[np.float64]:
    """(16,) float64 for kernels: camera_R_world row by row, translation, fx, fy, cx, cy."""
    camera_T_world = np.linalg.inv(world_T_camera)
    intrinsics = (pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy)
    return np.concatenate([camera_T_world[:3, :3].reshape(-1), camera_T_world[:3, 3], intrinsics])


def render_depth(
    snapshot: MemorySnapshot,
    pinhole: Pinhole,
    world_T_camera: Transform,
    min_priority: int = 0,
    *,
    front_m: float = 0.0,
    with_color: bool = False,
) -> DepthBuffer:
    """Draw the depth of memory with squares of the voxels' footprint, averaged near the front.

    Any thread; releases the interpreter's lock while it computes. The cost follows the points in the frustum.

    Args:
        snapshot: Memory to look at.
        pinhole: Intrinsics and size of the image.
        world_T_camera: (4, 4) pose.
        min_priority: Voxels below are not seen.
        front_m: What lies so far behind the front is averaged as well; a few centimetres take the bias out of surfaces
            that noisy poses made thick.
        with_color: Draw colour as well, a quarter slower.
    """
    from . import view_kernels  # imports Numba, which takes most of a second

    depth = np.zeros((pinhole.height, pinhole.width), np.float32)
    priority = np.zeros((pinhole.height, pinhole.width), np.uint8)
    color = np.zeros((pinhole.height, pinhole.width, 3) if with_color else (0, 0, 3), np.float32)
    keys = snapshot.chunks_in_frusta(pinhole, world_T_camera)
    if keys:
        chunks = [snapshot.chunks[key] for key in keys]
        counts, addresses = addresses_of(chunks)
        view_kernels.splat_depth(
            counts,
            addresses,
            np.array(keys, np.float64) * snapshot.chunk_size_m,
            snapshot.voxel_size_m,
            camera_row(pinhole, world_T_camera),
            pinhole.width,
            pinhole.height,
            np.array([max(FRONT_VOXELS * snapshot.voxel_size_m, front_m), FRONT_SHARE]),
            min_priority,
            depth,
            priority,
            color,
        )
    return DepthBuffer(depth, priority, color)


def visible_points(
    points_world: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    points_per_buffer: int = POINTS_PER_BUFFER,
) -> npt.NDArray[np.bool_]:
    """Mark which points each view sees, exactly by the rule of the authors' release (``utils/frustum_culling.py``).

    A point's pixel is its projection truncated toward zero; it is visible if its Z is positive, its pixel inside the
    image and Z at most the pixel's smallest + 1e-6: one point a pixel, or exact ties. Intrinsics are used as they
    stand, in pixels.

    Args:
        points_world: (N, 3) float32 metres.
        pinhole: Intrinsics and size of all views.
        world_T_camera: (V, 4, 4) float64 poses.
        points_per_buffer: Points that share a depth buffer; later ones do not hide earlier ones.

    Returns:
        (V, N) bool. Fresh.
    """
    from . import view_kernels

    poses = np.asarray(world_T_camera, np.float64).reshape(-1, 4, 4)
    cameras = np.array([camera_row(pinhole, pose) for pose in poses], np.float64).reshape(-1, 16).astype(np.float32)
    points = np.ascontiguousarray(points_world, np.float32)
    lots = []
    for first in range(0, max(len(points), 1), points_per_buffer):
        lot = points[first : first + points_per_buffer]
        visible = np.zeros((len(poses), len(lot)), np.bool_)
        view_kernels.see_points(lot, cameras, pinhole.width, pinhole.height, visible)
        lots.append(visible)
    return lots[0] if len(lots) == 1 else np.concatenate(lots, axis=1)
