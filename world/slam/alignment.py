"""Align a frame to memory: point-to-plane against the surface that memory shows to the frame's camera."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..points import PointClass, priority_of
from ..transforms import Transform, invert, rotation_about, rotation_angle_rad
from ..visibility import render_depth
from .given import clean_depth, surface_normals

TUKEY_M = (0.2, 0.1, 0.04)
"""Residuals beyond these count nothing; from coarse to fine, it converges from 5 cm and 3°."""
STEPS_PER_LEVEL = 8
VIEW_WIDTH = 240
MAX_POINTS, COARSE_STEP = 8000, 3
"""Points of a frame, and every so manieth of them on all levels but the finest."""
FRONT_M = 0.1
"""Surface so far behind the front counts: the front of a thick cloud alone would draw frames towards the camera."""
MIN_OVERLAP = 0.08
"""Share of the frame that memory must show before a pose is worth correcting."""
KEPT_OVERLAP = 0.8
"""A correction that loses more of the overlap fits by looking away."""
JUDGED_OVERLAP = 0.25
"""Share of the frame that memory must show before a bad fit is the frame's fault."""
MAX_RESIDUAL = 0.05
SAME_SURFACE = 0.03
NOISE_SHARE = 0.002
WEAK_DIRECTION = 1e-3
HELD = 300.0
"""Poses that were found together weigh as much as so many pixels: estimated depth errs alike in hundreds of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How a frame lies on memory.

    Attributes:
        world_T_camera: (4, 4) float64 pose, corrected or as it came.
        scale: Median of memory's depth over the frame's on the surface they share; a measurement, not applied.
        residual: Median relative depth error where both see something; NaN without overlap.
        covisible_share: Share of the frame's surface that memory held already, within 3 % of depth.
        correction_m: Length of the translation that was applied.
        correction_rad: Angle of the rotation that was applied.
        rejected: Why the frame must not be merged; empty if it may.
        overlap_share: Share of the frame's known pixels where memory has any surface.
    """

    world_T_camera: Transform
    scale: float = 1.0
    residual: float = float("nan")
    covisible_share: float = 0.0
    correction_m: float = 0.0
    correction_rad: float = 0.0
    rejected: str = ""
    overlap_share: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """Memory's surface in the view that it was first seen from: depth, points, normals, all in that camera's frame."""

    pinhole: Pinhole
    depth_m: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    smooth: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A frame's points and weights, and what memory shows to its camera."""

    points: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    target: _Target

    def at(self, limit: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Points and weights that a level of convergence takes."""
        step = 1 if limit == TUKEY_M[-1] else COARSE_STEP
        return self.points[::step], self.weights[::step]


@dataclass(frozen=True, slots=True)
class _Fit:
    residual: float
    overlap_share: float
    covisible_share: float
    scale: float


def align_to_memory(
    depth_m: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: Transform,
    snapshot: MemorySnapshot,
    *,
    max_translation_m: float = 0.15,
    max_rotation_rad: float = float(np.deg2rad(6.0)),
    keep_close: bool = True,
) -> Alignment:
    """Correct a frame's pose so that its surface lies on memory's.

    Observed points are preferred: if they alone cover enough of the view, only they count. Nothing is corrected where
    the overlap is too small, where the fit is within memory's noise already, or where the correction does not help;
    directions that the surface does not fix (along a wall) stay as they are.

    Args:
        depth_m: (H, W) float32 metres along +Z; 0, negative, not finite: unknown.
        confidence: (H, W) float32 in [0, 1]; pixels of 0 do not count.
        pinhole: Intrinsics of the depth.
        world_T_camera: (4, 4) float64 pose to start from.
        snapshot: Memory.
        max_translation_m: A larger correction is a rejection.
        max_rotation_rad: Likewise.
        keep_close: Leave a pose alone that fits within memory's noise already; False where poses are to be found, not
            checked.

    Returns:
        The pose to use, or in ``rejected`` why there is none. No overlap is no rejection.
    """
    view = _view(depth_m, confidence, pinhole, world_T_camera, snapshot)
    if view is None:
        return Alignment(world_T_camera)
    return _align(
        view, world_T_camera, snapshot.voxel_size_m, max_translation_m, max_rotation_rad, keep_close=keep_close
    )


def _align(
    view: _View,
    world_T_camera: Transform,
    voxel_size_m: float,
    max_translation_m: float,
    max_rotation_rad: float,
    *,
    keep_close: bool = True,
) -> Alignment:
    """See ``align_to_memory``."""
    before = _judge(view, np.eye(4))
    start = _result(world_T_camera, np.eye(4), before)
    if before.overlap_share < MIN_OVERLAP:
        return start
    noise = NOISE_SHARE + 0.25 * voxel_size_m / max(float(np.median(view.points[:, 2])), 1e-3)
    if keep_close and before.residual <= noise:
        return start
    target_T_camera = _converge(view)
    after = _judge(view, target_T_camera)
    moved = _result(world_T_camera, target_T_camera, after)
    if _is_worse(after, before):
        moved, after = start, before
    return _reject(moved, after, max_translation_m, max_rotation_rad)


def _view(
    depth_m: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: Transform,
    snapshot: MemorySnapshot,
) -> _View | None:
    """What is needed to align a frame; None where memory shows nothing or the frame is blank."""
    depth = np.where(confidence > 0, clean_depth(depth_m), np.float32(0))
    target = _target(depth, pinhole, world_T_camera, snapshot)
    return None if target is None else _View(*_samples(depth, confidence, pinhole), target)


def _target(
    depth: npt.NDArray[np.float32], pinhole: Pinhole, world_T_camera: Transform, snapshot: MemorySnapshot
) -> _Target | None:
    """Memory's surface in a small view at the starting pose; None where it shows nothing or the frame is blank."""
    if not (depth > 0).any():
        return None
    factor = min(1.0, VIEW_WIDTH / pinhole.width)
    small = pinhole.resized(max(8, round(pinhole.width * factor)), max(8, round(pinhole.height * factor)))
    observed = priority_of(PointClass.OBSERVED)
    surface = render_depth(snapshot, small, world_T_camera, observed, front_m=FRONT_M).depth_m
    if (surface > 0).mean() < MIN_OVERLAP:
        surface = render_depth(snapshot, small, world_T_camera, front_m=FRONT_M).depth_m
    if not (surface > 0).any():
        return None
    points = small.rays() * surface[..., None]
    normals, smooth = surface_normals(points, surface > 0)
    return _Target(small, surface, points, normals, smooth)


def _samples(
    depth: npt.NDArray[np.float32], confidence: npt.NDArray[np.float32], pinhole: Pinhole
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, 3) camera-frame points on a regular grid over the frame and their weights."""
    stride = max(1, int(np.sqrt(depth.size / MAX_POINTS)))
    part = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    z, c = depth[part], confidence[part]
    known = z > 0
    return (pinhole.rays()[part] * z[..., None])[known].astype(np.float64), c[known].astype(np.float64)


def _associate(
    points: npt.NDArray[np.float64], target: _Target
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of the points that fall on a pixel with surface, and those pixels' rows and columns."""
    z = np.where(points[:, 2] > 0.05, points[:, 2], np.nan)
    with np.errstate(invalid="ignore"):
        u = np.floor(target.pinhole.fx * points[:, 0] / z + target.pinhole.cx)
        v = np.floor(target.pinhole.fy * points[:, 1] / z + target.pinhole.cy)
        inside = (u >= 0) & (v >= 0) & (u < target.pinhole.width) & (v < target.pinhole.height)
    index = np.flatnonzero(inside)
    rows, columns = v[index].astype(np.intp), u[index].astype(np.intp)
    hit = target.depth_m[rows, columns] > 0
    return index[hit], rows[hit], columns[hit]


def _judge(view: _View, target_T_camera: Transform) -> _Fit:
    """Depth error where both see something."""
    points, target = view.points, view.target
    moved = points @ target_T_camera[:3, :3].T + target_T_camera[:3, 3]
    index, rows, columns = _associate(moved, target)
    if len(index) == 0:
        return _Fit(float("nan"), 0.0, 0.0, 1.0)
    memory = target.depth_m[rows, columns]
    z = moved[index, 2]
    error = np.abs(z - memory) / memory
    same = error < SAME_SURFACE
    scale = float(np.median(memory[same] / z[same])) if same.any() else 1.0
    return _Fit(float(np.median(error)), len(index) / len(points), float(same.sum() / len(points)), scale)


def _converge(view: _View) -> Transform:
    """Gauss-Newton on point-to-plane distances with Tukey weights, coarse to fine."""
    pose, target = np.eye(4), view.target
    for limit in TUKEY_M:
        points, weights = view.at(limit)
        for _ in range(STEPS_PER_LEVEL):
            step = _step(points @ pose[:3, :3].T + pose[:3, 3], weights, target, limit)
            if step is None:
                break
            change = np.eye(4)
            angle = float(np.linalg.norm(step[:3]))
            if angle > 0:
                change[:3, :3] = rotation_about(step[:3], angle)
            change[:3, 3] = step[3:]
            pose = change @ pose
            if angle < 2e-5 and np.linalg.norm(step[3:]) < 5e-5:
                break
    return pose


def _step(
    moved: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], target: _Target, limit: float
) -> npt.NDArray[np.float64] | None:
    """(6,) rotation vector and translation that lessen the residuals; None where there is nothing to go by."""
    found = _residuals(moved, weights, target, limit)
    if found is None:
        return None
    p, normal, error, weight = found
    jacobian = np.concatenate([np.cross(p, normal), normal], axis=1)
    # metres per radian at the scene's distance make rotation and translation comparable
    unit = np.array([1.0 / np.median(p[:, 2])] * 3 + [1.0] * 3)
    scaled = jacobian * unit
    values, vectors = np.linalg.eigh(scaled.T @ (scaled * weight[:, None]))
    gradient = vectors.T @ (scaled.T @ (weight * error))
    firm = values > WEAK_DIRECTION * values[-1]
    return -unit * (vectors @ np.where(firm, gradient / np.where(firm, values, 1.0), 0.0))


