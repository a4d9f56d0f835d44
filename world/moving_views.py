"""What a later clip found to move in frames of an earlier one, and which kept frame it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .transforms import Transform, invert, rotation_angle_rad

SAME_POSE = 0.02
"""Metres plus radians: a frame that was kept and its place in the tail differ by what alignment did to them at most."""


@dataclass(frozen=True, slots=True, eq=False)
class MovingView:
    """What turned out to move in a frame of an earlier clip.

    Attributes:
        request_id: The request that made the frame.
        moving: (H, W) bool.
        world_T_camera: (4, 4) float64 pose of the frame.
        moving_by: Who found it, such as "residual+sam2".
    """

    request_id: int
    moving: npt.NDArray[np.bool_]
    world_T_camera: Transform
    moving_by: str


def view_at(
    views: Sequence[MovingView], *, request_id: int, world_T_camera: Transform, size: tuple[int, int]
) -> MovingView | None:
    """The view of a frame, or None.

    Args:
        views: Of any frames.
        request_id: The request that made the frame.
        world_T_camera: (4, 4) its pose.
        size: Its height and width.
    """
    mine = [v for v in views if v.request_id == request_id and v.moving.shape == size]
    if not mine:
        return None
    nearest = min(mine, key=lambda v: _farness(v.world_T_camera, world_T_camera))
    return nearest if _farness(nearest.world_T_camera, world_T_camera) <= SAME_POSE else None


def join_owners(*names: str) -> str:
    """Owners of a mask in one line, such as "residual+sam2"; each once."""
    return "+".join(sorted({part for name in names for part in name.split("+") if part}))


def _farness(a: Transform, b: Transform) -> float:
    step = invert(a) @ b
    return float(np.linalg.norm(step[:3, 3])) + rotation_angle_rad(step)
