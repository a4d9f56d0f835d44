"""Which frames and pixels of a clip become points, and the lifting itself."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..points import MAX_WEIGHT, PointBatch
from ..transforms import Transform, apply, invert, rotation_angle_rad
from ..updates import DepthView
from ..visibility import render_depth

KEY_DISTANCE_M, KEY_ANGLE_RAD = 0.1, float(np.deg2rad(4.0))
"""A frame this far from the last lifted one is lifted too; nearer ones show next to nothing new."""
BEHIND = 1.012
"""Where a view's surface must stay visible, invented points start this factor behind it."""
MAX_PUSH, PUSHES = 1.25, 4
"""An invented point is moved back by at most this factor to get there, in some steps."""
SAME_SURFACE = 0.02
FREE_SPACE_WIDTH = 400


def choose_frames(
    world_T_camera: npt.NDArray[np.float64], new_surface: npt.NDArray[np.bool_] | None, *, every: bool
) -> list[int]:
    """Choose the frames of a clip that are lifted.

    Args:
        world_T_camera: (F, 4, 4) poses.
        new_surface: (F, H, W) bool; with it, every frame with anything new is lifted.
        every: Take all frames, as of a source.

    Returns:
        Rising indices, at least one.
    """
    count = len(world_T_camera)
    if every:
        return list(range(count))
    if new_surface is not None:
        return [k for k in range(count) if new_surface[k].any()] or [count - 1]
    chosen = [0]
    for k in range(1, count):
        step = invert(world_T_camera[chosen[-1]]) @ world_T_camera[k]
        if np.linalg.norm(step[:3, 3]) > KEY_DISTANCE_M or rotation_angle_rad(step) > KEY_ANGLE_RAD:
            chosen.append(k)
    if chosen[-1] != count - 1:
        chosen.append(count - 1)
    return chosen


def shows_new(
    depth_m: npt.NDArray[np.float32],
    new_surface: npt.NDArray[np.bool_] | None,
    surface_m: npt.NDArray[np.float32],
    overhang_px: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.bool_]:
    """Where a frame may add invented points to what memory shows at its pose.

    Args:
        depth_m: (H, W) the frame's depth.
        new_surface: (H, W) where its generator says that it added something; it may lie behind the rim of memory's
            surface, but neither on it nor before it. Without it, only pixels count where memory shows nothing.
        surface_m: (H, W) depth of memory's surface that must not change; 0 where there is none.
        overhang_px: (H, W) float32, how far a splat reaches at each pixel: so far may points lie on memory's surface
            where it ends. None for not at all.

    Returns:
        (H, W) bool.
    """
    seen = surface_m > 0
    closed = cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    new = ~closed if new_surface is None else new_surface & ~(seen & (depth_m < BEHIND * surface_m))
    if overhang_px is not None:
        new |= is_rim(closed, overhang_px) & (np.abs(surface_m - depth_m) < SAME_SURFACE * depth_m)
    return new


