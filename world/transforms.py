"""Rigid transforms as (4, 4) float64 matrices, and how to check, invert and blend them.

``world_T_camera`` maps camera coordinates to world coordinates; inner names cancel:
``world_T_rig @ rig_T_camera``. Camera and world axes are OpenCV's: +X right, +Y down, +Z forward.
"""

import numpy as np
import numpy.typing as npt

Transform = npt.NDArray[np.float64]
"""A (4, 4) float64 rigid transform, column vectors."""

ROTATION_TOLERANCE = 1e-2
"""Largest entry of RᵀR - I that is still taken for a rounded rotation (7-Scenes has 3e-4)."""


def as_rigid(matrix: npt.ArrayLike, name: str = "pose") -> Transform:
    """Check that a matrix is a rigid transform and return it with an exact rotation.

    Args:
        matrix: (4, 4) or (3, 4) numbers.
        name: What to call it in an error.

    Returns:
        (4, 4) float64, its rotation projected on SO(3). Fresh memory.

    Raises:
        ValueError: Wrong shape, not finite, or not a rotation within ``ROTATION_TOLERANCE``.
    """
    m = np.asarray(matrix, dtype=np.float64)
    if m.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"{name}: expected a 4x4 or 3x4 matrix, got shape {m.shape}")
    if not np.isfinite(m).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    r = m[:3, :3]
    if np.abs(r.T @ r - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(r) < 0:
        raise ValueError(f"{name}: the upper left 3x3 is not a rotation (determinant {np.linalg.det(r):.4f})")
    if m.shape == (4, 4) and np.abs(m[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise ValueError(f"{name}: the last row must be 0 0 0 1, got {m[3].tolist()}")
    u, _, vt = np.linalg.svd(r)
    out = np.eye(4)
    out[:3, :3] = u @ vt
    out[:3, 3] = m[:3, 3]
    return out


def invert(a_T_b: Transform) -> Transform:
    """Return b_T_a of a rigid a_T_b, (..., 4, 4) float64."""
    r = np.swapaxes(a_T_b[..., :3, :3], -1, -2)
    out = np.zeros_like(a_T_b)
    out[..., :3, :3] = r
    out[..., :3, 3] = -(r @ a_T_b[..., :3, 3:])[..., 0]
    out[..., 3, 3] = 1.0
    return out


def apply(a_T_b: Transform, points_b: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Map (N, 3) points from frame b to frame a."""
    return points_b @ a_T_b[:3, :3].T + a_T_b[:3, 3]


def rotation_angle_rad(a_T_b: Transform) -> float:
    """Angle of the rotation part, in [0, pi]."""
    r = a_T_b[:3, :3]
    s = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    return float(np.arctan2(np.linalg.norm(s), np.trace(r) - 1.0))


def rotation_vector(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Axis times angle of a (3, 3) rotation, (3,) float64, radians."""
    angle = rotation_angle_rad(np.block([[rotation, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]))
    if angle < 1e-12:
        return np.zeros(3)
    if np.pi - angle < 1e-6:  # the antisymmetric part vanishes: the axis is in R + I
        column = (rotation + np.eye(3))[:, int(np.argmax(np.diag(rotation)))]
        return angle * column / np.linalg.norm(column)
    s = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return s * (angle / (2.0 * np.sin(angle)))


def rotation_about(axis: npt.ArrayLike, angle_rad: float) -> npt.NDArray[np.float64]:
    """(3, 3) rotation about an axis by the right-hand rule (Rodrigues)."""
    a = np.asarray(axis, dtype=np.float64)
    a = a / np.linalg.norm(a)
    k = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    return np.eye(3) + np.sin(angle_rad) * k + (1.0 - np.cos(angle_rad)) * (k @ k)


def interpolate(world_T_a: Transform, world_T_b: Transform, fraction: float) -> Transform:
    """Blend two poses: straight line for the position, shortest arc for the rotation.

    Args:
        world_T_a: Pose at fraction 0.
        world_T_b: Pose at fraction 1.
        fraction: Usually in [0, 1].
    """
    vector = rotation_vector(world_T_a[:3, :3].T @ world_T_b[:3, :3])
    angle = float(np.linalg.norm(vector))
    out = np.eye(4)
    out[:3, :3] = world_T_a[:3, :3] @ (rotation_about(vector, angle * fraction) if angle > 1e-12 else np.eye(3))
    out[:3, 3] = (1.0 - fraction) * world_T_a[:3, 3] + fraction * world_T_b[:3, 3]
    return out


def look(
    position_world: npt.ArrayLike,
    yaw_rad: float,
    pitch_rad: float,
    world_R_level: npt.NDArray[np.float64] | None = None,
) -> Transform:
    """Pose of a camera that stands upright.

    Args:
        position_world: (3,) metres.
        yaw_rad: Positive turns right.
        pitch_rad: Positive looks up.
        world_R_level: (3, 3) rotation from a level frame (x right, y down along gravity, z forward at yaw 0) to the
            world; the identity where the world's -Y is up.

    Returns:
        world_T_camera, (4, 4) float64.
    """
    level = np.eye(3) if world_R_level is None else world_R_level
    out = np.eye(4)
    out[:3, :3] = level @ rotation_about((0, 1, 0), yaw_rad) @ rotation_about((1, 0, 0), pitch_rad)
    out[:3, 3] = np.asarray(position_world, dtype=np.float64)
    return out


def level_frame(up_world: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """world_R_level for an up direction: y down along gravity, z as near to the world's +Z as can be.

    Args:
        up_world: (3,) direction, need not be of unit length.

    Returns:
        (3, 3) float64 rotation.
    """
    up = np.asarray(up_world, dtype=np.float64)
    down = -up / np.linalg.norm(up)
    forward = np.array([0.0, 0.0, 1.0])
    if abs(forward @ down) > 0.98:
        forward = np.array([0.0, 1.0, 0.0])
    forward = forward - down * (forward @ down)
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(down, forward), down, forward], axis=1)
