"""What is known of a place: the photos' pixels lifted to points, and what memory holds that nobody invented."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...world.camera import unproject
from ...world.memory import MemorySnapshot
from ...world.points import PointClass, class_of
from ..requests import ReferenceFrame


@dataclass(frozen=True, slots=True, eq=False)
class KnownSurface:
    """Known surface: points in the world frame with the extent of their pixels."""

    positions_world: npt.NDArray[np.float32]
    colors: npt.NDArray[np.uint8]
    spacing_m: npt.NDArray[np.float32]


def gather_known(photos: Sequence[ReferenceFrame], memory: MemorySnapshot) -> KnownSurface:
    """Photos' own pixels, and what memory holds that was observed or estimated."""
    parts = [_lift(p) for p in photos]
    held = memory.points()
    real = class_of(held.priority) >= PointClass.ESTIMATED
    if real.any() and (len(photos) > 1 or not parts):
        count = int(real.sum())
        spacing = np.full(count, memory.voxel_size_m, np.float32)
        parts.append(KnownSurface(held.positions_world[real], held.colors[real], spacing))
    if not parts:
        nothing = np.zeros((0, 3), np.float32)
        return KnownSurface(nothing, nothing.astype(np.uint8), nothing[:, 0])
    return KnownSurface(
        np.concatenate([p.positions_world for p in parts]),
        np.concatenate([p.colors for p in parts]),
        np.concatenate([p.spacing_m for p in parts]),
    )


def _lift(photo: ReferenceFrame) -> KnownSurface:
    """A photo's pixels as points, without those that hang between two surfaces."""
    assert photo.depth_m is not None
    depth = behind_filled(solid_depth(photo.depth_m))
    spacing = depth[depth > 0] / photo.pinhole.fx * 1.15
    return KnownSurface(
        unproject(depth, photo.pinhole, photo.world_T_camera), photo.color[depth > 0], spacing.astype(np.float32)
    )


def solid_depth(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Depth without flying pixels: those with fewer than 10 of 24 neighbours within 2 %.

    Args:
        depth_m: (H, W) metres, 0 unknown.

    Returns:
        (H, W) float32, 0 where unknown or flying. Fresh memory.
    """
    padded = np.pad(depth_m, 2)
    h, w = depth_m.shape
    count = np.zeros((h, w), np.uint8)
    tolerance = 0.02 * depth_m
    for dy in range(5):
        for dx in range(5):
            if dy != 2 or dx != 2:
                count += np.abs(padded[dy : dy + h, dx : dx + w] - depth_m) < tolerance
    return np.where((depth_m > 0) & (count >= 10), depth_m, 0.0).astype(np.float32)


def behind_filled(depth_m: npt.NDArray[np.float32], reach: int = 24) -> npt.NDArray[np.float32]:
    """Depth with its small gaps closed from the far side: mostly they are what one of a stereo pair could not see.

    Args:
        depth_m: (H, W) metres, 0 unknown.
        reach: Farthest known pixel that is looked at, along rows and columns.

    Returns:
        (H, W) float32; the farthest of the nearest known depths in four directions, 0 where fewer than two are near.
    """
    sides = []
    for turned in (depth_m, depth_m[:, ::-1], depth_m.T, depth_m.T[:, ::-1]):
        columns = np.arange(turned.shape[1])[None]
        last = np.maximum.accumulate(np.where(turned > 0, columns, -reach - 1), axis=1)
        value = np.take_along_axis(turned, np.maximum(last, 0), 1)
        sides.append(np.where(columns - last <= reach, value, 0.0))
    found = np.stack([sides[0], sides[1][:, ::-1], sides[2].T, sides[3][:, ::-1].T])
    filled = np.where((found > 0).sum(0) >= 2, found.max(0), 0.0)
    return np.where(depth_m > 0, depth_m, filled).astype(np.float32)