def _residuals(
    moved: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], target: _Target, limit: float
) -> tuple[npt.NDArray[np.float64], ...] | None:
    """Points near the target's smooth surface, its normals there, distances to it, Tukey weights; None if few."""
    index, rows, columns = _associate(moved, target)
    smooth = target.smooth[rows, columns]
    index, rows, columns = index[smooth], rows[smooth], columns[smooth]
    normal = target.normals[rows, columns].astype(np.float64)
    p = moved[index]
    error = np.einsum("ij,ij->i", normal, p - target.points[rows, columns])
    near = np.abs(error) < limit
    if near.sum() < 50:
        return None
    weight = weights[index][near] * (1 - (error[near] / limit) ** 2) ** 2
    return p[near], normal[near], error[near], weight


def align_together(
    depth_m: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    snapshot: MemorySnapshot,
    *,
    max_translation_m: float = 0.15,
    max_rotation_rad: float = float(np.deg2rad(6.0)),
) -> list[Alignment]:
    """Correct the poses of a clip's frames by one motion for all of them, so that their surface lies on memory's.

    For frames whose poses were found together: estimated depth is too noisy for each to find its own way. What the
    surface fixes only weakly, such as sliding along a wall, stays as it was found. A frame that would not fit alone
    stays rejected.

    Args:
        depth_m, confidence: (F, H, W) float32, see ``align_to_memory``.
        pinhole: Of every frame.
        world_T_camera: (F, 4, 4) float64 poses to start from.
        snapshot: Memory.
        max_translation_m, max_rotation_rad: A larger correction is a rejection.

    Returns:
        For each frame as ``align_to_memory`` does.
    """
    found = [
        _view(d, c, pinhole, pose, snapshot) for d, c, pose in zip(depth_m, confidence, world_T_camera, strict=True)
    ]
    views = {k: view for k, view in enumerate(found) if view is not None}
    motion = _converge_together(views, world_T_camera)
    out = [Alignment(motion @ pose) for pose in world_T_camera]
    for k, view in views.items():
        pose = world_T_camera[k]
        alone = _align(view, pose, snapshot.voxel_size_m, max_translation_m, max_rotation_rad)
        step = invert(pose) @ motion @ pose
        fit = _judge(view, step)
        if alone.rejected:
            out[k] = alone
        elif fit.overlap_share >= MIN_OVERLAP:
            out[k] = _reject(_result(pose, step, fit), fit, max_translation_m, max_rotation_rad)
    return out


