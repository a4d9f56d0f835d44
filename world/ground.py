"""The floor under a walker: a plane fitted to points."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_TILT_RAD = float(np.deg2rad(45.0))
"""A floor's normal is at most this far from the hint of up: photos are pitched, seldom more."""
MAX_SHARE_BELOW = 0.02
"""Nothing real lies under a floor; what does is noise, reflection and steps down."""
EYE_HEIGHT_RANGE_M = (0.3, 3.0)
MIN_INLIER_SHARE = 0.03
LOW_EYE_M, LOW_EYE_INLIER_SHARE = 0.6, 0.15
"""A plane so close under the camera is a table top, unless it fills much of the view."""
MAX_POINTS = 12_000
NUM_TRIPLES = 4_000
SCORED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane n·x + d = 0 in the world frame.

    Attributes:
        normal: (3,) unit normal; of a floor it points up, away from gravity.
        offset_m: d in metres; the signed height of the world's origin over the plane.
    """

    normal: tuple[float, float, float]
    offset_m: float

    def height_m(self, points_world: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(...,) signed distance of (..., 3) points, positive on the normal's side."""
        return np.asarray(points_world, np.float64) @ np.asarray(self.normal) + self.offset_m


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor that was found.

    Attributes:
        plane: Its plane; the normal is the world's up.
        eye_height_m: Height of the camera that it was fitted for.
        inlier_share: Share of the points that lie on it.
    """

    plane: Plane
    eye_height_m: float
    inlier_share: float


def fit_floor(
    positions_world: npt.NDArray[np.floating],
    *,
    up_hint: tuple[float, float, float] = (0.0, -1.0, 0.0),
    camera_position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> Floor | None:
    """Find the floor among points: the largest plane that faces up with hardly anything under it.

    RANSAC over triples of points, then least squares on the inliers. A point counts as on the plane within 2 cm or 1 %
    of its distance from the camera, whichever is more, because depth noise grows with range.

    Args:
        positions_world: (N, 3) metres, world frame; rows that are not finite are passed over.
        up_hint: Roughly up, within 45°.
        camera_position: (3,) where the points were seen from.
        seed: Of the sampling; the same points and seed give the same floor.

    Returns:
        The floor, or None where no plane within 45° of up has 3 % of the points on it (15 % if the camera is less than
        0.6 m above it: a table has less), less than 2 % below it, and the camera 0.3 to 3 m above it.

    Raises:
        ValueError: Wrong shape, or a hint without direction.
    """
    points, up, eye = _check(positions_world, up_hint, camera_position)
    rng = np.random.default_rng(seed)
    if len(points) > MAX_POINTS:
        points = points[rng.choice(len(points), MAX_POINTS, replace=False)]
    if len(points) < 3:
        return None
    tolerance = np.maximum(0.02, 0.01 * np.linalg.norm(points - eye, axis=1))
    candidates = _candidates(points, up, eye, rng)
    best = _best(candidates, points, tolerance)
    if best is None:
        return None
    return _finish(_refine(best, points, tolerance), points, tolerance, up, eye)


def _check(
    positions_world: npt.NDArray[np.floating],
    up_hint: tuple[float, float, float],
    camera_position: tuple[float, float, float],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    points = np.asarray(positions_world, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"floor: expected (N, 3) positions, got shape {points.shape}")
    up, eye = np.asarray(up_hint, np.float64), np.asarray(camera_position, np.float64)
    if up.shape != (3,) or eye.shape != (3,) or not np.isfinite([*up, *eye]).all() or np.linalg.norm(up) < 1e-9:
        raise ValueError(f"floor: expected an up direction and a camera position of 3 numbers, got {up}, {eye}")
    return points[np.isfinite(points).all(axis=1)], up / np.linalg.norm(up), eye


def _candidates(
    points: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    eye: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """(K, 4) planes through triples (half of them of low points), facing up, the camera at a plausible height."""
    height = (points - eye) @ up
    low = np.flatnonzero(height <= np.quantile(height, 0.4))
    triples = np.concatenate(
        [rng.integers(0, len(points), (NUM_TRIPLES // 2, 3)), low[rng.integers(0, len(low), (NUM_TRIPLES // 2, 3))]]
    )
    a, b, c = points[triples[:, 0]], points[triples[:, 1]], points[triples[:, 2]]
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    normal = normal / np.maximum(length, 1e-12)[:, None]
    normal *= np.where(normal @ up < 0, -1.0, 1.0)[:, None]
    offset = -np.einsum("ij,ij->i", normal, a)
    eye_height = normal @ eye + offset
    keep = (length > 1e-9) & (normal @ up > np.cos(MAX_TILT_RAD))
    keep &= (eye_height >= EYE_HEIGHT_RANGE_M[0]) & (eye_height <= EYE_HEIGHT_RANGE_M[1])
    return np.concatenate([normal, offset[:, None]], axis=1)[keep]


def _best(
    planes: npt.NDArray[np.float64], points: npt.NDArray[np.float64], tolerance: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """The plane with most inliers among those with hardly anything below; None where there is none."""
    best, best_count = None, 0
    for start in range(0, len(planes), SCORED_AT_ONCE):
        some = planes[start : start + SCORED_AT_ONCE]
        height = points @ some[:, :3].T + some[:, 3]
        below = (height < -2.0 * tolerance[:, None]).mean(axis=0)
        count = (np.abs(height) < tolerance[:, None]).sum(axis=0)
        count[below >= MAX_SHARE_BELOW] = 0
        k = int(np.argmax(count))
        if count[k] > best_count:
            best, best_count = some[k], int(count[k])
    return best


def _refine(
    plane: npt.NDArray[np.float64], points: npt.NDArray[np.float64], tolerance: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Least squares on the inliers, a few times, weighted by the inverse of the noise; keeps the side of the normal."""
    for factor in (1.5, 1.0, 1.0):
        near = np.abs(points @ plane[:3] + plane[3]) < factor * tolerance
        if near.sum() < 3:
            return plane
        weight = 1.0 / tolerance[near] ** 2
        centre = np.average(points[near], axis=0, weights=weight)
        spread = (points[near] - centre) * np.sqrt(weight)[:, None]
        normal = np.linalg.eigh(spread.T @ spread)[1][:, 0]
        normal = normal if normal @ plane[:3] > 0 else -normal
        plane = np.append(normal, -normal @ centre)
    return plane


def _finish(
    plane: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    tolerance: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    eye: npt.NDArray[np.float64],
) -> Floor | None:
    """Judge the refined plane by the same rules as the candidates."""
    height = points @ plane[:3] + plane[3]
    share = float((np.abs(height) < tolerance).mean())
    below = float((height < -2.0 * tolerance).mean())
    eye_height = float(plane[:3] @ eye + plane[3])
    lowest, highest = EYE_HEIGHT_RANGE_M
    if share < MIN_INLIER_SHARE or below >= MAX_SHARE_BELOW or plane[:3] @ up < np.cos(MAX_TILT_RAD):
        return None
    if not lowest <= eye_height <= highest or (eye_height < LOW_EYE_M and share < LOW_EYE_INLIER_SHARE):
        return None
    normal = (float(plane[0]), float(plane[1]), float(plane[2]))
    return Floor(Plane(normal, float(plane[3])), eye_height, share)
