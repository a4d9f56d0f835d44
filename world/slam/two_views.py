"""How two pictures of one camera stand to each other, by matches alone: direction, turn, and whether it moved."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import Transform, apply, invert
from .bundle import EPIPOLAR_PX_AT_640, MIN_MATCHES, rays_of

MIN_PARALLAX_RAD = float(np.deg2rad(1.0))
"""Rays of a point must cross at this angle for its depth to mean anything."""
TURN_STEPS = 6
FLOW_PERCENTILE = 75.0
PLANE_LIMITS = 3.0
"""A match lies on a plane if it is off by no more than so many times what counts as on its epipolar line."""


@dataclass(frozen=True, slots=True, eq=False)
class TwoViews:
    """Two pictures; lengths are in units of the distance between their cameras.

    Attributes:
        a_T_b: (4, 4) pose of b in a; its translation has length 1.
        inliers: (N,) rows of the matches that agree.
        points: (N, 3) float64 in a's camera.
        is_sound: (N,) bool, points in front of both cameras whose rays cross at 1 degree or more.
        flow_px: Motion in the picture that turning alone does not explain, of the quarter that moves most.
        relief_share: Share of the inliers that lie on no common plane. Two motions explain a plane, only one of which
            is true; what stands out of it tells them apart.
    """

    a_T_b: Transform
    inliers: npt.NDArray[np.intp]
    points: npt.NDArray[np.float64]
    is_sound: npt.NDArray[np.bool_]
    flow_px: float
    relief_share: float


def relate(pixels_a: npt.NDArray[np.floating], pixels_b: npt.NDArray[np.floating], pinhole: Pinhole) -> TwoViews | None:
    """Relate two pictures by the essential matrix of their matches (five points, RANSAC).

    Args:
        pixels_a: (M, 2) positions in a.
        pixels_b: (M, 2) positions of the same things in b.
        pinhole: Intrinsics of both.

    Returns:
        None with too few matches, or where no motion explains them.
    """
    if len(pixels_a) < MIN_MATCHES:
        return None
    a, b = pixels_a.astype(np.float64), pixels_b.astype(np.float64)
    limit = EPIPOLAR_PX_AT_640 * pinhole.width / 640
    essential, mask = cv2.findEssentialMat(a, b, pinhole.matrix, cv2.RANSAC, 0.999, limit, 500)
    if essential is None or essential.shape != (3, 3) or mask is None:
        return None
    inliers = np.flatnonzero(mask.ravel())
    if len(inliers) < MIN_MATCHES:
        return None
    _, turn, shift, _ = cv2.recoverPose(essential, a[inliers], b[inliers], pinhole.matrix)
    b_T_a = np.eye(4)
    b_T_a[:3, :3], b_T_a[:3, 3] = turn, shift.ravel()
    a_T_b = invert(b_T_a)
    points, is_sound = _crossing(rays_of(a[inliers], pinhole), rays_of(b[inliers], pinhole), a_T_b)
    flow_px = unexplained_flow_px(a[inliers], b[inliers], pinhole)
    _, on_plane = cv2.findHomography(a[inliers], b[inliers], cv2.RANSAC, PLANE_LIMITS * limit, maxIters=500)
    relief = 0.0 if on_plane is None else 1.0 - float(np.mean(on_plane))
    return TwoViews(a_T_b, inliers, points, is_sound, flow_px, relief)


def unexplained_flow_px(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], pinhole: Pinhole) -> float:
    """Distance in pixels between where b shows things and where the best turn alone would put them: upper quartile.

    Most of a picture may be far away and hardly move. A camera that only turned gives next to nothing: there is no
    baseline to find depth with.
    """
    from_a, to_b = (r / np.linalg.norm(r, axis=1, keepdims=True) for r in (rays_of(a, pinhole), rays_of(b, pinhole)))
    weight, off = np.ones(len(a)), np.zeros(len(a))
    for _ in range(TURN_STEPS):
        u, _, vt = np.linalg.svd((from_a * weight[:, None]).T @ to_b)
        turn = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt).T
        off = np.linalg.norm(from_a @ turn.T - to_b, axis=1)
        weight = 1 / (1 + (off / max(float(np.median(off)), 1e-4)) ** 2)
    return float(np.percentile(off, FLOW_PERCENTILE)) * pinhole.fx


def _crossing(
    from_a: npt.NDArray[np.float64], from_b: npt.NDArray[np.float64], a_T_b: Transform
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """(N, 3) points in a midway between the rays where these are nearest to each other, and whether they are sound."""
    u = from_a / np.linalg.norm(from_a, axis=1, keepdims=True)
    v = from_b @ a_T_b[:3, :3].T
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    eye = a_T_b[:3, 3]
    cosine = (u * v).sum(axis=1)
    sine2 = np.maximum(1 - cosine**2, 1e-12)
    along_u, along_v = u @ eye, v @ eye
    s = (along_u - cosine * along_v) / sine2
    t = (cosine * along_u - along_v) / sine2
    points = (u * s[:, None] + eye + v * t[:, None]) / 2
    behind = (points[:, 2] <= 0) | (apply(invert(a_T_b), points)[:, 2] <= 0) | (s <= 0) | (t <= 0)
    return points, ~behind & (np.sqrt(sine2) > np.sin(MIN_PARALLAX_RAD)) & (cosine > 0)
