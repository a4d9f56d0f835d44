"""A picture of what changed between two moments of a world: added green, changed amber, removed red, the rest grey."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ..renderer.interface import DrawOptions
from ..renderer.software import SoftwareRenderer
from ..saves.diff import ChunkDiff
from ..world.camera import Pinhole
from ..world.chunks import COLUMN_R, COLUMN_WEIGHT, Chunk
from ..world.memory import SpatialMemory
from ..world.transforms import Transform, level_frame, look

ADDED, CHANGED, REMOVED = (64, 200, 96), (240, 184, 32), (232, 56, 56)
BACKGROUND = 18
SIZE = (640, 480)
OVERVIEW_FOV_RAD = float(np.radians(55.0))


def draw_diff(
    diffs: Iterable[ChunkDiff],
    voxel_size_m: float,
    world_T_camera: Transform,
    up_world: tuple[float, float, float],
) -> npt.NDArray[np.uint8]:
    """Two views side by side: from where the walk stands, and of all changes from above.

    Args:
        diffs: All chunks, those that do not differ too.
        voxel_size_m: Side of a voxel.
        world_T_camera: Where the walk stands.
        up_world: Direction away from gravity.

    Returns:
        (H, 2 W, 3) uint8 sRGB.
    """
    memory = SpatialMemory(voxel_size_m)
    touched: list[npt.NDArray[np.float32]] = []
    painted = []
    for diff in diffs:
        chunk, is_touched = paint_chunk(diff)
        if chunk.num_points:
            painted.append(chunk)
            touched.append(chunk.positions_world(voxel_size_m)[is_touched])
    memory.load(painted)
    points = np.concatenate(touched) if touched else np.zeros((0, 3), np.float32)
    if not len(points):
        points = memory.points().positions_world
    pinhole = Pinhole.from_fov(*SIZE, OVERVIEW_FOV_RAD)
    overview = _overview(points, up_world) if len(points) else world_T_camera
    renderer = SoftwareRenderer()
    try:
        renderer.update(memory.snapshot())
        views = [renderer.render(pose, pinhole, DrawOptions()) for pose in (world_T_camera, overview)]
    finally:
        renderer.close()
    pictures = [np.where((v.depth_m > 0)[..., None], v.color, np.uint8(BACKGROUND)) for v in views]
    return np.concatenate(pictures, axis=1)


def paint_chunk(diff: ChunkDiff) -> tuple[Chunk, npt.NDArray[np.bool_]]:
    """The chunk after, with the removed voxels of the chunk before, in the colours of the change.

    Returns:
        The chunk, and (N) bool: which of its voxels were added, changed or removed.
    """
    parts: list[tuple[Chunk, npt.NDArray[np.bool_], npt.NDArray[np.uint8]]] = []
    if diff.after is not None:
        luminance = diff.after.colors().astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        color = np.repeat((36 + 0.45 * luminance)[:, None], 3, axis=1).astype(np.uint8)
        color[diff.added], color[diff.changed] = ADDED, CHANGED
        parts.append((diff.after, np.ones(diff.after.num_points, np.bool_), color))
    if diff.before is not None:
        color = np.tile(np.array(REMOVED, np.uint8), (diff.before.num_points, 1))
        parts.append((diff.before, diff.removed, color))
    codes = np.concatenate([chunk.codes[kept] for chunk, kept, _ in parts])
    rows = np.concatenate([_with_color(chunk.rows[kept], color[kept]) for chunk, kept, color in parts])
    priority = np.concatenate([chunk.priority[kept] for chunk, kept, _ in parts])
    is_touched = np.concatenate([diff.added | diff.changed, np.ones(int(diff.removed.sum()), np.bool_)])
    order = np.argsort(codes)
    chunk = Chunk(diff.key, 1, codes[order], rows[order], priority[order], np.zeros((len(codes), 2), np.uint8))
    return chunk, is_touched[order]


def _with_color(rows: npt.NDArray[np.uint32], color: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    out = rows.copy()
    out[:, COLUMN_R : COLUMN_R + 3] = rows[:, COLUMN_WEIGHT, None] * color
    return out


def _overview(points: npt.NDArray[np.float32], up_world: tuple[float, float, float]) -> Transform:
    """A camera that looks down at points from behind, far enough to see them all."""
    level = level_frame(up_world)
    low, high = points.min(axis=0), points.max(axis=0)
    radius = max(0.3, float(np.linalg.norm(high - low)) / 2)
    pose = look((0, 0, 0), 0.5, -0.6, level)
    pose[:3, 3] = (low + high) / 2 - pose[:3, 2] * (1.2 * radius / np.sin(OVERVIEW_FOV_RAD * 0.4))
    return pose
