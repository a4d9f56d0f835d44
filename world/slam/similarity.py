"""Lay the geometry of several views on memory as one body: rotation, translation and scale together.

Scale found view by view and poses found one by one pull at each other where a clip moves little; one body has seven
unknowns and every view's surface to find them by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..transforms import Transform, invert, rotation_about
from .given import surface_normals
from .scale import memory_depth

VIEW_WIDTH = 160
MAX_POINTS = 3000
TUKEY_SHARES = (0.1, 0.1, 0.05, 0.02, 0.01, 0.01)
"""Residuals beyond these shares of the surface's distance count nothing; memory is drawn anew for each."""
STEPS = 5
MIN_POINTS = 200
WEAK_DIRECTION = 1e-3
"""What the surface does not fix stays as it was, such as the size of three walls that meet in a point."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyView:
    """One view of a body.

    Attributes:
        depth: (H, W) float32 along +Z in the body's unit, 0 unknown.
        pinhole: Intrinsics.
        body_T_camera: (4, 4) pose in the body, in its unit.
    """

    depth: npt.NDArray[np.float32]
    pinhole: Pinhole
    body_T_camera: Transform

    def world_T_camera(self, world_T_body: Transform, scale: float) -> Transform:
        """The camera's pose in metres."""
        body_T_camera = self.body_T_camera.copy()
        body_T_camera[:3, 3] *= scale
        return world_T_body @ body_T_camera


@dataclass(frozen=True, slots=True, eq=False)
class BodyFit:
    """Where a body lies.

    Attributes:
        world_T_body: (4, 4) pose, rotation and metres.
        scale: Metres for each unit of the body.
        inlier_share: Share of the points with memory before them that lie on its surface.
        num_points: Points with memory before them.
    """

    world_T_body: Transform
    scale: float
    inlier_share: float
    num_points: int


def fit_body(views: Sequence[BodyView], memory: MemorySnapshot, world_T_body: Transform, scale: float) -> BodyFit:
    """Lay a body on memory's surface, point to plane, from an approximate place and scale.

    Args:
        views: What the body consists of.
        memory: What it must fit.
        world_T_body: (4, 4) where to start.
        scale: What to start with.
    """
    pose, points = world_T_body.copy(), [_points(v) for v in views]
    share, count = 0.0, 0
    for limit in TUKEY_SHARES:
        targets = [_target(v, memory, v.world_T_camera(pose, scale)) for v in views]
        for _ in range(STEPS):
            rows = [_rows(p, t, pose, scale) for p, t in zip(points, targets, strict=True)]
            moved, normal, error, distance = (np.concatenate(part) for part in zip(*rows, strict=True))
            count = len(error)
            if count < MIN_POINTS:
                return BodyFit(pose, scale, 0.0, count)
            near = np.abs(error) < limit * distance
            share = float(near.mean())
            if near.sum() < MIN_POINTS:
                break
            step = _step(moved[near], normal[near], error[near], limit * distance[near], pose[:3, 3])
            change = np.eye(4)
            angle = float(np.linalg.norm(step[:3]))
            if angle > 0:
                change[:3, :3] = rotation_about(step[:3], angle)
            pose[:3, :3] = change[:3, :3] @ pose[:3, :3]
            pose[:3, 3] += step[3:6]
            scale *= float(np.exp(step[6]))
    return BodyFit(pose, scale, share, count)


def _points(view: BodyView) -> npt.NDArray[np.float64]:
    """(N, 3) points on a grid of pixels, in the body."""
    stride = max(1, int(np.sqrt(view.depth.size / MAX_POINTS)))
    part = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    depth = view.depth[part]
    camera = (view.pinhole.rays()[part] * depth[..., None])[depth > 0].astype(np.float64)
    return camera @ view.body_T_camera[:3, :3].T + view.body_T_camera[:3, 3]


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    pinhole: Pinhole
    camera_T_world: Transform
    depth_m: npt.NDArray[np.float32]
    points_world: npt.NDArray[np.float64]
    normals_world: npt.NDArray[np.float64]
    smooth: npt.NDArray[np.bool_]


def _target(view: BodyView, memory: MemorySnapshot, pose: Transform) -> _Target:
    height = max(8, round(VIEW_WIDTH * view.pinhole.height / view.pinhole.width))
    small = view.pinhole.resized(VIEW_WIDTH, height)
    depth = memory_depth(memory, small, pose)
    camera = small.rays() * depth[..., None]
    normals, smooth = surface_normals(camera, depth > 0)
    world = (camera @ pose[:3, :3].T + pose[:3, 3]).astype(np.float64)
    return _Target(small, invert(pose), depth, world, (normals @ pose[:3, :3].T).astype(np.float64), smooth)


def _rows(
    points: npt.NDArray[np.float64], target: _Target, pose: Transform, scale: float
) -> tuple[npt.NDArray[np.float64], ...]:
    """Points in the world that lie before a smooth surface, its normals, their distances to it, and its depth."""
    moved = scale * (points @ pose[:3, :3].T) + pose[:3, 3]
    camera = moved @ target.camera_T_world[:3, :3].T + target.camera_T_world[:3, 3]
    z, p = np.where(camera[:, 2] > 0.05, camera[:, 2], np.nan), target.pinhole
    with np.errstate(invalid="ignore"):
        u, v = np.floor(p.fx * camera[:, 0] / z + p.cx), np.floor(p.fy * camera[:, 1] / z + p.cy)
        inside = (u >= 0) & (v >= 0) & (u < p.width) & (v < p.height)
    index = np.flatnonzero(inside)
    rows, columns = v[index].astype(np.intp), u[index].astype(np.intp)
    hit = target.smooth[rows, columns]
    index, rows, columns = index[hit], rows[hit], columns[hit]
    normal = target.normals_world[rows, columns]
    error = np.einsum("ij,ij->i", normal, moved[index] - target.points_world[rows, columns])
    return moved[index], normal, error, target.depth_m[rows, columns].astype(np.float64)


def _step(
    moved: npt.NDArray[np.float64],
    normal: npt.NDArray[np.float64],
    error: npt.NDArray[np.float64],
    limit: npt.NDArray[np.float64],
    origin: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """(7,) rotation about the body's origin, translation and logarithm of the scale that lessen the distances."""
    arm = moved - origin
    along = np.einsum("ij,ij->i", normal, arm)
    jacobian = np.concatenate([np.cross(arm, normal), normal, along[:, None]], axis=1)
    weight = (1 - (error / limit) ** 2) ** 2
    # metres at the scene's distance make rotation and scale comparable with translation
    far = 1.0 / max(float(np.median(np.linalg.norm(arm, axis=1))), 1e-6)
    unit = np.array([far] * 3 + [1.0] * 3 + [far])
    scaled = jacobian * unit
    values, vectors = np.linalg.eigh(scaled.T @ (scaled * weight[:, None]))
    gradient = vectors.T @ (scaled.T @ (weight * error))
    firm = values > WEAK_DIRECTION * values[-1]
    return -unit * (vectors @ np.where(firm, gradient / np.where(firm, values, 1.0), 0.0))