def _converge_together(views: Mapping[int, _View], world_T_camera: npt.NDArray[np.float64]) -> Transform:
    """The motion of the world that lays all views, by frame, on their targets; as ``_converge`` for one."""
    motion = np.eye(4)
    if not views:
        return motion
    centre = world_T_camera[list(views), :3, 3].mean(axis=0)
    total = np.zeros(6)
    for limit in TUKEY_M:
        for _ in range(STEPS_PER_LEVEL):
            rows, distances = [], []
            for k, view in views.items():
                pose = world_T_camera[k]
                step = invert(pose) @ motion @ pose
                points, weights = view.at(limit)
                found = _residuals(points @ step[:3, :3].T + step[:3, 3], weights, view.target, limit)
                if found is None:
                    continue
                p, normal, error, weight = found
                distances.append(float(np.median(p[:, 2])))
                p, normal = p @ pose[:3, :3].T + pose[:3, 3] - centre, normal @ pose[:3, :3].T
                weight = weight * (len(view.points) / len(points))
                rows.append((np.concatenate([np.cross(p, normal), normal], axis=1), error, weight))
            if not rows:
                return motion
            step = _damped_step(rows, float(np.median(distances)), total)
            total += step
            change = np.eye(4)
            angle = float(np.linalg.norm(step[:3]))
            if angle > 0:
                change[:3, :3] = rotation_about(step[:3], angle)
            change[:3, 3] = step[3:] + centre - change[:3, :3] @ centre
            motion = change @ motion
            if angle < 2e-5 and np.linalg.norm(step[3:]) < 5e-5:
                break
    return motion