def is_rim(seen: npt.NDArray[np.bool_], overhang_px: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Seen pixels so near to unseen ones that they may show only the overhang of splats, which are wider than points.

    Without points there a seam would stay open between what was known and what is new.

    Args:
        seen: (H, W) bool.
        overhang_px: (H, W) float32, how far a splat reaches at each pixel.

    Returns:
        (H, W) bool.
    """
    return seen & (cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 3) <= overhang_px)


def lies_on_surface(
    depth_m: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: Transform,
    snapshot: MemorySnapshot,
    overhang_px: npt.NDArray[np.float32] | None,
) -> npt.NDArray[np.bool_]:
    """(H, W) bool: where a frame's depth is within 2 % of the surface that memory shows there, but for its rim."""
    surface = render_depth(snapshot, pinhole, world_T_camera).depth_m
    seen = surface > 0
    on_surface = seen & (np.abs(surface - depth_m) < SAME_SURFACE * depth_m)
    return on_surface if overhang_px is None else on_surface & ~is_rim(seen, overhang_px)


def hides_surface(points_world: npt.NDArray[np.floating], views: Sequence[DepthView]) -> npt.NDArray[np.bool_]:
    """(N,) bool: points that stand in front of the surface that one of the views sees, or on it.

    The farthest depth of 3x3 pixels counts, so that nothing invented rims what is known.
    """
    return _nearness(points_world, views) < BEHIND


def push_behind(
    points_world: npt.NDArray[np.float32], eye_world: npt.NDArray[np.float64], views: Sequence[DepthView]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Move points that would hide what a view sees away from the eye that they are seen from, a little way.

    They stay on their pixel, so that no slit opens beside what stands in front.

    Args:
        points_world: (N, 3) float32.
        eye_world: (3,) position of the camera that the points are lifted from.
        views: Views whose surface must stay visible.

    Returns:
        (N, 3) float32 moved points, and (N,) bool, True for those that would hide something still.
    """
    moved = points_world.astype(np.float64)
    room = np.full(len(moved), MAX_PUSH)
    near = _nearness(moved, views)
    for _ in range(PUSHES):
        hiding = np.flatnonzero((near < BEHIND) & (room > 1.0))
        if len(hiding) == 0:
            break
        factor = np.minimum(1.003 * BEHIND / near[hiding], room[hiding])
        moved[hiding] = eye_world + (moved[hiding] - eye_world) * factor[:, None]
        room[hiding] = np.where(factor < room[hiding], room[hiding] / factor, 1.0)
        near[hiding] = _nearness(moved[hiding], views)
    return moved.astype(np.float32), near < BEHIND


def _nearness(points_world: npt.NDArray[np.floating], views: Sequence[DepthView]) -> npt.NDArray[np.float64]:
    """(N,) depth of each point over that of the surface behind or before it, the least of all views; inf if none."""
    least = np.full(len(points_world), np.inf)
    for view in views:
        pixels, z = view.pinhole.project(points_world, view.world_T_camera)
        with np.errstate(invalid="ignore"):
            u, v = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
            inside = (u >= 0) & (v >= 0) & (u < view.pinhole.width) & (v < view.pinhole.height)
        far = cv2.dilate(view.depth_m, np.ones((3, 3), np.uint8))
        index = np.flatnonzero(inside)
        known = far[v[index].astype(int), u[index].astype(int)]
        ratio = np.where(known > 0, z[index] / np.where(known > 0, known, 1.0), np.inf)
        least[index] = np.minimum(least[index], ratio)
    return least


def lift_pixels(
    color: npt.NDArray[np.uint8],
    depth_m: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    *,
    use: npt.NDArray[np.bool_],
    pinhole: Pinhole,
    world_T_camera: Transform,
    priority: npt.NDArray[np.uint8] | int,
    keyframe_id: int,
    max_points: int,
) -> PointBatch:
    """Make points of a frame's pixels.

    Args:
        color: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres.
        confidence: (H, W) float32 in [0, 1].
        use: (H, W) bool, the pixels to take, as far as their depth is known.
        pinhole: Intrinsics.
        world_T_camera: Pose.
        priority: One for all, or (H, W) uint8.
        keyframe_id: Provenance.
        max_points: More are thinned out evenly, in row-major order.

    Returns:
        One point for each pixel, row-major.
    """
    index = np.flatnonzero(use & (depth_m > 0))
    if len(index) > max_points:
        index = index[(np.arange(max_points) * len(index)) // max_points]
    z = depth_m.ravel()[index]
    camera = pinhole.rays().reshape(-1, 3)[index] * z[:, None]
    weight = 1 + np.rint((MAX_WEIGHT - 1) * np.clip(confidence.ravel()[index], 0, 1)).astype(np.uint8)
    ranks = np.full(len(index), priority, np.uint8) if isinstance(priority, int) else priority.ravel()[index]
    return PointBatch(
        apply(world_T_camera, camera.astype(np.float64)).astype(np.float32),
        color.reshape(-1, 3)[index],
        weight.astype(np.uint8),
        ranks.astype(np.uint8),
        np.full(len(index), keyframe_id, np.uint32),
    )


def free_space_view(
    depth_m: npt.NDArray[np.float32], pinhole: Pinhole, world_T_camera: Transform, priority: int
) -> DepthView:
    """A depth view for carving, small because carving has a margin anyway: the nearest depth of each block counts.

    A block with an unknown pixel is unknown.
    """
    step = max(1, round(pinhole.width / FREE_SPACE_WIDTH))
    h, w = pinhole.height // step * step, pinhole.width // step * step
    if h == 0 or w == 0:
        step, h, w = 1, pinhole.height, pinhole.width
    blocks = depth_m[:h, :w].reshape(h // step, step, w // step, step)
    small = Pinhole(w // step, h // step, pinhole.fx / step, pinhole.fy / step, pinhole.cx / step, pinhole.cy / step)
    return DepthView(np.ascontiguousarray(blocks.min(axis=(1, 3))), small, world_T_camera, priority)