def _damped_step(
    rows: Sequence[tuple[npt.NDArray[np.float64], ...]], distance_m: float, total: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(6,) Gauss-Newton step from (jacobian, error, weight) of views; ``total``, all steps so far, is held small."""
    unit = np.array([1.0 / distance_m] * 3 + [1.0] * 3)
    squared, gradient = np.eye(6) * HELD, HELD * total / unit
    for jacobian, error, weight in rows:
        scaled = jacobian * unit
        squared += scaled.T @ (scaled * weight[:, None])
        gradient += scaled.T @ (weight * error)
    return np.asarray(-unit * np.linalg.solve(squared, gradient), np.float64)


def _is_worse(after: _Fit, before: _Fit) -> bool:
    """True if a correction gained nothing: it lost the overlap, less of it fits, or the error is no smaller."""
    if not np.isfinite(after.residual) or after.overlap_share < KEPT_OVERLAP * before.overlap_share:
        return True
    gain = after.covisible_share / after.overlap_share - before.covisible_share / before.overlap_share
    return gain < -0.01 or (gain <= 0 and after.residual >= before.residual)


def _result(world_T_camera: Transform, target_T_camera: Transform, fit: _Fit) -> Alignment:
    return Alignment(
        world_T_camera @ target_T_camera,
        fit.scale,
        fit.residual,
        fit.covisible_share,
        float(np.linalg.norm(target_T_camera[:3, 3])),
        rotation_angle_rad(target_T_camera),
        "",
        fit.overlap_share,
    )


def _reject(moved: Alignment, fit: _Fit, max_translation_m: float, max_rotation_rad: float) -> Alignment:
    """Say why a frame must not be merged, if it must not."""
    reason = ""
    if fit.overlap_share >= JUDGED_OVERLAP and fit.residual > MAX_RESIDUAL:
        reason = f"does not fit memory: median residual {fit.residual:.3f} over {MAX_RESIDUAL:.3f}"
    elif moved.correction_m > max_translation_m:
        reason = f"does not fit memory: it would move by {moved.correction_m:.3f} m, more than {max_translation_m:.3f}"
    elif moved.correction_rad > max_rotation_rad:
        turn, most = np.rad2deg(moved.correction_rad), np.rad2deg(max_rotation_rad)
        reason = f"does not fit memory: it would turn by {turn:.1f} degrees, more than {most:.1f}"
    return replace(moved, rejected=reason)
